"""Handlers that answer several requests in one call."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from oip import ModelHandler
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


def test_different_shapes_and_parameters_are_not_stacked() -> None:
    handler = Rows()
    with client(handler) as asked, ThreadPoolExecutor(4) as pool:
        wide = pool.submit(asked.infer, "m", {"x": np.ones((1, 3), np.float32)})
        narrow = pool.submit(asked.infer, "m", row(1))
        alone = pool.submit(asked.infer, "m", row(1), parameters={"temperature": 1})
        assert wide.result().output("y").shape == [1, 3]
        assert narrow.result().output("y").shape == alone.result().output("y").shape == [1, 2]
    assert sorted(handler.sizes) == [1, 1, 1]


def test_a_fault_reaches_everybody_in_the_batch() -> None:
    class Refuses(Rows):
        def infer(self, payload, model_name, model_version=None):
            raise ValueError("not today")

    with client(Refuses()) as asked, ThreadPoolExecutor(4) as pool:
        for answer in [pool.submit(asked.infer, "m", row(i)) for i in range(4)]:
            with pytest.raises(ValueError, match="not today"):
                answer.result()


def test_an_answer_without_the_rows_is_a_failure() -> None:
    class Loses(Rows):
        def infer(self, payload, model_name, model_version=None):
            return {"y": np.zeros((1, 2), np.float32)}

    with client(Loses()) as asked, ThreadPoolExecutor(2) as pool:
        for answer in [pool.submit(asked.infer, "m", row(i)) for i in range(2)]:
            with pytest.raises(Exception, match="a batch of 2 rows is due"):
                answer.result()
