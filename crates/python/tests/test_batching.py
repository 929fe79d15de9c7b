"""Handlers that answer several requests in one call."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import oip
from oip import DataplaneHandler, ModelHandler
from oip.testing import client


class Rows(ModelHandler):
    max_batch_size = 8
    max_batch_delay = 0.05

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def answer(self, payload: Any) -> Any:
        x = payload.input("x").numpy()
        self.sizes.append(len(x))
        time.sleep(0.01)
        return {"y": x * 2, "name": [f"row {row[0]:g}" for row in x]}

    def infer(self, payload, model_name, model_version=None):
        return self.answer(payload)


class AsyncRows(Rows):
    async def infer(self, payload, model_name, model_version=None):
        await asyncio.sleep(0)
        return self.answer(payload)


def row(value: float, rows: int = 1) -> dict[str, Any]:
    return {"x": np.full((rows, 2), value, np.float32)}


@pytest.mark.parametrize("kind", [Rows, AsyncRows])
def test_requests_that_wait_are_stacked_and_each_gets_its_rows(kind: type[Rows]) -> None:
    handler = kind()
    with client(handler) as asked, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: asked.infer("m", row(i, 1 + i % 3)), range(16)))
    for i, answer in enumerate(answers):
        rows = 1 + i % 3
        assert answer.output("y").numpy().tolist() == [[i * 2, i * 2]] * rows
        assert answer.output("name").strings() == [f"row {i}"] * rows
    assert len(handler.sizes) < 16 and max(handler.sizes) <= 8


def test_an_answer_keeps_the_rows_of_no_other() -> None:
    class Large(Rows):
        max_batch_delay = 2

        def infer(self, payload, model_name, model_version=None):
            y = np.repeat(payload.input("x").numpy(), 100_000, axis=1)
            self.sizes.append(len(y))
            stacked.append(weakref.ref(y))
            return {"y": y}

    handler, stacked = Large(), []
    with client(handler) as asked, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda i: asked.infer("m", row(i)), range(4)))
        for _ in range(100):
            if stacked[0]() is None:
                break
            time.sleep(0.05)
        else:
            pytest.fail("the answers keep the whole batch")
    assert max(handler.sizes) > 1
    for i, answer in enumerate(answers):
        y = answer.output("y").numpy()
        assert y.shape == (1, 200_000) and set(y[0]) == {i}


def test_different_shapes_and_parameters_are_not_stacked() -> None:
    handler = Rows()
    with client(handler) as asked, ThreadPoolExecutor(4) as pool:
        wide = pool.submit(asked.infer, "m", {"x": np.ones((1, 3), np.float32)})
        narrow = pool.submit(asked.infer, "m", row(1))
        alone = pool.submit(asked.infer, "m", row(1), parameters={"temperature": 1})
        assert wide.result().output("y").shape == [1, 3]
        assert narrow.result().output("y").shape == alone.result().output("y").shape == [1, 2]
    assert sorted(handler.sizes) == [1, 1, 1]


@pytest.mark.parametrize("kind", [Rows, AsyncRows])
def test_where_a_batch_fails_each_runs_alone_and_has_its_own_answer(kind: type[Rows]) -> None:
    class Refuses(kind):  # type: ignore[valid-type, misc]
        max_batch_delay = 0.2

        def answer(self, payload: Any) -> Any:
            answer = super().answer(payload)
            for row in answer["y"]:
                if row[0] < 0:
                    raise ValueError(f"{row[0]:g} is below 0")
            return answer

    handler = Refuses()
    with client(handler) as asked, ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(asked.infer, "m", row(i)) for i in (1, -2, 3, -4)]
        for i, answer in zip((1, -2, 3, -4), answers, strict=True):
            if i > 0:
                assert answer.result().output("y").numpy().tolist() == [[2 * i, 2 * i]]
            else:
                with pytest.raises(ValueError, match=f"^{2 * i} is below 0"):
                    answer.result()
    assert handler.sizes[0] == 4 and handler.sizes[1:] == [1] * 4


def test_those_that_run_alone_wait_side_by_side() -> None:
    class Waits(Rows):
        max_batch_delay = 0.2

        async def infer(self, payload, model_name, model_version=None):
            if len(payload.input("x").numpy()) > 1:
                raise ValueError("one by one")
            await asyncio.sleep(0.4)
            return {"y": payload.input("x").numpy()}

    with client(Waits()) as asked, ThreadPoolExecutor(4) as pool:
        begun = time.monotonic()
        answers = list(pool.map(lambda i: asked.infer("m", row(i)), range(4)))
        assert time.monotonic() - begun < 1.4
    assert [answer.output("y").numpy()[0, 0] for answer in answers] == [0, 1, 2, 3]


def test_each_of_several_models_has_its_own_batches() -> None:
    sizes: dict[str, list[int]] = {"a": [], "b": []}

    def made(name: str) -> Any:
        @oip.model(name, max_batch_size=8, max_batch_delay=0.2)
        def doubles(x: np.ndarray) -> Any:
            sizes[name].append(len(x))
            return {"y": x * 2}

        return doubles

    with pytest.warns(UserWarning, match="without a datatype"):
        models = [made("a"), made("b")]
    with client(models) as asked, ThreadPoolExecutor(6) as pool:
        sent = [(name, i) for name in "ab" for i in range(3)]
        answers = list(pool.map(lambda one: asked.infer(one[0], row(one[1])), sent))
        with pytest.raises(oip.errors.NotFound, match="'c'"):
            asked.infer("c", row(1))
    assert [answer.output("y").numpy()[0, 0] for answer in answers] == [0, 2, 4] * 2
    assert sizes == {"a": [3], "b": [3]}


def test_the_one_that_checks_asks_for_the_batches_of_its_handler() -> None:
    handler = Rows()
    handler.max_batch_delay = 0.2
    with client(DataplaneHandler(handler)) as asked, ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda i: asked.infer("m", row(i)), range(3)))
    assert handler.sizes == [3]


def test_where_the_answer_lacks_rows_each_runs_alone() -> None:
    sizes = []

    class Loses(Rows):
        def infer(self, payload, model_name, model_version=None):
            sizes.append(payload.input("x").shape[0])
            return {"y": payload.input("x").numpy()[:1]}

    with client(Loses()) as asked, ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda i: asked.infer("m", row(i)), range(2))
        assert [answer.output("y").numpy().tolist() for answer in answers] == [[[0, 0]], [[1, 1]]]
    assert sizes == [2, 1, 1]


def test_who_comes_when_a_call_has_found_that_all_have_left_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Slow(Rows):
        max_batch_delay = 1.0

    nobody, go_on = threading.Event(), threading.Event()
    made = oip.errors.of_status

    def of_status(status: int, message: str, retry_after: int | None = None) -> Any:
        if "nobody waits" in message:
            nobody.set()
            go_on.wait(30)
        return made(status, message, retry_after)

    monkeypatch.setattr(oip.errors, "of_status", of_status)
    handler = Slow()
    with client(handler) as asked, ThreadPoolExecutor(2) as pool:
        with pytest.raises(oip.errors.TimedOut):
            asked.infer("m", row(1), context=oip.Context(remaining=0.05))
        assert nobody.wait(30)
        # It waits for others within its own call, while the first one still ends.
        comes = pool.submit(asked.infer, "m", row(2))
        time.sleep(0.3)
        go_on.set()
        assert comes.result().output("y").numpy().tolist() == [[4, 4]]
    assert handler.sizes == [1]
