"""A log that nobody reads stops nobody, and what of it is lost is said."""

import contextlib
import fcntl
import http.client
import os
import signal
import subprocess
import threading
import time

import pytest

import onnx_models
from load import BODY
from oip_server import clean_environment, free_port, serve_arguments
from tokens import SECRET, token

HEADERS = {"Authorization": f"Bearer {token()}"}


class Piped:
    """A server whose standard error is a small pipe that nobody reads, until it is asked for."""

    def __init__(self, repository, folder, flags, auth=False):
        self.port = free_port()
        arguments = serve_arguments(repository, self.port, free_port(), auth, flags)
        self.process = subprocess.Popen(arguments, env=clean_environment(), cwd=folder, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        fcntl.fcntl(self.process.stderr, fcntl.F_SETPIPE_SZ, 4096)
        self.seen = b""
        end = time.monotonic() + 30
        while self.ask("GET", "/v2/health/ready") != 200:
            assert self.process.poll() is None and time.monotonic() < end
            time.sleep(0.02)

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(ConnectionRefusedError):
            connection.request(method, path, body, HEADERS)
            reply = connection.getresponse()
            self.answer = reply.read()
            return reply.status

    def lost(self, log):
        assert self.ask("GET", "/metrics") == 200
        name = f'oip_log_lines_lost_total{{log="{log}"}} '
        return next(int(line[len(name):]) for line in self.answer.decode().splitlines() if line.startswith(name))

    def read(self):
        """Reads what comes from now on, in a thread."""
        def read():
            while some := os.read(self.process.stderr.fileno(), 1 << 16):
                self.seen += some

        threading.Thread(target=read, daemon=True).start()

    def wait_for(self, text, limit=10):
        end = time.monotonic() + limit
        while text not in self.seen:
            assert time.monotonic() < end, (text, self.seen[-2000:])
            time.sleep(0.02)


@pytest.fixture
def piped(repository, tmp_path):
    onnx_models.put(repository, "m", onnx_models.add(1.0))
    with contextlib.ExitStack() as started:
        def start(*flags, **more):
            server = Piped(repository, tmp_path, flags, **more)
            started.callback(server.process.wait)
            started.callback(server.process.kill)
            return server

        yield start


@pytest.mark.parametrize("flags, auth", [(("--latency-log", "true"), False), (("--auth-secret", SECRET), True),
                                         (("--access-log", "json"), False)],
                         ids=["latencies", "audit", "access log"])
def test_a_log_that_nobody_reads_stops_neither_requests_nor_the_end(piped, flags, auth):
    server = piped(*flags, auth=auth)
    assert [server.ask("POST", "/v2/models/m/infer", BODY) for _ in range(300)] == [200] * 300
    # These log what they do.
    for _ in range(4):
        assert server.ask("POST", "/v2/repository/models/m/load", b"") == 200
    assert server.ask("GET", "/v2/health/live") == 200
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    # docs/reliability.md, "Stopping": 5 s for what waits, and nothing is in flight.
    assert server.process.wait(10) == 0
    assert time.monotonic() - began < 7


def test_a_second_signal_ends_a_server_whose_log_nobody_reads(piped):
    server = piped("--latency-log", "true", "--shutdown-delay", "30")
    for _ in range(100):
        server.ask("POST", "/v2/models/m/infer", BODY)
    server.process.send_signal(signal.SIGTERM)
    while server.ask("GET", "/v2/health/ready") != 503:
        time.sleep(0.02)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(5) == 1
    assert time.monotonic() - began < 2


def test_lines_of_a_log_that_is_read_too_late_are_counted_and_said_to_be_lost(piped):
    server = piped("--access-log", "text")
    path = "/v2/" + "x" * 7000
    while not server.lost("access"):
        for _ in range(50):
            assert server.ask("GET", path) == 404
    assert server.lost("server") == server.lost("audit") == 0
    server.read()
    server.wait_for(b"lines were lost")
    lost = server.lost("access")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == 0
    server.wait_for(b"everything in flight was answered")
    assert f"access={lost}".encode() in server.seen.replace(b"\x1b[2m", b"").replace(b"\x1b[0m", b"")
