"""SIGTERM and SIGINT: what is in flight is answered, and the exit code is 0."""

import json
import signal
import time

import pytest

import onnx_models
from http_wire import Wire, call

BODY = json.dumps({"inputs": [{"name": "IN", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}).encode()
HEAD = f"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(BODY)}\r\n\r\n"


@pytest.fixture
def served(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(1))

    def with_flags(*extra):
        return start(repository, *extra)

    return with_flags


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_with_0(served, sig):
    server = served()
    server.terminate(sig)
    assert server.wait_exit(5) == 0


def test_idle_connections_do_not_hold_up_the_end(served):
    server = served()
    with Wire(server.rest_port) as idle, Wire(server.rest_port) as silent:
        idle.send("GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
        assert idle.reply().status == 200
        began = time.monotonic()
        server.terminate()
        assert server.wait_exit(5) == 0
        assert time.monotonic() - began < 3
        assert silent.is_closed()


def test_a_request_whose_body_is_on_its_way_is_answered(served):
    server = served()
    with Wire(server.rest_port) as wire:
        wire.send(HEAD.encode() + BODY[:10])
        time.sleep(0.3)
        server.terminate()
        time.sleep(0.5)
        assert server.process.poll() is None, "the server left a request in flight"
        wire.send(BODY[10:])
        reply = wire.reply()
        assert reply.status == 200 and json.loads(reply.body)["outputs"][0]["data"] == [2, 3]
    assert server.wait_exit(5) == 0


def test_a_model_at_work_is_waited_for(start, repository, busy):
    onnx_models.put(repository, "busy", busy)
    server = start(repository)
    side = 768
    head = json.dumps({
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [side, side], "parameters": {"binary_data_size": side * side * 4}}],
        "parameters": {"binary_data_output": True},
    }).encode()
    body = head + bytes(side * side * 4)
    with Wire(server.rest_port, timeout=60) as wire:
        wire.send(
            f"POST /v2/models/busy/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
            f"Inference-Header-Content-Length: {len(head)}\r\n\r\n".encode() + body
        )
        time.sleep(0.1)
        server.terminate()
        assert wire.reply().status == 200
    assert server.wait_exit(30) == 0


def test_new_connections_are_refused_after_the_signal(served):
    server = served()
    with Wire(server.rest_port) as wire:
        wire.send(HEAD.encode() + BODY[:10])  # keeps the server draining
        time.sleep(0.3)
        server.terminate()
        time.sleep(0.5)
        with pytest.raises(OSError):
            call(server, "GET", "/v2/health/live")
        wire.send(BODY[10:])
        assert wire.reply().status == 200
    assert server.wait_exit(5) == 0


def test_during_the_shutdown_delay_ready_is_503_and_requests_are_served(served):
    server = served("--shutdown-delay", "2")
    server.terminate()
    server.wait_for("/v2/health/ready", 503, limit=1.5)
    reply = call(server, "GET", "/v2/health/ready")
    assert (reply.status, reply.json()["ready"]) == (503, False)
    assert call(server, "GET", "/v2/health/live").status == 200
    assert call(server, "POST", "/v2/models/m/infer", BODY).status == 200
    assert server.wait_exit(8) == 0


def test_the_grace_period_bounds_the_wait(served):
    server = served("--shutdown-grace", "1")
    with Wire(server.rest_port) as wire:
        wire.send(HEAD.encode() + BODY[:10])
        time.sleep(0.3)
        began = time.monotonic()
        server.terminate()
        server.wait_exit(6)
        assert 0.5 < time.monotonic() - began < 5
