"""Servers with authentication on: one model `m`, tokens by one issuer."""

import itertools

import pytest

import onnx_models
from credentials import SECRET, Issuer
from guarded import Guarded

ENGINE = ("--onnxruntime-library", "off")


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A repository with `m` and `other`, both of them identities."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("m", "other"):
        onnx_models.put(folder, name, onnx_models.identity("FP32"))
    return folder


@pytest.fixture(scope="session")
def issuer():
    """The issuer of the shared secret that `guard` and `guard_all` configure."""
    return Issuer("HS256")


def _starter(folder, models):
    running, numbers = [], itertools.count()

    def start(*extra, keys=True, env=None, repository=None, kind=Guarded, **options):
        log = folder / f"oip-{next(numbers)}.log"
        env = ({"OIP_AUTH_SECRET": SECRET} if keys else {}) | (env or {})
        server = kind(repository or models, log, [*ENGINE, *extra], env=env, **options)
        running.append(server)
        return server

    yield start
    try:
        for server in running:
            if server.process.poll() is None:
                server.stop()
    finally:
        for server in running:
            server.kill()


@pytest.fixture
def guard(tmp_path, models):
    """Starts guarded servers for one test; each is stopped, cleanly, at its end."""
    yield from _starter(tmp_path, models)


@pytest.fixture(scope="module")
def guard_all(tmp_path_factory, models):
    """Starts guarded servers for all tests of a module."""
    yield from _starter(tmp_path_factory.mktemp("guarded"), models)
