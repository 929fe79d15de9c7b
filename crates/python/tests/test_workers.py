"""Several processes behind one server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oip
from oip import ModelHandler, ResponseOutput, Server, _arena, _processes

from conftest import Caller, fp32


class NoQuota(oip.errors.TooManyRequests):
    """An error of the handler's own."""

    def __init__(self, tenant: str, bucket: int) -> None:
        super().__init__(f"{tenant} has used up bucket {bucket}", retry_after=7)


class Told(oip.errors.HandlerFailed):
    told = True


class Unsayable(oip.errors.Forbidden):
    def __str__(self) -> str:
        raise RuntimeError("no words")


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
            case "brief":
                time.sleep(0.4)
                return {"pid": [os.getpid()]}
            case "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            case "value":
                raise ValueError("need two rows")
            case "key":
                raise KeyError("/etc/secret")
            case "unavailable":
                raise oip.errors.Unavailable("later", retry_after=3)
            case "quota":
                raise NoQuota("alice", 3)
            case "told":
                raise Told("the card is out of memory")
            case "unsayable":
                raise Unsayable
            case "exits":
                sys.exit(3)
            case "wrong":
                return [ResponseOutput("y", [3], "FP32", data=[1.0])]
            case "hangs":
                time.sleep(60)
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
    assert ask.infer("quota", fp32("x", [1])) == (429, {"error": "alice has used up bucket 3"})
    assert ask.infer("told", fp32("x", [1])) == (500, {"error": "the card is out of memory"})
    assert ask.infer("nope", fp32("x", [1]))[0] == 404
    assert ask.infer("wrong", fp32("x", [1])) == (
        500, {"error": "the model's answer does not fit what it declares"},
    )
    assert ask("/v2/models/m")[0] == 501


@pytest.mark.parametrize("model", ["unsayable", "exits", "quota"])
def test_no_exception_of_a_handler_ends_its_process(ask: Caller, model: str) -> None:
    before = {data(ask.infer("pid", fp32("x", [1])))[0] for _ in range(8)}
    for _ in range(4):
        status, body = ask.infer(model, fp32("x", [1]))
        assert "ended before it answered" not in body["error"]
        assert status == (429 if model == "quota" else 500)
    assert {data(ask.infer("pid", fp32("x", [1])))[0] for _ in range(8)} == before


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


def arenas(pid: int | str = "self") -> dict[int, int]:
    """The size of each piece of shared memory that a process has open."""
    found = {}
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(file).startswith("/memfd:oip"):
                found[file.stat().st_ino] = file.stat().st_size
    return found


def test_large_tensors_travel_in_shared_memory_of_which_nothing_is_left_behind() -> None:
    gc.collect()
    before = len(arenas())
    with Server(Works, workers=1, rest_port=0, grpc_port=0, auth_enabled=False) as server:
        ask = Caller(server)
        worker = data(ask.infer("pid", fp32("x", [1])))[0]
        assert list(arenas(worker).values()) == [0, 0]
        ask.infer("echo", fp32("x", [0.0] * 100_000))
        sizes = list(arenas(worker).values())
        assert len(sizes) == 2 and min(sizes) >= 400_000, sizes
        # That of a worker that dies is let go of too.
        ask.infer("dies", fp32("x", [1]))
        wait_until(lambda: data(ask.infer("pid", fp32("x", [1])))[0] != worker)
        wait_until(lambda: len(arenas()) == before + 2)
    assert len(arenas()) == before


def wait_until(done: Any) -> None:
    for _ in range(100):
        if done():
            return
        time.sleep(0.1)
    pytest.fail("not in time")


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


class Tells(Works):
    def model_metadata(self, model_name, model_version=None):
        return oip.ModelMetadataResponse(model_name, [str(os.getpid())])

    async def model_ready(self, model_name, model_version=None):
        return model_name != "not"


