"""Who asks, as a handler sees it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import pickle
import time
from pathlib import Path
from typing import Any

import pytest

import oip
from oip import Context, InferenceRequest, ModelHandler, RequestInput, Server
from oip.testing import client

from conftest import Caller, fp32

SECRET = "0123456789abcdef0123456789abcdef"
def who() -> Context:
    return Context(
        subject="alice", roles=["analyst", "admin"], claims={"tenant": "a"},
        headers={"X-Tenant": "a"}, request_id="r-1", peer="10.0.0.1", path="/v2", remaining=30.0,
    )


def said(payload: InferenceRequest) -> dict[str, list[str]]:
    context = payload.context
    left = context.remaining
    seen = {
        "subject": context.subject, "roles": context.roles, "claims": context.claims,
        "headers": context.headers, "request_id": context.request_id, "peer": context.peer,
        "path": context.path, "in_time": None if left is None else 0 < left <= 30,
    }
    return {"y": [json.dumps(seen)]}


class Plain(ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        return said(payload)


class Async(ModelHandler):
    async def infer(self, payload, model_name, model_version=None):
        await asyncio.sleep(0)
        return said(payload)


@oip.model("m", outputs=[("y", "BYTES", [-1])])
def function(x: list[float], context: Context) -> dict[str, list[str]]:
    request = InferenceRequest([RequestInput("x", [1], "FP64", data=x)])
    request.context = context
    return said(request)


def token(**claims: Any) -> str:
    def encoded(part: bytes) -> str:
        return base64.urlsafe_b64encode(part).rstrip(b"=").decode()

    claims = {"sub": "alice", "roles": ["analyst"], "exp": int(time.time()) + 600} | claims
    parts = [encoded(json.dumps(part).encode()) for part in ({"alg": "HS256"}, claims)]
    signature = hmac.new(SECRET.encode(), ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, encoded(signature)])


def seen_over_rest(handler: object, tmp_path: Path, **settings: Any) -> dict[str, Any]:
    policy = tmp_path / "all.cedar"
    policy.write_text("permit(principal, action, resource);")
    server = Server(
        handler, rest_port=0, grpc_port=0, auth_secret=SECRET, pdp="embedded", policy_file=policy,
        forward_headers=["x-tenant"], request_timeout="30s", **settings,
    )
    headers = {
        "Authorization": f"Bearer {token(tenant='a')}", "X-Tenant": "a", "X-Other": "b",
        "X-Request-Id": "r-1",
    }
    with server:
        body = {"inputs": [{**fp32("x", [1.0]), "datatype": "FP64"}]}
        status, answer = Caller(server)("/v2/models/m/infer", body, headers)
    assert status == 200, answer
    seen: dict[str, Any] = json.loads(answer["outputs"][0]["data"][0])
    return seen


@pytest.mark.parametrize("handler", [Plain(), Async(), function, "workers"])
def test_a_handler_sees_its_caller(handler: object, tmp_path: Path) -> None:
    if handler == "workers":
        seen = seen_over_rest(Plain, tmp_path, workers=1)
    else:
        seen = seen_over_rest(handler, tmp_path)
    assert (seen["subject"], seen["roles"], seen["request_id"]) == ("alice", ["analyst"], "r-1")
    assert seen["claims"]["tenant"] == "a"
    # Headers that nothing lets through, credentials above all, are not seen.
    assert seen["headers"] == {"x-tenant": "a"}
    assert (seen["peer"], seen["path"]) == ("127.0.0.1", "/v2/models/m/infer")
    assert seen["in_time"] is True


def test_an_anonymous_caller_without_a_deadline_has_neither(serve: Any) -> None:
    answer = serve(Plain(), request_timeout="0s").infer("m", fp32("x", [1]))
    seen = json.loads(answer[1]["outputs"][0]["data"][0])
    assert seen["subject"] is None and seen["roles"] == [] and seen["claims"] == {}
    assert seen["in_time"] is None and seen["headers"] == {}


@pytest.mark.parametrize("handler", [Plain(), Async(), function])
def test_a_test_says_who_asks(handler: object) -> None:
    with client(handler) as asked:
        answer = asked.infer("m", {"x": [1.0]}, context=who())
    seen = json.loads(answer.outputs[0].data[0])
    assert (seen["subject"], seen["roles"]) == ("alice", ["analyst", "admin"])
    assert seen["headers"] == {"x-tenant": "a"} and seen["request_id"] == "r-1"
    assert (seen["peer"], seen["path"], seen["in_time"]) == ("10.0.0.1", "/v2", True)


def test_a_test_may_give_little_time() -> None:
    class Slow(ModelHandler):
        async def infer(self, payload, model_name, model_version=None):
            await asyncio.sleep(30)

    with client(Slow()) as asked, pytest.raises(oip.errors.TimedOut):
        asked.infer("m", {"x": [1.0]}, context=Context(remaining=0.05))


def test_two_callers_of_the_same_request_are_told_apart() -> None:
    """No answer is kept for the next caller."""
    with client(Plain()) as asked:
        for name in ("alice", "bob", "alice"):
            answer = asked.infer("m", {"x": [1.0]}, context=Context(subject=name))
            assert json.loads(answer.outputs[0].data[0])["subject"] == name


def test_a_batching_handler_has_no_single_caller() -> None:
    class Batches(Plain):
        max_batch_size = 8

    with client(Batches()) as asked, pytest.raises(oip.errors.HandlerFailed, match="max_batch"):
        asked.infer("m", {"x": [[1.0]]})


def test_a_context_goes_to_another_process_and_shows_no_values() -> None:
    alice = who()
    copy = pickle.loads(pickle.dumps(alice))
    left = pickle.loads(pickle.dumps(Context(remaining=30))).remaining
    assert left is not None and 29 < left <= 30
    assert (copy.subject, copy.roles, copy.claims) == (alice.subject, alice.roles, alice.claims)
    assert copy.headers == {"x-tenant": "a"} and copy.peer == "10.0.0.1"
    assert "alice" in repr(alice) and "x-tenant" in repr(alice) and "'a'" not in repr(alice)
    with pytest.raises(ValueError, match="need a subject"):
        Context(roles=["admin"])


def test_a_request_made_by_hand_is_anonymous_and_shows_no_context() -> None:
    request = InferenceRequest([RequestInput("x", [1], "FP32", data=[1.0])])
    assert request.context.subject is None and request.context.remaining is None
    assert "context" not in repr(request) and "context" not in request.model_dump_json()
