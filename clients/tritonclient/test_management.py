"""Health, metadata, configuration, statistics and the model repository, through every client."""

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

import onnx_models
from doors import KINDS

EXTENSIONS = {"binary_tensor_data", "model_repository", "statistics", "model_configuration", "classification", "trace", "logging"}


def test_the_server_is_live_and_ready(door):
    assert door.call("is_server_live") and door.call("is_server_ready")


def test_a_model_is_ready_by_name_and_version(door):
    assert door.call("is_model_ready", "versions")
    assert door.call("is_model_ready", "versions", "2")
    assert not door.call("is_model_ready", "versions", "3")
    assert not door.call("is_model_ready", "nope")


def test_server_metadata_lists_the_extensions(door):
    document = door.document("get_server_metadata")
    assert document["name"] and document["version"]
    assert EXTENSIONS == set(document["extensions"])


def test_model_metadata_says_names_datatypes_and_shapes(door):
    document = door.document("get_model_metadata", "add_sub")
    assert (document["name"], document["versions"], document["platform"]) == ("add_sub", ["1"], "onnx_onnxv1")
    for side, names in (("inputs", ["INPUT0", "INPUT1"]), ("outputs", ["OUTPUT0", "OUTPUT1"])):
        assert [(t["name"], t["datatype"], [int(d) for d in t["shape"]]) for t in document[side]] == [
            (name, "INT32", [-1, 16]) for name in names
        ]


def test_metadata_lists_every_version(door):
    versions = door.document("get_model_metadata", "versions")["versions"]
    assert sorted(versions, key=int) == ["1", "2", "10"]


def test_model_configuration_names_platform_and_backend(door):
    document = door.document("get_model_config", "add_sub")
    config = document.get("config", document)
    assert (config["name"], config["platform"]) == ("add_sub", "onnx_onnxv1")
    assert config["backend"]
    assert [(i["name"], i["data_type"]) for i in config["input"]] == [("INPUT0", "TYPE_INT32"), ("INPUT1", "TYPE_INT32")]


def test_statistics_count_successes_and_failures(door):
    def counts():
        entry = door.document("get_inference_statistics", "identity_int8")["model_stats"][0]
        stats = entry["inference_stats"]
        return [int(stats.get(k, {}).get("count", 0)) for k in ("success", "fail")] + [int(entry["inference_count"])]

    before = counts() if door.document("get_inference_statistics", "identity_int8")["model_stats"] else [0, 0, 0]
    for _ in range(3):
        door.infer("identity_int8", {"INPUT0": np.ones((1, 2), np.int8)})
    success, _, inferences = [after - b for after, b in zip(counts(), before)]
    assert success == 3 and inferences == 3


def test_statistics_of_all_models_are_listed(door):
    names = {s["name"] for s in door.document("get_inference_statistics")["model_stats"]}
    assert {"iris", "add_sub", "versions"} <= names


def test_the_index_lists_every_version_as_ready(door):
    document = door.document("get_model_repository_index")
    models = document["models"] if isinstance(document, dict) else document
    found = {(m["name"], m["version"]): m["state"] for m in models}
    for version in ("1", "2", "10"):
        assert found[("versions", version)] == "READY"


@pytest.mark.parametrize("kind", KINDS)
def test_unload_and_load_work(start, repository, open_door, kind):
    onnx_models.put(repository, "m", onnx_models.add(1))
    door = open_door(kind, start(repository))
    door.call("unload_model", "m")
    assert not door.call("is_model_ready", "m")
    with pytest.raises(InferenceServerException) as caught:
        door.infer("m", {"IN": np.zeros(1, np.float32)})
    assert ("404" if door.is_http else "NOT_FOUND") in caught.value.status()
    onnx_models.put(repository, "m", onnx_models.add(2))
    door.call("load_model", "m")
    assert door.call("is_model_ready", "m")
    assert door.infer("m", {"IN": np.zeros(1, np.float32)}).as_numpy("OUT")[0] == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_load_that_fails_or_uploads_is_refused_and_the_old_model_goes_on(start, repository, open_door, kind):
    onnx_models.put(repository, "m", onnx_models.add(1))
    door = open_door(kind, start(repository))
    refused = "400" if door.is_http else "INVALID_ARGUMENT"
    with pytest.raises(InferenceServerException) as caught:
        door.call("load_model", "m", config="{}")
    assert refused in caught.value.status()
    onnx_models.put(repository, "m", b"broken")
    with pytest.raises(InferenceServerException) as caught:
        door.call("load_model", "m")
    assert refused in caught.value.status()
    with pytest.raises(InferenceServerException) as caught:
        door.call("load_model", "nope")
    assert ("404" if door.is_http else "NOT_FOUND") in caught.value.status()
    assert door.infer("m", {"IN": np.zeros(1, np.float32)}).as_numpy("OUT")[0] == 1


@pytest.mark.parametrize("name", ["system_shared_memory", "cuda_shared_memory"])
def test_an_extension_that_is_not_listed_is_refused(door, name):
    assert name not in door.document("get_server_metadata")["extensions"]
    with pytest.raises(InferenceServerException) as caught:
        door.call(f"get_{name}_status")
    assert ("404" if door.is_http else "UNIMPLEMENTED") in caught.value.status()
