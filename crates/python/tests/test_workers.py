"""Several processes behind one server."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oip
from oip import ModelHandler, ResponseOutput, Server

from conftest import Caller, fp32


class Works(ModelHandler):
    def __init__(self) -> None:
        self.loaded: list[str] = []

    def model_load(self, model_name):
        self.loaded.append(model_name)
        return True

    def infer(self, payload, model_name, model_version=None):
        x = payload.inputs[0]
        match model_name:
            case "pid":
                return {"pid": [os.getpid()]}
            case "echo":
                return [ResponseOutput("y", x.shape, x.datatype, x.parameters, x.data)]
            case "root":
                return {"y": [repr(x.data.root)]}
            case "slow":
                time.sleep(1.0)
                return {"pid": [os.getpid()]}
            case "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            case "value":
                raise ValueError("need two rows")
            case "key":
                raise KeyError("/etc/secret")
            case "unavailable":
                raise oip.errors.Unavailable("later", retry_after=3)
            case "wrong":
                return [ResponseOutput("y", [3], "FP32", data=[1.0])]
            case "loaded":
                return {"y": self.loaded or ["nothing"]}
        raise oip.errors.NotFound(f"no model '{model_name}'")


class AsyncWorks(ModelHandler):
    async def infer(self, payload, model_name, model_version=None):
        await asyncio.sleep(0)
        return {"pid": [os.getpid()]}


@pytest.fixture(scope="module")
def ask() -> Any:
    server = Server(Works, workers=2, rest_port=0, grpc_port=0, auth_enabled=False)
    with server:
        yield Caller(server)


def data(answer: Any) -> Any:
    status, body = answer
    assert status == 200, body
    return body["outputs"][0]["data"]


def test_the_work_is_done_by_other_processes_side_by_side(ask: Caller) -> None:
    with ThreadPoolExecutor(2) as pool:
        begun = time.monotonic()
        pids = list(pool.map(lambda _: data(ask.infer("slow", fp32("x", [1])))[0], range(2)))
        assert time.monotonic() - begun < 1.9
    assert len(set(pids)) == 2 and os.getpid() not in pids


def test_tensors_small_and_large_arrive_as_they_were_sent(ask: Caller) -> None:
    for count in (3, 100_000):
        sent = [float(i) for i in range(count)]
        assert data(ask.infer("echo", fp32("x", sent))) == sent
    text = {"name": "x", "datatype": "BYTES", "shape": [2], "data": ["é", "x" * 50_000]}
    assert data(ask.infer("echo", text)) == text["data"]
    assert data(ask.infer("root", fp32("x", [[1, 2]], [1, 2]))) == ["[[1.0, 2.0]]"]


def test_errors_mean_the_same(ask: Caller) -> None:
    assert ask.infer("value", fp32("x", [1])) == (400, {"error": "need two rows"})
    assert ask.infer("key", fp32("x", [1])) == (500, {"error": "the model failed to answer"})
    assert ask.infer("unavailable", fp32("x", [1])) == (503, {"error": "later"})
    assert ask.infer("nope", fp32("x", [1]))[0] == 404
    assert ask.infer("wrong", fp32("x", [1])) == (
        500, {"error": "the model's answer does not fit what it declares"},
    )
    assert ask("/v2/models/m")[0] == 501


def test_a_killed_worker_costs_its_own_request_only(ask: Caller) -> None:
    stop = threading.Event()
    answers: list[int] = []

    def others() -> None:
        while not stop.is_set():
            answers.append(ask.infer("pid", fp32("x", [1]))[0])

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(others) for _ in range(3)]
        time.sleep(0.2)
        status, body = ask.infer("dies", fp32("x", [1]))
        assert status == 500 and "ended before it answered" in body["error"]
        time.sleep(1.0)
        stop.set()
        for one in running:
            one.result()
    assert len(answers) > 10 and set(answers) == {200}
    for _ in range(100):
        if len({data(ask.infer("pid", fp32("x", [1])))[0] for _ in range(8)}) == 2:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the worker was not replaced")


def test_nothing_is_left_behind_in_shared_memory(ask: Caller) -> None:
    before = set(Path("/dev/shm").iterdir()) if Path("/dev/shm").exists() else set()
    ask.infer("echo", fp32("x", [0.0] * 100_000))
    after = set(Path("/dev/shm").iterdir()) if Path("/dev/shm").exists() else set()
    assert not [path for path in after - before if "oip" in path.name or "psm" in path.name]


def test_a_model_is_loaded_in_every_process() -> None:
    server = Server(Works, workers=2, model_name=["loaded"], rest_port=0, grpc_port=0, auth_enabled=False)
    with server:
        asked = Caller(server)
        assert [data(asked.infer("loaded", fp32("x", [1]))) for _ in range(4)] == [["loaded"]] * 4


def test_async_handlers_work_in_processes_too() -> None:
    with Server(AsyncWorks, workers=1, rest_port=0, grpc_port=0, auth_enabled=False) as server:
        assert data(Caller(server).infer("m", fp32("x", [1]))) != [os.getpid()]


def test_arrays_of_numpy_go_through(ask: Caller) -> None:
    array = np.arange(50_000, dtype=np.float32)
    assert data(ask.infer("echo", fp32("x", array.tolist()))) == array.tolist()


class Broken(ModelHandler):
    def __init__(self) -> None:
        raise RuntimeError("no weights")


def test_workers_that_cannot_begin_keep_the_server_from_starting() -> None:
    with pytest.raises(oip.errors.StartError, match="before it could answer"):
        Server(Broken, workers=1, rest_port=0, grpc_port=0, auth_enabled=False).start()
