"""Callers of both doors that ask without a pause and judge every answer strictly."""

import collections
import contextlib
import json
import socket
import ssl
import struct
import threading
import time

import grpc

BODY = json.dumps({"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1], "data": [0.0]}]}).encode()
METHOD = "/inference.GRPCInferenceService/ModelInfer"


def _field(number, payload):
    return bytes([number << 3 | 2, len(payload)]) + payload


def message(model="m"):
    """A ModelInferRequest of one float."""
    contents = _field(6, struct.pack("<f", 0.0))
    tensor = _field(1, b"IN") + _field(2, b"FP32") + _field(3, b"\x01") + _field(5, contents)
    return _field(1, model.encode()) + _field(5, tensor)


class Load:
    """Threads at one door or both. `refused` are connections that nobody took; `failures` all else.

    With `tls` REST callers take any certificate, and those of gRPC the ones in `roots`.
    Codes (429, "RESOURCE_EXHAUSTED") that are `allowed` are counted in `refusals`, with the seconds that each took.
    """

    def __init__(self, server, rest=0, grpc_callers=0, model="m", headers=(), tls=False, kept=True, pause=0.0,
                 allowed=(), roots=b""):
        self.server, self.model, self.tls, self.kept, self.pause = server, model, tls, kept, pause
        self.roots = roots
        self.allowed, self.refusals = set(allowed), collections.defaultdict(list)
        self.headers = list(headers)
        self.going = True
        self.answered, self.refused, self.failures = 0, 0, []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._rest, daemon=True) for _ in range(rest)]
        self.threads += [threading.Thread(target=self._grpc, daemon=True) for _ in range(grpc_callers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.going = False
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive(), "a caller waits for its answer for ever"

    def wait_for(self, more, limit=20):
        """Waits until so many more requests were answered."""
        end, wanted = time.monotonic() + limit, self.answered + more
        while self.answered < wanted:
            assert time.monotonic() < end and not self.failures, (self.answered, self.failures)
            time.sleep(0.01)

    def _note(self, failure=None, refused=False, code=None, took=0.0):
        with self.lock:
            if code in self.allowed:
                self.refusals[code].append(took)
            elif failure is not None:
                self.failures.append(failure)
            elif refused:
                self.refused += 1
            else:
                self.answered += 1

    def _connect(self):
        """A connection, or None where nobody takes it."""
        try:
            stream = socket.create_connection(("127.0.0.1", self.server.rest_port), 20)
        except OSError:
            return None
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            stream = context.wrap_socket(stream, server_hostname="localhost")
        return stream

    def _rest(self):
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        head = f"POST /v2/models/{self.model}/infer HTTP/1.1\r\nHost: a\r\n{lines}Content-Length: {len(BODY)}\r\n\r\n"
        request = head.encode() + BODY
        stream = None
        while self.going:
            try:
                stream = stream or self._connect()
            except OSError as error:
                self._note(failure=f"handshake: {error!r}")
                return
            if stream is None:
                self._note(refused=True)
                return
            began = time.perf_counter()
            try:
                stream.sendall(request)
                status, close = _answer(stream)
            except (OSError, ValueError) as error:
                self._note(failure=repr(error))
                return
            self._note(None if status == 200 else status, code=status, took=time.perf_counter() - began)
            if close or not self.kept:
                stream.close()
                stream = None
            time.sleep(self.pause)
        if stream:
            stream.close()

    def _grpc(self):
        target = f"127.0.0.1:{self.server.grpc_port}"
        # Calls that a GOAWAY says were never looked at are sent again, as HTTP/2 has it.
        options = [("grpc.use_local_subchannel_pool", 1)]
        trusted = grpc.ssl_channel_credentials(self.roots) if self.tls else None
        while self.going:
            channel = grpc.secure_channel(target, trusted, options) if trusted else grpc.insecure_channel(target, options)
            with contextlib.closing(channel):
                ask = channel.unary_unary(METHOD)
                again = True
                while again and self.going:
                    if not self._ask(ask):
                        return
                    again = self.kept

    def _ask(self, ask):
        """One call. Whether another makes sense."""
        began = time.perf_counter()
        try:
            ask(message(self.model), timeout=20, metadata=[(n.lower(), v) for n, v in self.headers])
        except grpc.RpcError as error:
            if error.code().name not in self.allowed:
                refused = "Failed to connect" in error.details() or "refused" in error.details()
                said = f"{error.code()}: {error.details()}"
                # A handshake that fails is no connection that nobody took.
                refused = refused and not (self.tls and "SSL" in said)
                self._note(failure=None if refused else said, refused=refused)
                return False
            self._note(code=error.code().name, took=time.perf_counter() - began)
        else:
            self._note()
        time.sleep(self.pause)
        return True


def _answer(stream):
    """The status of one answer, read to its end, and whether it is the last one."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = stream.recv(65536)
        if not piece:
            raise ValueError(f"the connection ended after {len(data)} bytes of an answer")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    left = int(headers.get(b"content-length", 0)) - len(body)
    while left > 0:
        piece = stream.recv(65536)
        if not piece:
            raise ValueError("the connection ended within an answer")
        left -= len(piece)
    return int(head.split()[1]), headers.get(b"connection") == b"close"


def metric(server, name, **labels):
    """A metric's value."""
    connection = socket.create_connection(("127.0.0.1", server.rest_port), 20)
    with contextlib.closing(connection):
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    rows = [row for row in text.splitlines() if row.partition("{")[0].partition(" ")[0] == name]
    found = [row for row in rows if all(label in row for label in wanted)]
    assert found, f"no {name} {labels} in\n{text}"
    return sum(float(row.rsplit(" ", 1)[1]) for row in found)
