"""One client of each kind for the whole session, and fresh ones on demand."""

import subprocess
import time
import urllib.request

import pytest

import onnx_models
from doors import KINDS, Door
from oip_server import clean_environment, free_port, serve_arguments


@pytest.fixture(scope="session", params=KINDS)
def door(request, server):
    opened = Door(request.param, server)
    yield opened
    opened.close()


@pytest.fixture(scope="session", params=KINDS[:2])
def http_door(request, server):
    opened = Door(request.param, server)
    yield opened
    opened.close()


@pytest.fixture(scope="session", params=KINDS[2:])
def grpc_door(request, server):
    opened = Door(request.param, server)
    yield opened
    opened.close()


@pytest.fixture
def open_door():
    """Opens clients of servers that the test itself starts."""
    opened = []

    def open_door(kind, server):
        opened.append(Door(kind, server))
        return opened[-1]

    yield open_door
    for one in opened:
        one.close()


@pytest.fixture
def one_port(repository):
    """The address of a server whose doors share a port, with one model `m`."""
    onnx_models.put(repository, "m", onnx_models.add(1))
    port = free_port()
    arguments = serve_arguments(repository, extra=["--port", port])
    process = subprocess.Popen(arguments, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # It listens before its model is loaded.
        for _ in range(500):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=1).close()
                break
            except OSError:
                time.sleep(0.02)
        yield f"127.0.0.1:{port}"
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
