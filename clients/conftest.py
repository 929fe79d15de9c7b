"""Servers for the tests: one for the whole session to read from, and fresh ones on demand."""

import pathlib
import shutil
import time

import pytest

import onnx_models
from oip_server import ROOT, Server

EXAMPLES = ROOT / "examples" / "models"
TEST_MODELS = ROOT / "testdata" / "models"


def assemble(folder):
    """A repository with the example models, the test models, and models made here."""
    folder.mkdir(parents=True, exist_ok=True)
    if EXAMPLES.is_dir():
        for model in sorted(p for p in EXAMPLES.iterdir() if p.is_dir() and any(p.rglob("*.onnx"))):
            shutil.copytree(model, folder / model.name)
    for pattern in ("identity_*", "add_sub", "scalar", "busy"):
        for file in sorted(TEST_MODELS.glob(f"{pattern}.onnx")):
            onnx_models.put(folder, file.stem, file.read_bytes())
    for datatype in onnx_models.DATATYPES:
        onnx_models.put(folder, f"vector_{datatype.lower()}", onnx_models.identity(datatype))
    for datatype in ("FP32", "INT32", "UINT8", "BF16"):
        onnx_models.put(folder, f"matrix_{datatype.lower()}", onnx_models.identity(datatype, ("m", "n")))
    for datatype in ("FP32", "INT32", "BYTES"):
        onnx_models.put(folder, f"single_{datatype.lower()}", onnx_models.identity(datatype, ()))
    onnx_models.put(folder, "fixed_fp32", onnx_models.identity("FP32", (2, 3)))
    onnx_models.put(folder, "pair_int32", onnx_models.sum_and_difference())
    for version in (1, 2, 10):
        onnx_models.put(folder, "versions", onnx_models.add(float(version)), version)
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server for every test that changes nothing; it must stop cleanly at the end."""
    base = tmp_path_factory.mktemp("oip")
    running = Server(assemble(base / "models"), base / "oip.log", wait="live")
    # Live, not ready: one model that this build cannot load would otherwise hide every other result.
    wait_until_loaded(running)
    yield running
    running.stop()


def wait_until_loaded(running):
    """Waits until no model is being loaded any more."""
    for _ in range(600):
        status, index = running.post("/v2/repository/index", {})
        if status == 200 and all(m.get("state") in ("READY", "UNAVAILABLE") for m in index):
            return
        time.sleep(0.1)
    raise AssertionError(f"models are still loading: {index}")


@pytest.fixture
def repository(tmp_path):
    """An empty model repository."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def start(tmp_path):
    """Starts servers that the test may change; each is stopped, cleanly, at the end."""
    running = []

    def start(repository=None, *extra, env=None, wait="ready", **more):
        log = tmp_path / f"oip-{len(running)}.log"
        running.append(Server(repository, log, extra, env, wait, **more))
        return running[-1]

    yield start
    try:
        for one in running:
            if one.process.poll() is None:
                one.stop()
    finally:
        for one in running:
            one.kill()


@pytest.fixture(scope="session")
def busy():
    """A model whose time grows with the cube of its input's side."""
    return (TEST_MODELS / "busy.onnx").read_bytes()


@pytest.fixture(scope="session")
def examples():
    """The folders of the example models that come with a request and its answer."""
    found = sorted(p.parent for p in EXAMPLES.glob("*/sample-request.json")) if EXAMPLES.is_dir() else []
    return [pathlib.Path(p) for p in found]
