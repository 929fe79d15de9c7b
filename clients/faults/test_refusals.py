"""What is refused is refused at once and cheaply; what is lost behind the server is refused, never let pass."""

import contextlib
import http.server
import json
import socket
import threading
import time

import grpc

import onnx_models
from load import METHOD, Load, message, metric
from oip_server import free_port
from tokens import SECRET, token

# Requests of this model wait for others, so that its queue is full for as long as there are callers.
WAITS = '[batching]\nmax_batch_size = 1024\nmax_queue_delay = "400 ms"\nadaptive = false\n[queue]\nmax_size = 4\n'


def put_waiting(repository):
    onnx_models.put(repository, "waits", onnx_models.identity("FP32"))
    (repository / "waits" / "model.toml").write_text(WAITS)


def p99(times):
    return sorted(times)[len(times) * 99 // 100]


def test_a_full_queue_answers_at_once_at_both_doors(start, repository):
    put_waiting(repository)
    server = start(repository)
    codes = (429, "RESOURCE_EXHAUSTED")
    with Load(server, 8, 8, model="waits", pause=0.002, allowed=codes) as load:
        time.sleep(1.5)
    assert load.failures == []
    assert load.answered >= 8, "nobody is served"
    for code in codes:
        times = load.refusals[code]
        assert len(times) > 100, (code, len(times))
        # An answered request takes 400 ms and more. What is refused must not wait with it, on a busy machine either.
        assert p99(times) < 0.2, f"{code}: {p99(times) * 1000:.0f} ms at p99 of {len(times)}"
    refused = metric(server, "oip_limit_reached_total", limit="model_queue")
    assert refused == sum(map(len, load.refusals.values()))


def test_a_grpc_call_that_is_left_is_counted_and_leaves_the_queue(start, repository):
    put_waiting(repository)
    settings = (repository / "waits" / "model.toml")
    settings.write_text(WAITS.replace("400 ms", "20 s"))
    server = start(repository)
    with contextlib.closing(grpc.insecure_channel(server.grpc)) as channel:
        ask = channel.unary_unary(METHOD)
        calls = [ask.future(message("waits")) for _ in range(3)]
        wait_for(lambda: metric(server, "oip_queue_depth", model="waits") == 3)
        calls[0].cancel()
        wait_for(lambda: metric(server, "oip_requests_cancelled_total", model="waits", door="grpc") == 1)
        wait_for(lambda: metric(server, "oip_queue_depth", model="waits") == 2)
    # The connection is gone, and with it those who waited.
    wait_for(lambda: metric(server, "oip_requests_cancelled_total", model="waits", door="grpc") == 3)
    wait_for(lambda: metric(server, "oip_queue_depth", model="waits") == 0)
    assert metric(server, "oip_inferences_total", model="waits") == 0


def wait_for(seen, limit=8):
    end = time.monotonic() + limit
    while not seen():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


class Point:
    """A decision point (AuthZEN) that permits all, until it is lost with all its connections."""

    def __init__(self, port):
        self.open = set()
        outer = self

        class Answers(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self):
                outer.open.add(self.request)
                super().setup()

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                body = json.dumps({"decision": True}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Listening(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass

        self.server = Listening(("127.0.0.1", port), Answers)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def lose(self):
        self.server.shutdown()
        self.thread.join()
        self.server.socket.close()
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def test_a_decision_point_that_is_lost_under_load_refuses_all_until_it_is_back(guarded):
    port = free_port()
    point = Point(port)
    server = guarded("--auth-secret", SECRET, "--pdp", "authzen", "--pdp-url", f"http://127.0.0.1:{port}/decide")
    headers = [("Authorization", f"Bearer {token()}")]
    codes = (503, "UNAVAILABLE")
    with Load(server, 4, 4, headers=headers, pause=0.005, allowed=codes) as load:
        load.wait_for(100)
        assert not load.refusals
        point.lose()
        time.sleep(0.3)
        answered = load.answered
        time.sleep(1)
        assert load.answered == answered, "somebody was let in"
        assert all(len(load.refusals[code]) > 20 for code in codes), {c: len(t) for c, t in load.refusals.items()}
        # Refused without waiting for a time-out, and the probes do not ask it.
        assert all(p99(load.refusals[code]) < 0.5 for code in codes)
        assert server.status_of("/v2/health/ready") == 200
        point = Point(port)
        try:
            load.wait_for(100)
        finally:
            load.going = False
            time.sleep(0.1)
            point.lose()
    assert load.failures == []
