"""Run by a free-threaded CPython with its wheel: handlers run side by side and the GIL stays off."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import oip
from oip.testing import client


class Doubles(oip.ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        return {"y": payload.inputs[0].numpy() * 2}


with client(Doubles(), threads=4) as asked, ThreadPoolExecutor(4) as pool:
    answers = pool.map(lambda n: asked.infer("m", {"x": np.full(9, n)}), range(1000))
    for number, answer in enumerate(answers):
        assert answer.output("y").numpy().tolist() == [2 * number] * 9
print("free-threaded, GIL", "on" if sys._is_gil_enabled() else "off")