def test_metadata_and_readiness_do_not_wait_for_busy_workers() -> None:
    settings: Any = {"rest_port": 0, "grpc_port": 0, "auth_enabled": False}
    Tells.checks_metadata = False
    with Server(Tells, workers=1, **settings) as server, ThreadPoolExecutor(8) as pool:
        ask = Caller(server)
        begun = time.monotonic()
        busy = [pool.submit(ask.infer, "brief", fp32("x", [1])) for _ in range(5)]
        time.sleep(0.2)
        assert ask("/v2/models/m")[1]["versions"] != [str(os.getpid())]
        assert ask("/v2/models/m/ready")[0] == 200
        assert ask("/v2/models/not/ready")[0] == 503
        assert time.monotonic() - begun < 1.0
        assert [one.result()[0] for one in busy] == [200] * 5


def test_a_worker_that_hangs_is_killed_after_its_caller_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_processes.Processes, "grace", 0.2)
    settings: Any = {"rest_port": 0, "grpc_port": 0, "auth_enabled": False}
    with Server(Works, workers=1, request_timeout="300ms", **settings) as server:
        ask = Caller(server)
        worker = data(ask.infer("pid", fp32("x", [1])))[0]
        assert ask.infer("hangs", fp32("x", [1]))[0] == 504
        wait_until(lambda: not Path(f"/proc/{worker}").exists())
        wait_until(lambda: ask.infer("pid", fp32("x", [1]))[0] == 200)


class LoadsOnce(Works):
    """Loads in the first process alone, until the file is there."""

    def model_load(self, model_name):
        file = Path(os.environ["OIP_TEST_FILE"])
        if file.exists() and file.read_text() != "loads":
            file.write_text(file.read_text() + "x")
            raise ValueError("no weights")
        file.touch()
        return True


def test_a_worker_that_cannot_load_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "loads"
    monkeypatch.setenv("OIP_TEST_FILE", str(file))
    settings: Any = {"rest_port": 0, "grpc_port": 0, "auth_enabled": False}
    with Server(LoadsOnce, workers=1, model_name="dies", **settings) as server:
        ask = Caller(server)
        assert ask.infer("dies", fp32("x", [1]))[0] == 500
        wait_until(lambda: len(file.read_text()) >= 2)
        file.write_text("loads")
        assert server._processes is not None
        wait_until(lambda: server._processes and len(server._processes._all) == 1)


class Batches(Works):
    max_batch_size = 8
    max_batch_delay = 0.2

    def infer(self, payload, model_name, model_version=None):
        x = payload.inputs[0].numpy()
        return {"rows": [len(x)] * len(x), "pid": [os.getpid()] * len(x)}


def test_batches_are_stacked_before_they_go_to_a_worker() -> None:
    settings: Any = {"rest_port": 0, "grpc_port": 0, "auth_enabled": False}
    with Server(Batches, workers=2, **settings) as server, ThreadPoolExecutor(4) as pool:
        ask = Caller(server)
        sent = [pool.submit(ask.infer, "m", fp32("x", [1.0, 2.0], [1, 2])) for _ in range(4)]
        answers = [one.result() for one in sent]
    assert {status for status, _ in answers} == {200}
    outputs = [{o["name"]: o["data"] for o in body["outputs"]} for _, body in answers]
    assert max(output["rows"][0] for output in outputs) > 1, outputs
    assert os.getpid() not in {output["pid"][0] for output in outputs}


class Slow(ModelHandler):
    def model_metadata(self, model_name, model_version=None):
        if model_name == "slow":
            time.sleep(1.0)
        return oip.ModelMetadataResponse(model_name)

    def model_load(self, model_name):
        return True

    def infer(self, payload, model_name, model_version=None):
        seconds = payload.inputs[0].data.root[0]
        if seconds == 0 and model_name == "writes":
            Path(os.environ["OIP_TEST_FILE"]).write_text("begun")
        time.sleep(seconds)
        return {"pid": [os.getpid()]}


Slow.checks_metadata = False
OPEN: Any = {"rest_port": 0, "grpc_port": 0, "auth_enabled": False}


