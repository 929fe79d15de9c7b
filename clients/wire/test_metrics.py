"""What /metrics says after known requests, and where it is served."""

import http.client
import json
import time

import onnx_models
from http_wire import Wire, assert_error, call, infer, tensor
from oip_server import free_port


def metrics(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    with connection.getresponse() as answer:
        text = answer.read().decode()
        assert answer.status == 200 and answer.getheader("Content-Type").startswith("text/plain; version=0.0.4")
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert name not in found, name
            found[name] = float(value)
    return found


def test_requests_are_counted_by_model_version_door_and_code(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(1))
    server = start(repository)
    for _ in range(3):
        assert infer(server, "m", {"inputs": [tensor("FP32", [1], [1.0])]}).status == 200
    assert infer(server, "m", {"inputs": [tensor("FP32", [1], [1.0, 2.0])]}).status == 400
    assert infer(server, "nope", {"inputs": [tensor("FP32", [1], [1.0])]}).status == 404
    found = metrics(server.rest_port)
    model = 'model="m",version="1"'
    assert found[f'oip_inference_requests_total{{{model},door="rest",code="200",outcome="success"}}'] == 3
    failed = [value for name, value in found.items() if 'model="m"' in name and 'outcome="failure"' in name and 'code="400"' in name]
    assert failed == [1]
    assert not any("nope" in name for name in found)
    assert found['oip_requests_total{door="rest",call="infer",code="404"}'] == 1
    for part in ("request", "queue", "compute", "encode"):
        assert found[f'oip_inference_duration_seconds_count{{{model},part="{part}"}}'] == 3
        assert found[f'oip_inference_duration_seconds_bucket{{{model},part="{part}",le="+Inf"}}'] == 3
    assert found[f'oip_received_bytes_total{{{model},door="rest"}}'] > 0
    assert found[f'oip_sent_bytes_total{{{model},door="rest"}}'] > 0
    assert found['oip_in_flight{door="rest"}'] == 0 and found['oip_queue_depth{model="m"}'] == 0
    assert found[f'oip_model_state{{{model},state="READY"}}'] == 1
    assert found['oip_model_load_seconds_count{model="m",outcome="success"}'] == 1
    assert found["process_resident_memory_bytes"] > 1e6


def test_a_caller_who_leaves_is_counted_as_cancelled(start, repository, busy):
    onnx_models.put(repository, "busy", busy)
    server = start(repository)
    side = 1024
    head = json.dumps({
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [side, side], "parameters": {"binary_data_size": side * side * 4}}],
        "parameters": {"binary_data_output": True},
    }).encode()
    body = head + bytes(side * side * 4)
    with Wire(server.rest_port) as wire:
        wire.send(
            f"POST /v2/models/busy/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
            f"Inference-Header-Content-Length: {len(head)}\r\n\r\n".encode() + body
        )
        end = time.monotonic() + 5
        while time.monotonic() < end and not metrics(server.rest_port)['oip_in_flight{door="rest"}']:
            time.sleep(0.01)
        assert metrics(server.rest_port)['oip_in_flight{door="rest"}'] == 1
        time.sleep(0.05)
    end = time.monotonic() + 10
    while time.monotonic() < end and metrics(server.rest_port)['oip_in_flight{door="rest"}']:
        time.sleep(0.02)
    found = metrics(server.rest_port)
    assert found['oip_in_flight{door="rest"}'] == 0
    cancelled = sum(value for name, value in found.items() if name.startswith("oip_requests_cancelled_total{"))
    answered = sum(value for name, value in found.items() if name.startswith("oip_inference_requests_total{"))
    assert (cancelled, answered) == (1, 0)


def test_an_address_of_its_own_serves_metrics_and_nothing_else(start, repository):
    port = free_port()
    server = start(repository, "--metrics-port", port)
    assert metrics(port)["oip_ready"] == 1
    assert_error(call(server, "GET", "/metrics"), 404)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/v2")
    assert connection.getresponse().status == 404
