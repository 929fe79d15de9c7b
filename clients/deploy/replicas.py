"""Replicas behind HAProxy, as deploy/haproxy/haproxy.cfg has it, and a load of both doors."""

import contextlib
import http.client
import json
import os
import re
import shutil
import struct
import subprocess
import threading
import time

import grpc

from documents import DEPLOY
from oip_server import free_port
from running import Started

PROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


class Replicas:
    """Two addresses, of which some are served, and HAProxy before them."""

    def __init__(self, repository, folder, *options):
        self.folder, self.ports, self.port = folder, [free_port(), free_port()], free_port()
        self.arguments = [repository, "--auth-enabled=false", "--onnxruntime-library=off", *options]
        self.running = {}
        self.proxy = None

    def __enter__(self):
        addresses = {name: f"127.0.0.1:{port}"
                     for name, port in zip(("OIP_A", "OIP_B", "OIP_BIND"), [*self.ports, self.port])}
        with open(self.folder / "haproxy.log", "wb") as log:
            self.proxy = subprocess.Popen(
                [PROXY, "-db", "-f", DEPLOY / "haproxy" / "haproxy.cfg"],
                env=os.environ | addresses, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        return self

    def __exit__(self, *_):
        for server in self.running.values():
            server.kill()
        self.proxy.kill()
        self.proxy.wait()

    def start(self, which):
        port = self.ports[which]
        self.running[which] = Started([*self.arguments, f"--port={port}"], port, self.folder).__enter__()

    def stop(self, which):
        self.running.pop(which).stop()

    def wait_until_served(self, limit=20):
        """Waits until the proxy answers from a replica."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/v2/health/ready") == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"nothing is served: {(self.folder / 'haproxy.log').read_text()}")

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path)
            return connection.getresponse().status

    def answered(self, which, model):
        """How many calls of this model a replica has answered since it was started."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[which], timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        found = re.findall(rf'oip_inference_requests_total{{model="{model}".*outcome="success"}} (\d+)', text)
        return sum(map(int, found))


def _field(number, kind, content):
    """A field of a protobuf message; kind 2 is bytes, 0 a number."""
    key = _number(number << 3 | kind)
    return key + (_number(len(content)) + content if kind == 2 else _number(content))


def _number(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def grpc_request(model, name, shape, values):
    """A ModelInferRequest with one FP32 tensor as raw contents."""
    tensor = _field(1, 2, name.encode()) + _field(2, 2, b"FP32")
    tensor += b"".join(_field(3, 0, dimension) for dimension in shape)
    raw = struct.pack(f"<{len(values)}f", *values)
    return _field(1, 2, model.encode()) + _field(5, 2, tensor) + _field(7, 2, raw)


def rest_request(name, shape, values):
    tensor = {"name": name, "datatype": "FP32", "shape": shape, "data": values}
    return json.dumps({"inputs": [tensor]}).encode()


class Load:
    """Callers that call one after the other until they are stopped; what failed stands in `failures`."""

    def __init__(self, port, model, name, shape, values, rest=4, streams=4):
        self.target, self.path = port, f"/v2/models/{model}/infer"
        self.bodies = rest_request(name, shape, values), grpc_request(model, name, shape, values)
        self.callers = [threading.Thread(target=self._rest) for _ in range(rest)]
        self.callers += [threading.Thread(target=self._stream) for _ in range(streams)]
        self.stopped, self.lock = threading.Event(), threading.Lock()
        self.answers, self.failures = {"rest": 0, "grpc": 0}, []
        # All streams on one connection, as a client has it.
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_retries", 0)])
        self.infer = self.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

    def __enter__(self):
        for caller in self.callers:
            caller.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for caller in self.callers:
            caller.join()
        self.channel.close()

    def _count(self, door, failure=None):
        with self.lock:
            if failure is None:
                self.answers[door] += 1
            else:
                self.failures.append((door, failure))

    def _rest(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=30)
        while not self.stopped.is_set():
            try:
                connection.request("POST", self.path, self.bodies[0])
                answer = connection.getresponse()
                text = answer.read()
                self._count("rest", None if answer.status == 200 else (answer.status, text[:200]))
            except (OSError, http.client.HTTPException) as error:
                self._count("rest", repr(error))
                connection.close()
        connection.close()

    def _stream(self):
        while not self.stopped.is_set():
            try:
                self.infer(self.bodies[1], timeout=30)
                self._count("grpc")
            except grpc.RpcError as error:
                self._count("grpc", (error.code(), error.details()))

    def count(self):
        with self.lock:
            return dict(self.answers)
