"""Traces by OTLP: what a collector gets, with the messages of the opentelemetry-proto package."""

import contextlib
import http.client
import http.server
import threading
import time

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import onnx_models

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ROOMS = {"authenticate", "decide", "decode", "validate", "queue", "compute", "encode"}
# Would be seen in any text or bytes that hold the tensor.
SECRET = np.frombuffer(b"tensor-secret-16", np.float32)


class Collector:
    """Takes traces as a collector does and keeps them."""

    def __init__(self, status=200):
        self.bodies, self.headers = [], []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.headers.append((self.path, dict(self.headers)))
                collector.bodies.append(body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self):
        found = []
        for body in list(self.bodies):
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                names = {a.key: a.value.string_value for a in resource.resource.attributes}
                assert names["service.name"] == "shop"
                found += [span for scope in resource.scope_spans for span in scope.spans]
        return found

    def wait(self, count, limit=10):
        end = time.monotonic() + limit
        while time.monotonic() < end and len(self.spans()) < count:
            time.sleep(0.05)
        return self.spans()


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.server.shutdown()


@pytest.fixture
def traced(start, repository, collector):
    onnx_models.put(repository, "m", onnx_models.add(1))
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "shop"}
    return start(repository, env=env)


def ask(server, kind, headers=None, model="m"):
    module = {"http": tritonclient.http, "grpc": tritonclient.grpc}[kind]
    tensor = module.InferInput("IN", list(SECRET.shape), "FP32")
    tensor.set_data_from_numpy(SECRET)
    url = server.rest if kind == "http" else server.grpc
    with contextlib.closing(module.InferenceServerClient(url)) as client:
        return client.infer(model, [tensor], headers=headers)


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_an_inference_is_a_span_with_a_span_for_each_room(traced, collector, kind):
    ask(traced, kind, {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "shop=1"})
    spans = collector.wait(1 + len(ROOMS))
    [whole] = [span for span in spans if span.parent_span_id.hex() == PARENT]
    assert whole.trace_id.hex() == TRACE and whole.trace_state == "shop=1" and whole.name == "infer m"
    rooms = [span for span in spans if span.parent_span_id == whole.span_id]
    assert {span.name for span in rooms} == ROOMS
    for span in rooms:
        assert whole.start_time_unix_nano <= span.start_time_unix_nano
        assert span.start_time_unix_nano <= span.end_time_unix_nano <= whole.end_time_unix_nano + 1_000_000
    attributes = {a.key: a.value.string_value for a in whole.attributes}
    assert attributes["oip.model.name"] == "m" and attributes["oip.model.version"] == "1"
    assert attributes["oip.code"] == ("200" if kind == "http" else "OK")
    path, headers = collector.headers[0]
    assert path == "/v1/traces" and headers["content-type" if "content-type" in headers else "Content-Type"] == "application/x-protobuf"


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_an_answer_says_where_it_stands_in_the_callers_trace_and_how_long_its_rooms_took(traced, collector, kind):
    asked = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "shop=1", "x-oip-server-timing": "true"}
    body = encoded(kind)
    headers = head_of_answer(traced, kind, body, asked)
    version, trace, span, flags = headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "01") and span != PARENT
    assert headers["tracestate"] == "shop=1"
    spans = collector.wait(1 + len(ROOMS))
    [whole] = [found for found in spans if found.parent_span_id.hex() == PARENT]
    assert whole.span_id.hex() == span
    rooms = [part.split(";")[0].strip() for part in headers["server-timing"].split(",")]
    assert sorted(rooms) == sorted([*ROOMS, "input", "infer", "output", "total"]), rooms


def encoded(kind):
    if kind == "http":
        return b'{"inputs":[{"name":"IN","datatype":"FP32","shape":[4],"data":[1,2,3,4]}]}'
    message = tritonclient.grpc.service_pb2.ModelInferRequest(model_name="m")
    message.inputs.add(name="IN", datatype="FP32", shape=[4])
    message.raw_input_contents.append(SECRET.tobytes())
    return message.SerializeToString()


def head_of_answer(server, kind, body, headers):
    """The headers, or the initial metadata, of one answer."""
    if kind == "http":
        connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=20)
        with contextlib.closing(connection):
            connection.request("POST", "/v2/models/m/infer", body, headers)
            reply = connection.getresponse()
            assert reply.status == 200, reply.read()
            return {name.lower(): value for name, value in reply.getheaders()}
    with grpc.insecure_channel(server.grpc) as channel:
        ask = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        _, call = ask.with_call(body, timeout=20, metadata=list(headers.items()))
        return dict(call.initial_metadata())


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_a_caller_that_does_not_sample_is_not_traced(traced, collector, kind):
    ask(traced, kind, {"traceparent": f"00-{TRACE}-{PARENT}-00"})
    ask(traced, kind, {"traceparent": f"00-{'a' * 32}-{PARENT}-01"})
    spans = collector.wait(1 + len(ROOMS))
    assert {span.trace_id.hex() for span in spans} == {"a" * 32}


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_a_failure_is_a_span_with_its_code_and_without_a_sentence(traced, collector, kind):
    with pytest.raises(Exception):
        ask(traced, kind, model="nope")
    spans = collector.wait(1)
    [whole] = [span for span in spans if not span.parent_span_id]
    assert whole.status.code == 2 and whole.status.message == ""
    # A name that a caller makes up names no series of a collector.
    assert whole.name == "infer"
    codes = {a.key: a.value.string_value for a in whole.attributes}
    assert codes["error.type"] == ("404" if kind == "http" else "NOT_FOUND")


def test_no_tensor_and_no_token_stands_in_a_trace_or_in_the_log(start, repository, collector):
    onnx_models.put(repository, "m", onnx_models.add(1))
    server = start(repository, "--otlp-endpoint", collector.url, "--service-name", "shop", "--log-level", "trace",
                   "--access-log", "json", "--latency-log", "true")
    for kind in ("http", "grpc"):
        # Authentication is off: whatever is shown is not looked at, and must not be written.
        ask(server, kind, {"authorization": "Bearer very-secret-token", "traceparent": f"00-{TRACE}-{PARENT}-01"})
    collector.wait(2 + 2 * len(ROOMS))
    server.stop()
    seen = b"".join(collector.bodies) + server.log().encode()
    assert b"very-secret-token" not in seen and b"tensor-secret" not in seen
    for value in SECRET:
        assert repr(float(value)).encode() not in seen


def test_what_waits_is_sent_when_the_server_stops(traced, collector):
    for _ in range(20):
        ask(traced, "http")
    traced.stop()
    wholes = [span for span in collector.spans() if not span.parent_span_id]
    assert len(wholes) == 20


def test_a_collector_that_is_gone_slows_nobody_and_is_counted(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(1))
    server = start(repository, "--otlp-endpoint", "http://127.0.0.1:9")
    began = time.monotonic()
    for _ in range(10):
        ask(server, "http")
    assert time.monotonic() - began < 5
    server.wait_for_log("traces cannot be sent")


def test_the_times_of_the_rooms_are_told_to_who_asks(traced):
    import http.client
    import json

    body = json.dumps({"inputs": [{"name": "IN", "shape": [1], "datatype": "FP32", "data": [1]}]})

    def timing(headers):
        connection = http.client.HTTPConnection("127.0.0.1", traced.rest_port)
        connection.request("POST", "/v2/models/m/infer", body, headers)
        with connection.getresponse() as answer:
            return answer.getheader("Server-Timing")

    assert timing({}) is None
    told = timing({"X-OIP-Server-Timing": "true"})
    assert all(f"{name};dur=" in told for name in ROOMS | {"total"}), told
