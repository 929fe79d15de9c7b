"""A server that asks who is there, and one face for its two doors."""

import contextlib
import http.client
import json
import socket
import time
from typing import NamedTuple

import grpc

from messages import MESSAGES
from oip_server import START_LIMIT_S, Server

DOORS = ("rest", "grpc")

YES, WHO, NO, NOT_FOUND, NOT_NOW = "yes", "who are you", "no", "not found", "not now"
_BY_STATUS = {200: YES, 401: WHO, 403: NO, 404: NOT_FOUND, 503: NOT_NOW}
_BY_CODE = {
    grpc.StatusCode.OK: YES, grpc.StatusCode.UNAUTHENTICATED: WHO, grpc.StatusCode.PERMISSION_DENIED: NO,
    grpc.StatusCode.NOT_FOUND: NOT_FOUND, grpc.StatusCode.UNAVAILABLE: NOT_NOW,
}
SERVICE = "inference.GRPCInferenceService"

# The same question at both doors: method and path, RPC. `{}` stands for the model.
ASKS = {
    "live": ("GET", "/v2/health/live", "ServerLive"),
    "ready": ("GET", "/v2/health/ready", "ServerReady"),
    "server_metadata": ("GET", "/v2", "ServerMetadata"),
    "metadata": ("GET", "/v2/models/{}", "ModelMetadata"),
    "model_ready": ("GET", "/v2/models/{}/ready", "ModelReady"),
    "config": ("GET", "/v2/models/{}/config", "ModelConfig"),
    "statistics": ("GET", "/v2/models/{}/stats", "ModelStatistics"),
    "infer": ("POST", "/v2/models/{}/infer", "ModelInfer"),
    "index": ("POST", "/v2/repository/index", "RepositoryIndex"),
    "load": ("POST", "/v2/repository/models/{}/load", "RepositoryModelLoad"),
    "unload": ("POST", "/v2/repository/models/{}/unload", "RepositoryModelUnload"),
}
INFER = json.dumps({"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1], "data": [1.5]}]})


class Said(NamedTuple):
    """What a door answers: a word for both doors, or its own code; and the sentence."""

    word: str
    sentence: str


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def sentence(self):
        try:
            return json.loads(self.body)["error"]
        except (ValueError, KeyError, TypeError):
            return self.body.decode(errors="replace")


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


class Guarded(Server):
    """`oip serve` with authentication on."""

    def __init__(self, repository, log_path, extra=(), **options):
        """Starts it; see `Server`."""
        super().__init__(repository, log_path, extra, auth=True, **options)
        # Of a Unix socket grpcio makes an authority that HTTP/2 does not allow.
        options = [("grpc.default_authority", "localhost")] if self.grpc.startswith("unix:") else []
        self.channel = grpc.insecure_channel(self.grpc, options)

    def connect(self):
        """A connection to the REST door."""
        return socket.create_connection(("127.0.0.1", self.rest_port), 30)

    def rest_call(self, method, path, headers=(), body=None):
        """One request whose head stands as it is given; names and values are text or bytes."""
        head = _bytes(f"{method} {path} HTTP/1.1\r\nHost: {self.rest}\r\nConnection: close\r\n")
        for name, value in headers:
            head += _bytes(name) + b": " + _bytes(value) + b"\r\n"
        body = _bytes(body or "")
        if method == "POST":
            head += f"Content-Length: {len(body)}\r\n".encode()
        with self.connect() as connection:
            connection.sendall(head + b"\r\n" + body)
            reply = http.client.HTTPResponse(connection, method=method)
            reply.begin()
            return Reply(reply.status, reply.headers, reply.read())

    def grpc_call(self, method, message=b"", metadata=(), timeout=30):
        """One call with a message of bytes; the code and the details of its status."""
        path = method if method.startswith("/") else f"/{SERVICE}/{method}"
        call = self.channel.stream_stream(path, None, None)(iter([message]), timeout, list(metadata))
        try:
            answers = list(call)
            return Said(_BY_CODE[grpc.StatusCode.OK], answers[0].decode("latin-1") if answers else "")
        except grpc.RpcError as error:
            return Said(_BY_CODE.get(error.code(), error.code().name), error.details())

    def ask(self, door, what, headers=(), model="m"):
        """Asks one of `ASKS` at a door."""
        method, path, rpc = ASKS[what]
        if door == "grpc":
            return self.grpc_call(rpc, MESSAGES[rpc](model), [(n.lower(), v) for n, v in headers])
        headers = [*headers, ("Content-Type", "application/json")] if method == "POST" else headers
        reply = self.rest_call(method, path.format(model), headers, INFER if what == "infer" else "{}")
        return Said(_BY_STATUS.get(reply.status, str(reply.status)), reply.sentence())

    def stop(self):
        self.channel.close()
        super().stop()

    def kill(self):
        if hasattr(self, "channel"):
            self.channel.close()
        super().kill()


class OnSocket(Guarded):
    """The same, both doors on one Unix socket and at no address."""

    def __init__(self, repository, log_path, extra=(), **options):
        self.path = log_path.with_suffix(".sock")
        sockets = ("--rest-socket", self.path, "--grpc-socket", self.path)
        super().__init__(repository, log_path, [*sockets, *extra], wait=None, **options)

    @property
    def grpc(self):
        return f"unix:{self.path}"

    def connect(self):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        connection.connect(str(self.path))
        return connection

    def wait_for_port(self, limit=START_LIMIT_S):
        end = time.monotonic() + limit
        while self.process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError):
                if self.rest_call("GET", "/v2/health/ready").status == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(f"the socket does not answer:\n{self.log()}")


def authorization(value):
    return [("Authorization", value)]
