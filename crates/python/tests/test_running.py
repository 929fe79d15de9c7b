"""Where handlers run, and how servers start and stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import oip
from oip import DataplaneHandler, ModelHandler, Server
from oip.testing import client

from conftest import fp32


def test_blocking_handlers_run_side_by_side_and_hold_up_no_health_probe(serve: Any) -> None:
    class Sleeps(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            time.sleep(0.3)
            return {"thread": [threading.current_thread().name]}

    ask = serve(Sleeps(), threads=4)
    with ThreadPoolExecutor(5) as pool:
        begun = time.monotonic()
        answers = [pool.submit(ask.infer, "m", fp32("x", [1])) for _ in range(4)]
        time.sleep(0.1)
        probed = time.monotonic()
        assert ask("/v2/health/live")[0] == 200
        assert time.monotonic() - probed < 0.15
        names = {answer.result()[1]["outputs"][0]["data"][0] for answer in answers}
        assert time.monotonic() - begun < 1.0
    assert len(names) == 4 and all(name.startswith("oip-handler-") for name in names)


def test_async_handlers_share_one_loop_and_wait_side_by_side(serve: Any) -> None:
    loops = set()

    class Waits(ModelHandler):
        async def infer(self, payload, model_name, model_version=None):
            loops.add(asyncio.get_running_loop())
            await asyncio.sleep(0.3)
            return {"y": [1]}

        async def model_ready(self, model_name, model_version=None):
            return True

    ask = serve(Waits())
    with ThreadPoolExecutor(20) as pool:
        begun = time.monotonic()
        answers = [pool.submit(ask.infer, "m", fp32("x", [1])) for _ in range(20)]
        assert all(answer.result()[0] == 200 for answer in answers)
        assert time.monotonic() - begun < 2.0
    assert len(loops) == 1
    assert ask("/v2/models/m/ready")[0] == 200


def test_an_async_call_whose_caller_left_is_cancelled(serve: Any) -> None:
    cancelled = threading.Event()

    class Waits(ModelHandler):
        async def infer(self, payload, model_name, model_version=None):
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled.set()
                raise

    ask = serve(Waits(), request_timeout="200ms")
    assert ask.infer("m", fp32("x", [1]))[0] == 504
    assert cancelled.wait(5)


class Cancels(ModelHandler):
    def __init__(self) -> None:
        self.cancelled = threading.Event()

    async def infer(self, payload, model_name, model_version=None):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def plain(handler: Cancels) -> Any:
    """A plain method that returns a coroutine."""
    return DataplaneHandler(handler)


def several(handler: Cancels) -> Any:
    @oip.model("m")
    async def waits(x: Any) -> Any:
        return await handler.infer(x, "m")

    @oip.model("other")
    def other(x: Any) -> Any:
        return [1.0]

    return [waits, other]


@pytest.mark.parametrize("wrap", [plain, several])
def test_a_call_on_the_loop_is_cancelled_whoever_hands_it_on(serve: Any, wrap: Any) -> None:
    handler = Cancels()
    ask = serve(wrap(handler), request_timeout="200ms")
    assert ask.infer("m", fp32("x", [1]))[0] == 504
    assert handler.cancelled.wait(5)


async def exits() -> None:
    sys.exit(3)


def test_an_async_handler_that_exits_or_stops_its_loop_costs_its_own_request_only(serve: Any) -> None:
    class Ends(ModelHandler):
        async def infer(self, payload, model_name, model_version=None):
            match model_name:
                case "exits":
                    sys.exit(3)
                case "interrupts":
                    raise KeyboardInterrupt
                case "stops":
                    asyncio.get_running_loop().stop()
                case "task":
                    await asyncio.wait([asyncio.create_task(exits())])
            return {"y": [1]}

    ask = serve(Ends(), request_timeout="2s")
    for model, status in {"exits": 500, "interrupts": 500, "stops": 200, "task": 200}.items():
        assert ask.infer(model, fp32("x", [1]))[0] == status, model
        assert ask.infer("well", fp32("x", [1]))[0] == 200, model


def test_a_plain_method_may_return_a_coroutine() -> None:
    class Wrapped(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            async def answer() -> Any:
                await asyncio.sleep(0)
                return {"y": [1]}

            return answer()

    with client(Wrapped()) as asked:
        assert asked.infer("m", {"x": [1.0]}).outputs[0].data.root == [1]


def test_no_more_than_the_queue_holds_wait_for_a_thread(serve: Any) -> None:
    asked = []
    go = threading.Event()

    class Waits(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            asked.append(payload.id)
            go.wait(10)
            return {"y": [1]}

    ask = serve(Waits(), threads=1, model_queue=2)
    with ThreadPoolExecutor(4) as pool:
        answers = []
        for id in "abc":
            answers.append(pool.submit(ask.infer, "m", fp32("x", [1]), id=id))
            time.sleep(0.2)
        status, body = ask.infer("m", fp32("x", [1]), id="d")
        assert status == 429 and "2 requests wait already" in body["error"]
        go.set()
        assert [answer.result()[0] for answer in answers] == [200] * 3
    assert asked == ["a", "b", "c"]


def test_a_request_whose_caller_left_is_not_begun(serve: Any) -> None:
    asked = []
    go = threading.Event()

    class Waits(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            asked.append(payload.id)
            go.wait(10)
            return {"y": [1]}

    ask = serve(Waits(), threads=1, request_timeout="300ms")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask.infer, "m", fp32("x", [1]), id="a")
        time.sleep(0.1)
        assert ask.infer("m", fp32("x", [1]), id="left")[0] == 504
        assert first.result()[0] == 504
        go.set()
        assert ask.infer("m", fp32("x", [1]), id="b")[0] == 200
    assert asked == ["a", "b"]


def test_thread_locals_stay_with_their_thread() -> None:
    local = threading.local()

    class Counts(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            local.count = getattr(local, "count", 0) + 1
            return {"count": [local.count]}

    with client(Counts(), threads=1) as asked:
        counts = [asked.infer("m", {"x": [1.0]}).outputs[0].data[0] for _ in range(3)]
    assert counts == [1, 2, 3]


def test_settings_are_checked_and_authentication_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="'rest_prot' is not a setting"):
        Server(oip.DefaultModelHandler(), rest_prot=1).start()
    with pytest.raises(oip.errors.StartError, match="auth_enabled"):
        Server(oip.DefaultModelHandler(), rest_port=0, grpc_port=0).start()
    monkeypatch.setenv("AUTH_SECRET", "0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("FASTAPI_PORT", "0")
    with Server(oip.DefaultModelHandler(), grpc_port=0, pdp="embedded") as server:
        import urllib.error
        import urllib.request

        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(f"{server.url}/v2/models/m")
        assert raised.value.code == 401


def test_log_settings_come_from_files_and_the_environment_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "oip.properties").write_text(
        "auth_enabled=false\nlog_format=json\nlog_level=debug\nlatency_log=true\n"
    )
    monkeypatch.setenv("KRAUSENING_BASE", str(tmp_path))
    assert oip._oip.before_start({}) == ("debug", "json", True, 0)
    monkeypatch.setenv("OIP_LOG_LEVEL", "warn")
    monkeypatch.setenv("OIP_WORKERS", "3")
    assert oip._oip.before_start({"log_format": ["text"]}) == ("warn", "text", True, 3)
    with pytest.raises(oip.errors.StartError, match="log_level"):
        oip._oip.before_start({"log_level": ["loud"]})


def test_a_port_that_is_taken_is_named(serve: Any) -> None:
    port = serve(oip.DefaultModelHandler()).server.rest_address[1]
    with pytest.raises(oip.errors.StartError, match=f"127.0.0.1:{port}"):
        Server(None, rest_port=port, grpc_port=0, auth_enabled=False).start()


def test_a_server_can_be_started_again() -> None:
    server = Server(None, rest_port=0, grpc_port=0, auth_enabled=False)
    assert repr(server) == "<Server of DefaultModelHandler, not started>"
    for _ in range(2):
        with server:
            assert server.url in repr(server)


PROGRAM = """
import asyncio, sys
from oip import *
class Slow(ModelHandler):
    {kind} infer(self, payload, model_name, model_version=None):
        {wait}
        return {{"y": [1]}}
