"""Clients that send the same inference again and again, with nothing but Python's own library: what they
send is the same to the byte in every run, and no library of theirs decides how it is cut."""

import json
import pathlib
import re
import socket
import struct

# Of `oip bench --gates`: it opens nothing but servers of that, and the one that is counted.
TOKEN = pathlib.Path(__file__).resolve().parents[2] / "crates/cli/src/bench/gates/hs256.jwt"

HEADERS, DATA, RESET, SETTINGS, GOAWAY, WINDOW_UPDATE = 1, 0, 3, 4, 7, 8
# Of frames: END_STREAM of DATA and HEADERS, ACK of SETTINGS; END_HEADERS.
END, ACK, END_HEADERS = 1, 1, 4


def authorization():
    return "Bearer " + TOKEN.read_text().strip()


def floats(elements):
    return [(n * 37 % 64 - 32) / 33 for n in range(elements)]


def raw(elements):
    return struct.pack(f"<{elements}f", *floats(elements))


def rest(address, count, elements=16):
    """Sends floats as JSON over HTTP/1.1, so many times."""
    data = ", ".join(map(str, floats(elements)))
    tensor = '{"name": "input", "shape": [%d], "datatype": "FP32", "data": [%s]}' % (elements, data)
    post(address, count, "application/json", b"", ('{"inputs": [%s]}' % tensor).encode())


def rest_binary(address, count, elements):
    """Sends floats behind a header of JSON, and is answered so."""
    tensor = {"name": "input", "shape": [elements], "datatype": "FP32"}
    tensor["parameters"] = {"binary_data_size": 4 * elements}
    header = json.dumps({"parameters": {"binary_data_output": True}, "inputs": [tensor]}).encode()
    length = b"Inference-Header-Content-Length: %d\r\n" % len(header)
    post(address, count, "application/octet-stream", length, header + raw(elements))


def post(address, count, content_type, more, body):
    head = (
        "POST /v2/models/identity/infer HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: {authorization()}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    ).encode()
    request = head + more + b"\r\n" + body
    with socket.create_connection(address) as connection:
        done = 0
        while done < count:
            connection.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += receive(connection)
            status, _, rest = answer.partition(b"\r\n\r\n")
            # Until the model is there: the server has only just begun.
            starting = done == 0 and status.startswith(b"HTTP/1.1 503")
            assert starting or status.startswith(b"HTTP/1.1 200"), status[:200]
            done += not starting
            left = int(re.search(rb"\r\ncontent-length: (\d+)", status, re.IGNORECASE)[1]) - len(rest)
            while left > 0:
                left -= len(receive(connection))


def receive(connection):
    received = connection.recv(1 << 20)
    assert received, "the server closed the connection"
    return received


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def varint(number):
    groups = []
    while number > 127:
        groups.append(number % 128 | 128)
        number //= 128
    return bytes([*groups, number])


def field(number, payload):
    """A field of protobuf that has a length."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def message(elements):
    """A call of ModelInfer: its five bytes of gRPC, and the message."""
    tensor = field(1, b"input") + field(2, b"FP32") + field(3, varint(elements))
    request = field(1, b"identity") + field(5, tensor) + field(7, raw(elements))
    return b"\x00" + struct.pack(">I", len(request)) + request


def headers():
    def length(text):
        # Seven bits, and what is beyond in further bytes (RFC 7541, 5.1).
        return bytes([len(text)]) if len(text) < 127 else b"\x7f" + varint(len(text) - 127)

    def literal(name, value):
        return b"\x10" + length(name) + name + length(value) + value

    return b"".join(
        literal(name, value)
        for name, value in [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"authorization", authorization().encode()),
        ]
    )


def grpc(address, count, elements=16):
    """Sends floats as raw contents over HTTP/2, with frames of our own."""
    head, data = headers(), message(elements)
    with socket.create_connection(address) as connection:
        h2 = Http2(connection)
        for index in range(count):
            h2.call(2 * index + 1, head, data)


class Http2:
    """A connection with one call at a time."""

    def __init__(self, connection):
        self.connection = connection
        self.read = connection.makefile("rb")
        # What the server takes in a frame, on a stream and on the connection before it said anything.
        self.most, self.each, self.window = 16_384, 65_535, 65_535
        # What it may send before we take it: more than all answers together.
        ours = struct.pack(">HI", 4, 1 << 30)
        start = frame(SETTINGS, 0, 0, ours) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30))
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + start)

    def call(self, stream, head, data):
        self.stream, self.allowed, self.ended = stream, self.each, False
        out, sent = frame(HEADERS, END_HEADERS, stream, head), 0
        while sent < len(data):
            size = min(self.most, self.allowed, self.window, len(data) - sent)
            if size <= 0:
                self.connection.sendall(out)
                out = b""
                self.take()
                continue
            last = END if sent + size == len(data) else 0
            out += frame(DATA, last, stream, data[sent : sent + size])
            sent, self.allowed, self.window = sent + size, self.allowed - size, self.window - size
        self.connection.sendall(out)
        while not self.ended:
            self.take()

    def take(self):
        """Reads a frame."""
        start = self.read.read(9)
        assert len(start) == 9, "the server closed the connection"
        payload = self.read.read(int.from_bytes(start[:3], "big"))
        kind, flags, stream = start[3], start[4], int.from_bytes(start[5:], "big")
        assert kind not in (RESET, GOAWAY), f"the call was ended: {payload!r}"
        if kind == SETTINGS and not flags & ACK:
            self.settings(payload)
        elif kind == WINDOW_UPDATE:
            more = int.from_bytes(payload, "big")
            if stream == 0:
                self.window += more
            elif stream == self.stream:
                self.allowed += more
        elif kind == HEADERS and flags & END:
            assert b"grpc-message" not in payload, payload
            self.ended = True

    def settings(self, payload):
        for name, value in struct.iter_unpack(">HI", payload):
            if name == 4:
                self.allowed += value - self.each
                self.each = value
            elif name == 5:
                self.most = value
        self.connection.sendall(frame(SETTINGS, ACK, 0, b""))
