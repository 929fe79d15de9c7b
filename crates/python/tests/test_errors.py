"""What a handler raises, and what the caller and the log are told."""

from __future__ import annotations

import asyncio
import fractions
import json
import logging
import sys
from typing import Any

import pytest

import oip
from oip import ModelHandler, ModelMetadataResponse
from oip.testing import client

from conftest import fp32


class Raises(ModelHandler):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def infer(self, payload, model_name, model_version=None):
        raise self.error


class RaisesAsync(Raises):
    async def infer(self, payload, model_name, model_version=None):
        await asyncio.sleep(0)
        raise self.error


TABLE = [
    (ValueError("need two rows"), 400, "need two rows"),
    (TypeError("no text please"), 400, "no text please"),
    (NotImplementedError(), 501, "infer is not implemented by this server's handler"),
    (oip.errors.InvalidRequest("bad"), 400, "bad"),
    (oip.errors.Forbidden("not you"), 403, "not you"),
    (oip.errors.NotFound("no model 'm'"), 404, "no model 'm'"),
    (oip.errors.TooManyRequests("later"), 429, "later"),
    (oip.errors.Unavailable("warming up"), 503, "warming up"),
    (oip.errors.TimedOut("too slow"), 504, "too slow"),
    (oip.errors.HandlerFailed("/etc/secret"), 500, "the model failed to answer"),
    (KeyError("/etc/secret"), 500, "the model failed to answer"),
    (ZeroDivisionError("/etc/secret"), 500, "the model failed to answer"),
]


@pytest.mark.parametrize("kind", [Raises, RaisesAsync])
@pytest.mark.parametrize(("error", "status", "message"), TABLE)
def test_each_exception_has_its_status(
    serve: Any, kind: type[Raises], error: BaseException, status: int, message: str
) -> None:
    assert serve(kind(error)).infer("m", fp32("x", [1])) == (status, {"error": message})


def test_an_unexpected_exception_is_logged_with_its_traceback(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="oip"):
        serve(Raises(KeyError("lost"))).infer("m", fp32("x", [1]))
    (record,) = [record for record in caplog.records if record.name == "oip.handler"]
    assert record.levelno == logging.ERROR and "infer of model 'm'" in record.getMessage()
    assert record.exc_info is not None and "lost" in str(record.exc_info[1])


def test_the_traceback_shows_the_line_that_failed(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Divides(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            return {"y": [1 / 0]}

    with caplog.at_level(logging.INFO, logger="oip"):
        serve(Divides()).infer("m", fp32("x", [1]))
    assert 'return {"y": [1 / 0]}' in caplog.text


def test_retry_after_is_a_header(serve: Any) -> None:
    import urllib.error
    import urllib.request

    ask = serve(Raises(oip.errors.Unavailable("later", retry_after=7)))
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(ask.server.url + "/v2/models/m/infer", body)
    assert raised.value.headers["Retry-After"] == "7"


class Fails(ModelHandler):
    """Fails in the way that its model's name says."""

    def infer(self, payload, model_name, model_version=None):
        match model_name:
            case "expression":
                return None + 1
            case "conversion":
                return int("no number")
            case "library":
                json.loads("{")
            case "library-raises":
                fractions.Fraction("no number")
            case "own":
                self.check()
            case "from":
                try:
                    json.loads("{")
                except ValueError as error:
                    raise ValueError("no JSON in x") from error
            case "text":
                return {"y": payload.inputs[0].strings()}
            case "answer":
                oip.ResponseOutput("y", data=[1.0])

    def check(self):
        raise TypeError("two rows are due")


@pytest.mark.parametrize("workers", [0, 1])
def test_only_what_is_raised_about_the_request_is_the_callers_fault(
    serve: Any, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    ask = serve(Fails, workers=workers)
    failed = (500, {"error": "the model failed to answer"})
    for model in ("expression", "conversion", "library", "library-raises", "answer"):
        assert ask.infer(model, fp32("x", [1])) == failed, model
    if not workers:
        assert "return None + 1" in caplog.text
    assert ask.infer("own", fp32("x", [1])) == (400, {"error": "two rows are due"})
    assert ask.infer("from", fp32("x", [1])) == (400, {"error": "no JSON in x"})
    status, body = ask.infer("text", fp32("x", [1]))
    assert status == 400 and "expected BYTES" in body["error"]


def test_a_missing_input_is_the_callers_fault() -> None:
    class Wants(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            return {"y": payload.input("y").numpy()}

    with client(Wants()) as asked:
        with pytest.raises(oip.errors.InvalidRequest, match="'y' is missing; the request has 'x'"):
            asked.infer("m", {"x": [1.0]})


def test_metadata_that_is_none_is_a_failure_of_the_server(serve: Any) -> None:
    class Odd(ModelHandler):
        def model_metadata(self, model_name, model_version=None):
            return None

    assert serve(Odd())("/v2/models/m")[0] == 500


def test_metadata_may_say_that_there_is_no_such_model(serve: Any) -> None:
    class One(ModelHandler):
        def model_metadata(self, model_name, model_version=None):
            if model_name != "one":
                raise oip.errors.NotFound(f"model '{model_name}' is not found")
            return ModelMetadataResponse(name="one")

    ask = serve(One())
    assert ask("/v2/models/one")[0] == 200
    assert ask("/v2/models/two") == (404, {"error": "model 'two' is not found"})
    assert ask.infer("two", fp32("x", [1]))[0] == 404


def test_a_load_that_fails_makes_the_server_not_ready(serve: Any) -> None:
    class Broken(ModelHandler):
        def model_load(self, model_name):
            return model_name != "broken"

    ask = serve(Broken(), model_name=["whole", "broken"])
    assert ask("/v2/models/whole/ready")[0] == 200
    assert ask("/v2/models/broken/ready")[0] == 503
    assert ask("/v2/health/ready")[0] == 503


def test_a_program_may_lie_anywhere_below_the_interpreters_root() -> None:
    """As where an image has everything in ``/usr/local``, or a program its environment beside it."""
    helper: dict[str, Any] = {"__name__": "helper"}
    text = "def refuse(): raise ValueError('two rows are due')"
    exec(compile(text, f"{sys.prefix}/app/helper.py", "exec"), helper)

    class Refuses(ModelHandler):
        def infer(self, payload, model_name, model_version=None):
            helper["refuse"]()

    with client(Refuses()) as asked, pytest.raises(ValueError, match="two rows are due"):
        asked.infer("m", {"x": [1.0]})
