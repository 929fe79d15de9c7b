"""The examples that the documentation shows, each run."""

from __future__ import annotations

import base64
import io
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oip
from oip import _programs
from oip.testing import client

from conftest import fp32

EXAMPLES = Path(__file__).parents[3] / "examples" / "python"
pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="not in the repository")


def handler_of(name: str) -> Any:
    sys.modules.pop(name, None)
    return _programs.resolve(_programs.find(_programs.load(EXAMPLES / f"{name}.py")), 0)[0]


def test_the_originals_readme_handler(serve: Any) -> None:
    ask = serve(handler_of("main"))
    assert ask.infer("m", fp32("input", [1.0]))[0] == 200


def test_scikit_learn(serve: Any) -> None:
    pytest.importorskip("sklearn")
    ask = serve(handler_of("sklearn_iris"))
    status, body = ask.infer("iris", fp32("x", [5.1, 3.5, 1.4, 0.2], [1, 4]))
    assert status == 200, body
    outputs = {output["name"]: output for output in body["outputs"]}
    assert outputs["label"]["data"] == [0] and outputs["name"]["data"] == ["setosa"]
    assert outputs["probabilities"]["datatype"] == "FP32"
    assert ask.infer("iris", fp32("x", [1.0], [1, 1]))[0] == 400


def test_an_image_with_pre_and_post_processing(serve: Any) -> None:
    image = pytest.importorskip("PIL.Image")
    ask = serve(handler_of("image"))
    file = io.BytesIO()
    image.new("RGB", (64, 48), (10, 200, 30)).save(file, "PNG")
    sent = {
        "name": "image", "datatype": "BYTES", "shape": [1],
        "data": [base64.b64encode(file.getvalue()).decode()],
        "parameters": {"content_type": "base64"},
    }
    status, body = ask.infer("colours", sent)
    assert status == 200, body
    assert body["outputs"][1]["data"] == ["green"]
    status, body = ask.infer("colours", {**sent, "data": ["bm90IGFuIGltYWdl"]})
    assert (status, body) == (400, {"error": "input 'image' is no image that is known here"})


class PriceService(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path == "/prices/tea"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(b'{"price": 2.5}')

    def log_message(self, *_: Any) -> None:
        pass


def test_an_async_handler_asks_another_service(serve: Any) -> None:
    pytest.importorskip("httpx")
    service = ThreadingHTTPServer(("127.0.0.1", 0), PriceService)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    handler = handler_of("async_service")
    handler.url = f"http://127.0.0.1:{service.server_port}"
    ask = serve(handler)
    article = {"name": "article", "datatype": "BYTES", "shape": [2], "data": ["tea", "tea"]}
    assert ask.infer("prices", article)[1]["outputs"][0]["data"] == [2.5, 2.5]
    unknown = {**article, "shape": [1], "data": ["gold"]}
    assert ask.infer("prices", unknown) == (503, {"error": "the price service does not answer"})
    service.shutdown()


def test_text(serve: Any) -> None:
    ask = serve(handler_of("text"))
    text = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["the cat", "die Katze"]}
    status, body = ask.infer("language", text)
    assert status == 200, body
    assert body["outputs"][0]["data"] == ["en", "de"] and body["outputs"][1]["data"] == [2, 2]


def test_batching_answers_many_callers_at_once() -> None:
    handler = handler_of("batching")
    calls = []
    inner = handler.function
    handler.function = lambda features: calls.append(len(features)) or inner(features)
    with client(handler) as asked, ThreadPoolExecutor(32) as pool:
        one = {"features": np.ones((1, 4), np.float32)}
        answers = list(pool.map(lambda _: asked.infer("ranker", one), range(64)))
    assert all(answer.output("scores").shape == [1, 4] for answer in answers)
    assert len(calls) < 64 and sum(calls) == 64


def test_every_example_can_be_found_by_the_command() -> None:
    for name in ("main", "text", "batching"):
        assert handler_of(name) is not None
    assert isinstance(handler_of("main"), oip.ModelHandler)
