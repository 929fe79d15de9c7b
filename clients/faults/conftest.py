"""Servers for the faults. `OIP_LONG=1` repeats as often as the documentation promises."""

import os

import pytest

import onnx_models
from oip_server import Server

LONG = os.environ.get("OIP_LONG") == "1"


@pytest.fixture
def times():
    """How often something is done: a few times in the gate, or often."""
    return lambda few, many: many if LONG else few


@pytest.fixture
def served(start, repository):
    """Starts servers of one model, `m`, which adds 1."""
    onnx_models.put(repository, "m", onnx_models.add(1.0))
    return lambda *flags, **more: start(repository, *flags, **more)


@pytest.fixture
def guarded(repository, tmp_path):
    """Starts a server of `m` with authentication on, unless the flags say otherwise."""
    onnx_models.put(repository, "m", onnx_models.add(1.0))
    running = []

    def start(*flags, env=None):
        running.append(Server(repository, tmp_path / "oip.log", flags, env, auth=True))
        return running[-1]

    yield start
    for one in running:
        one.stop()
