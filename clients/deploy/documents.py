"""The documents of deploy/: as kubectl would send them, and what stands in them."""

import functools
import pathlib
import shutil
import subprocess

import yaml

from oip_server import ROOT

DEPLOY = ROOT / "deploy"


def kserve(name):
    return yaml.safe_load((DEPLOY / "kserve" / f"{name}.yaml").read_text())


KSERVE = sorted(p.stem for p in (DEPLOY / "kserve").glob("*.yaml"))


@functools.cache
def kubernetes():
    """What `kubectl apply -k deploy/kubernetes` sends; without kubectl, the same but for names and labels."""
    folder = DEPLOY / "kubernetes"
    if shutil.which("kubectl"):
        text = subprocess.run(["kubectl", "kustomize", folder], check=True, stdout=subprocess.PIPE, text=True).stdout
        return list(yaml.safe_load_all(text))
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    found = [d for name in kustomization["resources"] for d in yaml.safe_load_all((folder / name).read_text())]
    for made in kustomization["configMapGenerator"]:
        data = {pathlib.Path(name).name: (folder / name).read_text() for name in made["files"]}
        found.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": made["name"]}, "data": data})
    return found


def of_kind(kind):
    """The documents of a kind, in order."""
    return [d for d in kubernetes() if d["kind"] == kind]


def seconds(time):
    """The seconds of a time as the server's options write it."""
    assert time.endswith("s") and time[:-1].isdigit(), time
    return int(time[:-1])


def containers():
    """Every container that runs the server: what it belongs to, the pod around it, and itself."""
    for document in [*kubernetes(), *map(kserve, KSERVE)]:
        if document["kind"] == "Deployment":
            pod = document["spec"]["template"]["spec"]
        elif document["kind"] == "ClusterServingRuntime":
            pod = document["spec"]
        else:
            continue
        for container in pod["containers"]:
            yield f"{document['kind']} {document['metadata']['name']}", pod, container


def properties():
    """The options of the deployment's configuration."""
    text = of_kind("ConfigMap")[0]["data"]["oip.properties"]
    lines = (line.strip() for line in text.splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def options_of(name, container):
    """The options that a container's server is given: by its properties file, or by its arguments."""
    if name.startswith("Deployment"):
        return properties()
    flags = (argument.removeprefix("--").split("=", 1) for argument in container["args"])
    return {key.replace("-", "_"): value for key, value in flags}