def test_an_answer_that_comes_late_is_not_taken_for_another_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_processes, "_PATIENCE", 0.7)
    with Server(Slow, workers=1, **OPEN) as server:
        ask = Caller(server)
        assert ask("/v2/models/slow")[0] == 503
        time.sleep(0.5)
        for name in "abc":
            assert ask(f"/v2/models/{name}")[1]["name"] == name


def test_a_load_waits_for_one_process_after_the_other_and_keeps_no_other_from_its_work() -> None:
    with Server(Slow, workers=3, **OPEN) as server, ThreadPoolExecutor(2) as pool:
        ask = Caller(server)
        slow = pool.submit(ask.infer, "m", fp32("x", [2]))
        time.sleep(0.3)
        begun = time.monotonic()
        load = pool.submit(ask, "/v2/repository/models/m/load", {})
        time.sleep(0.2)
        for _ in range(5):
            assert ask.infer("m", fp32("x", [0]))[0] == 200
        assert time.monotonic() - begun < 1 and not load.done()
        assert load.result()[0] == 200 and slow.result()[0] == 200
        assert time.monotonic() - begun > 1.5


def test_a_request_whose_time_is_up_before_a_process_is_free_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "begun"
    monkeypatch.setenv("OIP_TEST_FILE", str(file))
    with Server(Slow, workers=1, request_timeout="600ms", **OPEN) as server:
        ask = Caller(server)
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(ask.infer, "m", fp32("x", [1.5]))
            time.sleep(0.3)
            assert ask.infer("writes", fp32("x", [0]))[0] == 504
            assert slow.result()[0] == 504
        wait_until(lambda: ask.infer("m", fp32("x", [0]))[0] == 200)
        assert not file.exists()


class Few(ModelHandler):
    model_names = ["few"]
    max_batch_size = 8
    max_batch_delay = 0.2

    def infer(self, payload, model_name, model_version=None):
        x = payload.inputs[0].numpy()
        if (x < 0).any():
            raise ValueError("below 0")
        return {"rows": [len(x)] * len(x)}


class One(ModelHandler):
    model_names = ["one"]

    def infer(self, payload, model_name, model_version=None):
        return {"rows": [0]}


def test_each_of_several_models_has_its_own_batches_in_processes_too() -> None:
    with Server([Few(), One()], workers=2, **OPEN) as server, ThreadPoolExecutor(4) as pool:
        ask = Caller(server)

        def rows(value: float) -> tuple[int, Any]:
            status, body = ask.infer("few", fp32("x", [value], [1, 1]))
            return status, body["outputs"][0]["data"][0] if status == 200 else body["error"]

        assert max(rows for _, rows in pool.map(rows, range(4))) > 1
        # One that is refused costs the others nothing.
        assert sorted(pool.map(rows, (-1, 1, 2))) == [(200, 1), (200, 1), (400, "below 0")]
        assert data(ask.infer("one", fp32("x", [1]))) == [0]


