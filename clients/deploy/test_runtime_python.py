"""The runtime for handlers in Python: the program of the package `oip` in a virtual environment, as its image has it."""

import os
import pathlib
import subprocess

import pytest

import documents
from oip_server import ROOT, clean_environment, free_port
from running import Started, api_key
from test_manifests import ask, in_folder

# `./test python` installs the wheel there; another environment may be named.
PROGRAM = pathlib.Path(os.environ.get("OIP_PYTHON_PROGRAM", ROOT / "target/venvs/python/bin/oip"))
MODEL = """
import oip

@oip.model("text", inputs=[("x", "FP32", [-1])], outputs=[("y", "FP32", [-1])])
def model(x):
    return x * 2
"""
BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[2],"data":[1,2]}]}'

pytestmark = pytest.mark.skipif(not os.access(PROGRAM, os.X_OK), reason="the Python package is not installed")


class Runtime(Started):
    """The container's command, from the environment of the package."""

    def __init__(self, arguments, port, folder):
        self.rest_port = self.grpc_port = port
        self.log_path, self.stop_limit = folder / "oip.log", 60
        environment = clean_environment({"PYTHONDONTWRITEBYTECODE": "1"})
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([PROGRAM, *arguments], env=environment, cwd=folder,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def test_the_python_runtime_serves_the_mounted_handler_and_answers_its_probes(tmp_path):
    key, line = api_key()
    (tmp_path / "etc/oip-auth").mkdir(parents=True)
    (tmp_path / "etc/oip-auth/api-keys").write_text(f"{line}\n")
    policy = documents.DEPLOY / "kubernetes/policy.cedar"
    (tmp_path / "etc/oip-auth/policy.cedar").write_bytes(policy.read_bytes())
    (tmp_path / "mnt/models").mkdir(parents=True)
    (tmp_path / "mnt/models/model.py").write_text(MODEL)
    container = documents.kserve("runtime-python")["spec"]["containers"][0]
    service = documents.kserve("python")["spec"]["predictor"]["model"]
    port = free_port()
    metrics = free_port(but=port)
    arguments = [in_folder(a.replace("{{.Name}}", "text"), tmp_path) for a in [*container["args"], *service["args"]]]
    here = [f"--port={port}", "--rest-host=127.0.0.1", f"--metrics-port={metrics}", "--metrics-host=127.0.0.1"]
    arguments = [*container["command"][1:], *arguments, *here, "--shutdown-delay=0s"]
    assert container["command"][0] == PROGRAM.name
    with Runtime(arguments, port, tmp_path):
        for probe in ("livenessProbe", "readinessProbe"):
            assert ask(port, "GET", container[probe]["httpGet"]["path"]) == 200
        assert ask(port, "POST", "/v2/models/text/infer", BODY) == 401
        assert ask(port, "POST", "/v2/models/text/infer", BODY, key) == 200
        assert (ask(port, "GET", "/metrics"), ask(metrics, "GET", "/metrics")) == (404, 200)
