"""Holds Kubernetes and KServe documents to the models of their Python clients, which are made from the API's own
description: a field that does not exist, a value of another type, or a required field that is missing is refused.

The models of the kubernetes package check all of that themselves. Those of kserve are older: they only know their
fields, the fields' types and what is required, so they are walked here.
"""

import importlib.util
import re
import sys
import types

import kubernetes.client as kubernetes

# `import kserve` would bring a whole server; its models need none of it.
_package = types.ModuleType("kserve")
_package.__path__ = importlib.util.find_spec("kserve").submodule_search_locations
sys.modules.setdefault("kserve", _package)
import kserve.models as kserve  # noqa: E402

KINDS = {
    ("apps/v1", "Deployment"): "V1Deployment",
    ("autoscaling/v2", "HorizontalPodAutoscaler"): "V2HorizontalPodAutoscaler",
    ("networking.k8s.io/v1", "NetworkPolicy"): "V1NetworkPolicy",
    ("policy/v1", "PodDisruptionBudget"): "V1PodDisruptionBudget",
    ("serving.kserve.io/v1alpha1", "ClusterServingRuntime"): "V1alpha1ClusterServingRuntime",
    ("serving.kserve.io/v1beta1", "InferenceService"): "V1beta1InferenceService",
    ("v1", "ConfigMap"): "V1ConfigMap",
    ("v1", "Service"): "V1Service",
    ("v1", "ServiceAccount"): "V1ServiceAccount",
}
PLAIN = {"str": str, "int": int, "bool": bool, "object": object}
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")


def check(document):
    """Raises ValueError with the place of the first fault."""
    kind = (document.get("apiVersion"), document.get("kind"))
    if kind not in KINDS:
        raise ValueError(f"{kind} is not known here")
    _value(document, KINDS[kind], kind[1])


def _value(value, declared, place):
    if declared.startswith("list["):
        _of(value, list, place)
        for index, item in enumerate(value):
            _value(item, declared[5:-1], f"{place}[{index}]")
    elif declared.startswith("dict("):
        _of(value, dict, place)
        for key, item in value.items():
            _value(item, declared[5:-1].split(", ", 1)[1], f"{place}.{key}")
    elif declared in PLAIN:
        _of(value, PLAIN[declared], place)
    elif declared.endswith("Quantity"):
        if not QUANTITY.fullmatch(str(value)):
            raise ValueError(f"{place} is {value!r}, which is no quantity")
    elif hasattr(kserve, declared):
        _of_kserve(value, getattr(kserve, declared), place)
    else:
        _of_kubernetes(value, getattr(kubernetes, declared), place)


def _of(value, kind, place):
    # In Python True is an int.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind not in (bool, object)):
        raise ValueError(f"{place} is {value!r}, not {kind.__name__}")


def _of_kubernetes(value, model, place):
    try:
        read = model.model_validate(value)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    # The models also take Python's names (http_get), which Kubernetes does not know.
    if read.model_dump(by_alias=True, exclude_none=True) != value:
        raise ValueError(f"{place} has fields by names that are not Kubernetes' own")


def _of_kserve(value, model, place):
    _of(value, dict, place)
    fields = {written: field for field, written in model.attribute_map.items()}
    for key, item in value.items():
        if key not in fields:
            raise ValueError(f"{place} has no field {key!r}")
        _value(item, model.openapi_types[fields[key]], f"{place}.{key}")
    try:
        # The setters of a model refuse what is required and missing.
        model(**{fields[key]: item for key, item in value.items()})
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