def test_a_process_that_hangs_does_not_outlive_its_parent(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(ORPHANS)
    parent = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    wait_until(lambda: not Path(f"/proc/{worker}").exists())


ORPHANS = """
import os, threading, time, urllib.request
from oip import *
class Hangs(ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        print(os.getpid(), flush=True)
        time.sleep(600)
BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'
if __name__ == "__main__":
    with Server(Hangs, workers=1, rest_port=0, grpc_port=0, auth_enabled=False) as server:
        urllib.request.urlopen(server.url + "/v2/models/m/infer", BODY)
"""


class Broken(ModelHandler):
    def __init__(self) -> None:
        raise RuntimeError("no weights")


def test_workers_that_cannot_begin_keep_the_server_from_starting() -> None:
    with pytest.raises(oip.errors.StartError, match="before it could answer"):
        Server(Broken, workers=1, rest_port=0, grpc_port=0, auth_enabled=False).start()


class Keeps(ModelHandler):
    """Lets go of nothing; each process knows whether it has loaded."""

    model_names = ["keeps"]

    def __init__(self) -> None:
        self.loaded = False

    def model_load(self, model_name):
        self.loaded = True
        return True

    def model_unload(self, model_name):
        raise oip.errors.Forbidden("this one stays")

    def infer(self, payload, model_name, model_version=None):
        if payload.inputs[0].data.root[0] == 0:
            os._exit(3)
        return {"loaded": [self.loaded], "pid": [os.getpid()]}


def test_a_worker_that_begins_after_an_unload_was_refused_has_its_model() -> None:
    with Server(Keeps, workers=1, **OPEN) as server:
        ask = Caller(server)
        assert ask("/v2/repository/models/keeps/unload", {})[0] == 403
        assert ask.infer("keeps", fp32("x", [0]))[0] == 500
        wait_until(lambda: ask.infer("keeps", fp32("x", [1]))[0] == 200)
        assert ask.infer("keeps", fp32("x", [1]))[1]["outputs"][0]["data"] == [True]


def test_a_stop_that_cuts_workers_off_speaks_of_no_new_ones(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(HANGS)
    command = [sys.executable, "-m", "oip.cli", "serve", program, "--workers", "2", "--rest-port", "0"]
    command += ["--grpc", "false", "--auth-enabled", "false", "--shutdown-grace", "300ms"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        url = next(line.split()[1] for line in process.stdout if "REST" in line)
        body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(urllib.request.urlopen, url + "/v2/models/m/infer", body)
            while "busy" not in process.stdout.readline():
                pass
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate(timeout=30)
            assert isinstance(call.exception(), OSError)
    finally:
        process.kill()
    assert process.returncode == 0 and "grace ran out" in said, said
    assert "another one begins" not in said


def closed_by_two(monkeypatch: pytest.MonkeyPatch, of: int, close: Callable[[], None]) -> int:
    """How often a file is closed where a second thread lets go of it while the first one does."""
    times, begun, second = 0, threading.Event(), threading.Event()
    really = os.close

    def slowly(descriptor: int) -> None:
        nonlocal times
        if descriptor != of:
            return really(descriptor)
        times += 1
        begun.set()
        assert second.wait(10)
        # Longer than the other one needs from there.
        time.sleep(0.3)

    def close_too() -> None:
        second.set()
        close()

    with monkeypatch.context() as patched, ThreadPoolExecutor(2) as pool:
        patched.setattr(os, "close", slowly)
        one = pool.submit(close)
        assert begun.wait(10)
        two = pool.submit(close_too)
        one.result()
        two.result()
    really(of)
    return times


def test_what_two_threads_let_go_of_is_closed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    arena = _arena.Arena.anonymous()
    assert closed_by_two(monkeypatch, arena.descriptor, arena.close) == 1


def test_an_arena_that_is_being_read_is_let_go_of_without_a_word() -> None:
    arena = _arena.Arena.anonymous()
    arena._reach(4096)
    assert arena._map is not None
    view = memoryview(arena._map)
    arena.close()
    assert arena.descriptor == -1 and view[0] == 0


HANGS = """
import time
from oip import *
class Hangs(ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        print("busy", flush=True)
        time.sleep(600)
"""


FORKS = """
import os, sys, urllib.request
import oip

class Handler(oip.ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        return oip.InferenceResponse(model_name=model_name, outputs=[])

if __name__ == "__main__":
    server = oip.Server(Handler, workers=1, rest_port=0, grpc=False, auth_enabled=False).start()
    before = {worker.process.pid for worker in server._processes._all}
    child = os.fork()
    if child == 0:
        sys.exit(5)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(ended, all(worker.process.is_alive() for worker in server._processes._all))
    print(before == {worker.process.pid for worker in server._processes._all})
    server.stop()
"""


def test_a_child_that_forks_off_ends_without_its_parents_workers(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(FORKS)
    ended = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "5 True\nTrue\n"), ended.stderr
