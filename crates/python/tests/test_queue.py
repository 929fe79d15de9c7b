"""Who waits for a thread, and who does not."""

from __future__ import annotations

import http.client
import threading
import time
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from oip import ModelHandler

from conftest import Caller, fp32

BODY = (
    b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}],'
    b'"parameters":{"binary_data_output":true}}'
)


def test_what_large_answers_leave_behind_is_no_request_that_waits(serve: Any) -> None:
    class Large(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            time.sleep(0.005)
            return {"y": np.ones(100_000, np.float32)}

    callers = 8
    ask = serve(Large(), threads=1, model_queue=callers, log_level="error")
    until = time.monotonic() + 2

    def call() -> Counter[int]:
        connection = http.client.HTTPConnection(*ask.server.rest_address)
        seen: Counter[int] = Counter()
        while time.monotonic() < until:
            connection.request("POST", "/v2/models/m/infer", BODY)
            answer = connection.getresponse()
            answer.read()
            seen[answer.status] += 1
        connection.close()
        return seen

    with ThreadPoolExecutor(callers) as pool:
        seen = sum(pool.map(lambda _: call(), range(callers)), Counter())
    # There are never more requests than places.
    assert set(seen) == {200}, seen


def test_answers_are_let_go_of_before_the_requests_that_wait(serve: Any) -> None:
    gone: list[int] = []

    class Large(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            begun.append(len(gone))
            if model_name == "first":
                entered.set()
                go.wait(10)
            time.sleep(0.1)
            array = np.ones(100_000, np.float32)
            weakref.finalize(array, gone.append, 1)
            return {"y": array}

    begun: list[int] = []
    entered, go = threading.Event(), threading.Event()
    ask = serve(Large(), threads=1)
    with ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(ask.infer, "first", fp32("x", [1]))]
        assert entered.wait(5)
        calls += [pool.submit(ask.infer, "m", fp32("x", [1])) for _ in range(4)]
        time.sleep(0.2)
        go.set()
        assert {call.result()[0] for call in calls} == {200}
    # At the end of the queue they would all have been kept until the last had begun.
    assert begun[-1] > 0, begun


class Slow(ModelHandler):
    """Answers after so many seconds."""

    def infer(self, payload, model_name, model_version=None):
        time.sleep(float(payload.inputs[0].numpy()[0]))
        return {"y": [1.0]}


class Stacks(Slow):
    max_batch_size = 2


def leave(ask: Caller, count: int) -> None:
    """So many callers ask and hang up."""
    connections = [http.client.HTTPConnection(*ask.server.rest_address or ("", 0)) for _ in range(count)]
    for connection in connections:
        connection.request("POST", "/v2/models/m/infer", BODY.replace(b"[1]}]", b"[0]}]"))
    time.sleep(0.3)
    for connection in connections:
        connection.close()
    time.sleep(0.3)


@pytest.mark.parametrize("kind", [Slow, Stacks])
def test_those_who_have_left_take_nobodys_place_in_the_queue(serve: Any, kind: Any) -> None:
    places = 3
    ask = serve(kind(), threads=1, model_queue=places, log_level="error")
    with ThreadPoolExecutor(2) as pool:
        hog = pool.submit(ask.infer, "m", fp32("x", [2]))
        time.sleep(0.2)
        leave(ask, places)
        # It is answered once the thread is free.
        assert ask.infer("m", fp32("x", [0]))[0] == 200
        assert hog.result()[0] == 200


def test_a_model_is_asked_whether_it_is_ready_before_the_inferences_that_wait(serve: Any) -> None:
    class Notes(ModelHandler):
        checks_metadata = False

        def infer(self, payload, model_name, model_version=None):
            called.append(model_name)
            if model_name == "first":
                entered.set()
                go.wait(10)
            return {"y": [1.0]}

        def model_ready(self, model_name, model_version=None):
            called.append("ready")
            return True

    called: list[str] = []
    entered, go = threading.Event(), threading.Event()
    ask = serve(Notes(), threads=1)
    with ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(ask.infer, "first", fp32("x", [1]))]
        assert entered.wait(5)
        calls += [pool.submit(ask.infer, "m", fp32("x", [1])) for _ in range(3)]
        time.sleep(0.3)
        ready = pool.submit(ask, "/v2/models/m/ready")
        time.sleep(1)
        go.set()
        assert ready.result()[0] == 200 and {call.result()[0] for call in calls} == {200}
    assert called == ["first", "ready", "m", "m", "m"]


def test_models_that_are_asked_all_at_once_whether_they_are_ready_are_however_short_the_queue_is(serve: Any) -> None:
    class Asked(ModelHandler):
        checks_metadata = False

        async def infer(self, payload, model_name, model_version=None):
            return {"y": [1.0]}

        def model_ready(self, model_name, model_version=None):
            return True

    for queue in (0, 2):
        ask = serve(Asked(), model_name=[f"m{number}" for number in range(20)], threads=2, model_queue=queue)
        assert ask("/v2/health/ready")[0] == 200
        assert ask.infer("m3", fp32("x", [1]))[0] == 200


def test_inferences_are_answered_while_probes_come_without_pause(serve: Any) -> None:
    class Slow(ModelHandler):
        checks_metadata = False

        def infer(self, payload, model_name, model_version=None):
            return {"y": [1.0]}

        def model_ready(self, model_name, model_version=None):
            time.sleep(0.02)
            return True

    ask = serve(Slow(), threads=1)
    ended = threading.Event()

    def probe() -> None:
        while not ended.is_set():
            ask("/v2/models/m/ready")

    with ThreadPoolExecutor(9) as pool:
        probes = [pool.submit(probe) for _ in range(8)]
        time.sleep(0.3)
        answered = pool.submit(ask.infer, "m", fp32("x", [1]))
        try:
            assert answered.result(timeout=30)[0] == 200
        finally:
            ended.set()
        for one in probes:
            one.result()


def test_a_full_queue_says_when_a_thread_will_be_free(serve: Any) -> None:
    class Sleeps(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            entered.release()
            time.sleep(2)
            return {"y": [1]}

    entered = threading.Semaphore(0)
    ask = serve(Sleeps(), threads=1, model_queue=1)
    assert ask.infer("m", fp32("x", [1]))[0] == 200
    entered.acquire()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask.infer, "m", fp32("x", [1]))
        assert entered.acquire(timeout=10)
        second = pool.submit(ask.infer, "m", fp32("x", [1]))
        time.sleep(0.5)
        connection = http.client.HTTPConnection(*ask.server.rest_address)
        connection.request("POST", "/v2/models/m/infer", BODY)
        refused = connection.getresponse()
        refused.read()
        connection.close()
        assert {first.result()[0], second.result()[0]} == {200}
    # Two more runs of two seconds each; the mean has little else in it.
    assert refused.status == 429 and int(refused.headers["Retry-After"]) >= 3
