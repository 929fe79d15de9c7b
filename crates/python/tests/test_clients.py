"""The clients that there are, against handlers in Python. Each needs an environment of its own,
named by OIP_TRITONCLIENT_PYTHON and OIP_KSERVE_PYTHON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import oip
from oip import ModelHandler, Server, _programs

EXAMPLES = Path(__file__).parents[3] / "examples" / "python"
TRITON, KSERVE = (os.environ.get(f"OIP_{name}_PYTHON") for name in ("TRITONCLIENT", "KSERVE"))
pytestmark = pytest.mark.skipif(not (TRITON and KSERVE), reason="no environments of clients")


def run(python: str | None, *arguments: object) -> str:
    environment = {**os.environ, "PYTHONPATH": ""}
    ended = subprocess.run(
        [str(python), *map(str, arguments)],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def iris() -> Iterator[Server]:
    pytest.importorskip("sklearn")
    sys.modules.pop("sklearn_iris", None)
    handler = _programs.find(_programs.load(EXAMPLES / "sklearn_iris.py"))
    with Server(handler, rest_port=0, grpc_port=0, auth_enabled=False) as server:
        yield server


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_tritonclient_asks_a_python_handler(iris: Server, door: str) -> None:
    target = iris.grpc_target if door == "grpc" else iris.url.removeprefix("http://")
    said = run(TRITON, EXAMPLES / "clients.py", f"triton-{door}", target)
    assert "[0 2] [b'setosa' b'virginica']" in said
    code = "INVALID_ARGUMENT" if door == "grpc" else "400"
    assert f"{code} input 'x': the model declares shape [-1,4]" in said


@pytest.mark.parametrize("door", ["rest", "grpc"])
def test_kserve_asks_a_python_handler(iris: Server, door: str) -> None:
    target = iris.grpc_target if door == "grpc" else iris.url
    said = run(KSERVE, EXAMPLES / "clients.py", f"kserve-{door}", target)
    assert "'label': [0, 2]" in said and "setosa" in said


class Raises(ModelHandler):
    async def infer(self, payload, model_name, model_version=None):
        raise ERRORS[model_name][0]


ERRORS: dict[str, tuple[Exception, str, str]] = {
    "value": (ValueError("need two rows"), "INVALID_ARGUMENT", "need two rows"),
    "lacking": (NotImplementedError(), "UNIMPLEMENTED", "infer is not implemented"),
    "key": (KeyError("/etc/secret"), "INTERNAL", "the model failed to answer"),
    "unknown": (oip.errors.NotFound("no 'unknown'"), "NOT_FOUND", "no 'unknown'"),
    "who": (oip.errors.Unauthenticated("who?"), "UNAUTHENTICATED", "who?"),
    "forbidden": (oip.errors.Forbidden("not you"), "PERMISSION_DENIED", "not you"),
    "large": (oip.errors.TooLarge("too large"), "RESOURCE_EXHAUSTED", "too large"),
    "busy": (oip.errors.TooManyRequests("later"), "RESOURCE_EXHAUSTED", "later"),
    "away": (oip.errors.Unavailable("away"), "UNAVAILABLE", "away"),
    "slow": (oip.errors.TimedOut("too slow"), "DEADLINE_EXCEEDED", "too slow"),
}
ASK_EACH = """
import json, sys
import numpy, tritonclient.grpc as grpc
client = grpc.InferenceServerClient(sys.argv[1])
said = {}
for model in sys.argv[2:]:
    x = grpc.InferInput("x", [1], "FP32").set_data_from_numpy(numpy.zeros(1, numpy.float32))
    try:
        client.infer(model, [x])
    except grpc.InferenceServerException as error:
        said[model] = [error.status(), error.message()]
print(json.dumps(said))
"""


def test_what_a_handler_raises_has_its_grpc_code() -> None:
    with Server(Raises(), rest_port=0, grpc_port=0, auth_enabled=False) as server:
        said: dict[str, Any] = json.loads(run(TRITON, "-c", ASK_EACH, server.grpc_target, *ERRORS))
    for model, (_, code, message) in ERRORS.items():
        status, text = said[model]
        assert status == f"StatusCode.{code}" and message in text, (model, status, text)
