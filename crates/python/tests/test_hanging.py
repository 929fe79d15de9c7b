"""Handlers that hang: what each costs, and whom."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from oip import ModelHandler

from conftest import fp32

THREADS = 3


class Hangs(ModelHandler):
    def __init__(self) -> None:
        self.gone = threading.Event()
        self.entered = threading.Semaphore(0)

    def infer(self, payload, model_name, model_version=None):
        if model_name == "hangs":
            self.entered.release()
            self.gone.wait()
        return {"y": [1.0]}


@pytest.fixture
def hanging(serve: Any) -> Iterator[tuple[Any, Hangs]]:
    handler = Hangs()
    yield serve(handler, threads=THREADS, request_timeout="600ms"), handler
    handler.gone.set()


def hang(ask: Any, handler: Hangs, pool: ThreadPoolExecutor, count: int) -> list[Any]:
    calls = [pool.submit(ask.infer, "hangs", fp32("x", [1])) for _ in range(count)]
    for _ in calls:
        assert handler.entered.acquire(timeout=5)
    return calls


def test_a_handler_that_hangs_costs_its_own_request_only(hanging: Any) -> None:
    ask, handler = hanging
    with ThreadPoolExecutor(THREADS) as pool:
        calls = hang(ask, handler, pool, THREADS - 1)
        begun = time.monotonic()
        answers = [ask.infer("well", fp32("x", [1]))[0] for _ in range(10)]
        assert answers == [200] * 10 and time.monotonic() - begun < 2
        assert [call.result()[0] for call in calls] == [504] * (THREADS - 1)
    # Their threads still hang; the one that is left goes on.
    assert ask.infer("well", fp32("x", [1]))[0] == 200


def test_a_model_that_hangs_takes_no_more_threads_than_its_concurrency(serve: Any) -> None:
    handler = Hangs()
    ask = serve(handler, threads=THREADS, request_timeout="600ms", model_concurrency=THREADS - 1, model_queue=1)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            calls = hang(ask, handler, pool, THREADS - 1)
            assert [call.result()[0] for call in calls] == [504] * (THREADS - 1)
        # Its callers are gone and its threads still hang: it finds no other, and the rest are served.
        assert [ask.infer("hangs", fp32("x", [1]))[0] for _ in range(3)] == [504] * 3
        assert [ask.infer("well", fp32("x", [1]))[0] for _ in range(10)] == [200] * 10
    finally:
        handler.gone.set()


def test_when_every_thread_hangs_others_are_told_at_their_deadline_and_the_server_lives(hanging: Any) -> None:
    ask, handler = hanging
    with ThreadPoolExecutor(THREADS) as pool:
        calls = hang(ask, handler, pool, THREADS)
        begun = time.monotonic()
        status = ask.infer("well", fp32("x", [1]))[0]
        assert status in (429, 504) and time.monotonic() - begun < 3
        assert ask("/v2/health/live")[0] == 200
        assert [call.result()[0] for call in calls] == [504] * THREADS
        handler.gone.set()
    end = time.monotonic() + 5
    while ask.infer("well", fp32("x", [1]))[0] != 200:
        assert time.monotonic() < end, "threads that are let go take no requests"


class Silent(Hangs):
    """Its models say neither whether they are ready nor what they declare."""

    checks_metadata = False

    def model_ready(self, model_name, model_version=None):
        self.gone.wait()
        return True

    def model_metadata(self, model_name, model_version=None):
        self.gone.wait()
        raise NotImplementedError


def test_a_model_that_does_not_say_whether_it_is_ready_holds_up_no_probe_and_no_metrics(serve: Any) -> None:
    handler = Silent()
    ask = serve(handler, threads=THREADS, model_name="m")
    try:
        status, metrics = ask("/metrics")
        assert status == 200 and b"\noip_ready 0\n" in metrics
        # Each question takes a thread, and those who ask when there is none are answered, too.
        assert [ask("/v2/health/ready")[0] for _ in range(THREADS + 1)] == [503] * (THREADS + 1)
        assert ask("/v2/health/live")[0] == 200
        handler.gone.set()
        end = time.monotonic() + 5
        while ask("/v2/health/ready")[0] != 200:
            assert time.monotonic() < end, "it says so now"
    finally:
        handler.gone.set()


def test_questions_whose_callers_have_left_wait_no_longer(serve: Any) -> None:
    handler = Silent()
    ask = serve(handler, threads=1, model_queue=2, request_timeout="300ms")
    try:
        # The first has the thread, and of the others there are more than may wait at once.
        assert [ask("/v2/models/m")[0] for _ in range(5)] == [504] * 5
        handler.gone.set()
        end = time.monotonic() + 5
        while (status := ask("/v2/models/m")[0]) == 504:
            assert time.monotonic() < end, "it says so now"
        assert status == 501 and ask.infer("m", fp32("x", [1]))[0] == 200
    finally:
        handler.gone.set()


def test_a_handler_without_model_ready_is_ready_also_when_all_its_threads_hang(serve: Any) -> None:
    handler = Hangs()
    ask = serve(handler, threads=THREADS, model_name="hangs", request_timeout="600ms")
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            hang(ask, handler, pool, THREADS)
            assert ask("/v2/health/ready")[0] == 200
            assert ask("/v2/models/hangs/ready")[0] == 200
    finally:
        handler.gone.set()