settings = dict(rest_port={port}, grpc_port=0, auth_enabled=False)
{serve}
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("kind", "wait", "serve"),
    [
        ("def", "import time; time.sleep(1)", "Server(Slow(), **settings).serve()"),
        (
            "async def",
            "await asyncio.sleep(1)",
            "asyncio.run(AissembleOIPgRPC(Slow(), **settings).start_server())",
        ),
    ],
)
def test_a_signal_drains(
    tmp_path: Path, number: signal.Signals, kind: str, wait: str, serve: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = tmp_path / "main.py"
    program.write_text(PROGRAM.format(kind=kind, wait=wait, serve=serve, port=port))
    process = subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        server = Server(None)
        server.__class__ = type("At", (Server,), {"url": f"http://127.0.0.1:{port}"})
        from conftest import Caller

        ask = Caller(server)
        for _ in range(200):
            try:
                if ask("/v2/health/ready")[0] == 200:
                    break
            except OSError:
                time.sleep(0.05)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(ask.infer, "m", fp32("x", [1]))
            time.sleep(0.4)
            os.kill(process.pid, number)
            assert answer.result()[0] == 200
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0, err
        assert out == "ended\n"
        assert "listening: REST" in err and "Traceback" not in err
    finally:
        process.kill()


DRAINS = """
import threading, time, urllib.request
from oip import *
class Hangs(ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        print("hangs", flush=True)
        time.sleep(60)
BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'
with Server(Hangs(), rest_port=0, grpc_port=0, auth_enabled=False, shutdown_grace="60s") as server:
    url = server.url + "/v2/models/m/infer"
    threading.Thread(target=urllib.request.urlopen, args=(url, BODY), daemon=True).start()
    time.sleep(60)
"""


def test_ctrl_c_cuts_off_the_stop_of_a_server_in_a_with_block(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(DRAINS)
    process = subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "hangs\n"
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.wait(10)
    finally:
        process.kill()


def test_threads_that_hang_are_waited_for_together() -> None:
    go = threading.Event()
    entered = threading.Semaphore(0)

    class Hangs(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            entered.release()
            go.wait(30)
            return {"y": [1]}

    asked = client(Hangs(), threads=3)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(asked.infer, "m", {"x": [1.0]}) for _ in range(3)]
        for _ in calls:
            assert entered.acquire(timeout=5)
        begun = time.monotonic()
        asked._workers.close(0.5)
        took = time.monotonic() - begun
        go.set()
    assert 0.4 < took < 1.0


def test_a_server_that_is_not_stopped_does_not_keep_the_program(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(
        "import oip\n"
        "server = oip.Server(None, rest_port=0, grpc_port=0, auth_enabled=False).start()\n"
        "print(server)\n"
    )
    ended = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 0 and "REST http://127.0.0.1:" in ended.stdout, ended.stderr


def test_waiting_for_a_thread_is_told_from_the_work(serve: Any) -> None:
    class Sleeps(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            time.sleep(0.2)
            return {"y": [1]}

    ask = serve(Sleeps(), threads=1)
    with ThreadPoolExecutor(2) as pool:
        assert {a[0] for a in pool.map(lambda _: ask.infer("m", fp32("x", [1])), range(2))} == {200}
    stats = ask("/v2/models/m/stats")[1]["model_stats"][0]["inference_stats"]
    assert stats["queue"]["ns"] > 0.1e9
    # Twice 0.2 s, and neither the waiting nor the whole call once more.
    assert 0.4e9 <= stats["compute_infer"]["ns"] < 0.6e9
    assert stats["compute_input"]["ns"] > 0 and stats["compute_output"]["ns"] > 0


RESTORES = """
import asyncio, os, signal, socket
import oip

def own(number, frame):
    print("own", flush=True)

async def main():
    signal.signal(signal.SIGTERM, own)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = oip.Server(None, rest_port=taken.getsockname()[1], grpc=False, auth_enabled=False)
        try:
            await server.serve_async()
        except oip.errors.StartError:
            os.kill(os.getpid(), signal.SIGTERM)
    server = oip.Server(None, rest_port=0, grpc=False, auth_enabled=False)
    asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), signal.SIGTERM)
    await server.serve_async()
    print("served", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

asyncio.run(main())
"""


OF_A_LOOP = """
import asyncio, functools, os, signal
import oip

async def main():
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, functools.partial(print, "own", flush=True))
    server = oip.Server(None, rest_port=0, grpc=False, auth_enabled=False)
    loop.call_later(0.3, os.kill, os.getpid(), signal.SIGTERM)
    await server.serve_async()
    print("served", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.1)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("text", "said"), [(RESTORES, "own\nserved\nown\n"), (OF_A_LOOP, "served\nown\n")]
)
def test_a_programs_own_signal_handlers_rest_while_it_serves_and_are_back_after(
    text: str, said: str, tmp_path: Path
) -> None:
    program = tmp_path / "main.py"
    program.write_text(text)
    ended = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, said), ended.stderr


@pytest.mark.parametrize("count", [0, -1])
def test_a_server_has_one_thread_at_least(count: int) -> None:
    with pytest.raises(ValueError, match=f"threads is {count}"):
        Server(None, threads=count)
