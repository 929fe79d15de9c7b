"""What connections, streams and bodies that have come in part take, against docs/reliability.md."""

import contextlib
import http.client
import pathlib
import re
import socket
import struct
import time

import pytest

from load import metric

ROOT = pathlib.Path(__file__).resolve().parents[2]
FORMULA = re.search(r"### Memory.*?```text\n(.*?)```", (ROOT / "docs" / "reliability.md").read_text(), re.S)[1]
INFER = "/inference.GRPCInferenceService/ModelInfer"
DATA, HEADERS, SETTINGS, WINDOW_UPDATE = 0, 1, 4, 8

# INITIAL_WINDOW_SIZE: answers of any length are taken.
WINDOW = struct.pack("!HI", 4, 1 << 30)


def documented_kib(of, what):
    """KiB that is allowed for each of them."""
    return int(re.search(rf"\+ {of} × (\d+) KiB +.*{what}", FORMULA)[1])


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!IBI", len(payload) << 8 | kind, flags, stream) + payload


def hpack_length(length):
    """The length of a text as HPACK writes it, with seven bits in its first byte."""
    if length < 127:
        return bytes([length])
    written, length = b"\x7f", length - 127
    while length >= 128:
        written, length = written + bytes([length & 127 | 128]), length >> 7
    return written + bytes([length])


class Http2:
    """As much of HTTP/2 as is needed to send frames of any length."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, WINDOW)
                            + frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", 1 << 30)))
        kind, _, _, settings = self.read()
        assert kind == SETTINGS
        pairs = dict(struct.iter_unpack("!HI", settings))
        # MAX_FRAME_SIZE, and MAX_CONCURRENT_STREAMS.
        self.longest, self.streams = pairs.get(5, 1 << 14), pairs[3]
        self.socket.sendall(frame(SETTINGS, 1, 0))
        # Till then little may be sent on all streams together.
        while self.read()[0] != WINDOW_UPDATE:
            pass

    def close(self):
        self.socket.close()

    def _exactly(self, length):
        data = b""
        while len(data) < length:
            piece = self.socket.recv(length - len(data))
            assert piece, "the connection ended"
            data += piece
        return data

    def read(self):
        """Kind, flags, stream and payload of the next frame."""
        length, flags, stream = struct.unpack("!IBI", self._exactly(9))
        return length & 0xFF, flags, stream, self._exactly(length >> 8)

    def head(self, stream, path, more=()):
        fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "a")]
        if not path.startswith("/v2"):
            fields += [("content-type", "application/grpc"), ("te", "trailers")]
        block = b"".join(b"\0" + hpack_length(len(n)) + n.encode() + hpack_length(len(v)) + v.encode()
                         for n, v in [*fields, *more])
        self.socket.sendall(frame(HEADERS, 4, stream, block))

    def call(self, stream, path, body):
        """A whole call, its message in frames that are as long as the server takes."""
        self.head(stream, path)
        for at in range(0, len(body), self.longest):
            last = at + self.longest >= len(body)
            self.socket.sendall(frame(DATA, int(last), stream, body[at:at + self.longest]))
        while True:
            kind, flags, of, _ = self.read()
            if kind == HEADERS and flags & 1 and of == stream:
                return


def growth_kib(server, count, make):
    """What each of so many takes, that are held. The first few fill what all share."""
    with contextlib.ExitStack() as held:
        for _ in range(20):
            make(held)
        time.sleep(0.3)
        before = server.resident_mib()
        for _ in range(count):
            make(held)
        time.sleep(0.3)
        return (server.resident_mib() - before) * 1024 / count


def rests_over_http1(server, held):
    connection = held.enter_context(contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)))
    connection.request("POST", "/v2/models/m/infer", b" " * 3_000_000)
    answer = connection.getresponse()
    assert answer.status == 400 and answer.read()


def rests_over_http2(server, held):
    connection = held.enter_context(contextlib.closing(Http2(server.grpc_port)))
    # What is no message of a request: it is read to its end all the same.
    connection.call(1, INFER, b"\0" + struct.pack("!I", 2 << 20) + b"\xff" * (2 << 20))


@pytest.mark.parametrize("make", [rests_over_http1, rests_over_http2])
def test_a_connection_that_rests_after_a_large_body_keeps_no_more_than_is_documented(served, make):
    server = served()
    kib = growth_kib(server, 150, lambda held: make(server, held))
    print(f"\n{kib:.0f} KiB each")
    assert kib < documented_kib("connections", "heads")


def keeps_a_frame_back(server, held):
    connection = held.enter_context(contextlib.closing(Http2(server.grpc_port)))
    connection.head(1, INFER)
    connection.socket.sendall(frame(DATA, 1, 1, b"x" * connection.longest)[:-1])


def test_a_frame_of_which_the_end_is_missing_takes_no_more_than_is_documented(served):
    server = served()
    kib = growth_kib(server, 100, lambda held: keeps_a_frame_back(server, held))
    print(f"\n{kib:.0f} KiB each")
    assert 200 < kib < documented_kib("connections", "heads")


@pytest.mark.parametrize("path, sent, what", [
    ("/grpc.health.v1.Health/Watch", b"\0" * 5, ("connections", "streams")),
    ("/inference.GRPCInferenceService/ModelStreamInfer", b"", ("connections", "streams")),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", b"", ("connections", "streams")),
    (INFER, b"", ("in_flight", "requests")),
    ("/inference.GRPCInferenceService/ServerLive", b"", ("connections", "calls")),
    ("/inference.GRPCInferenceService/ModelMetadata", b"", ("connections", "calls")),
    ("/grpc.health.v1.Health/Check", b"", ("connections", "calls")),
    ("/v2/repository/index", b"", ("connections", "calls"))],
    ids=["Watch", "ModelStreamInfer", "reflection", "heads", "ServerLive", "ModelMetadata", "Check", "index"])
def test_a_stream_that_rests_and_a_head_without_a_body_take_no_more_than_is_documented(served, path, sent, what):
    server = served()
    port = server.rest_port if path.startswith("/v2") else server.grpc_port
    with contextlib.ExitStack() as held:
        before = server.resident_mib()
        for _ in range(8):
            connection = held.enter_context(contextlib.closing(Http2(port)))
            for stream in range(1, 2 * connection.streams, 2):
                connection.head(stream, path)
                if sent:
                    connection.socket.sendall(frame(DATA, 1, stream, sent))
        time.sleep(1)
        kib = (server.resident_mib() - before) * 1024 / (8 * connection.streams)
    print(f"\n{kib:.1f} KiB each")
    assert kib < documented_kib(*what)


# As many fields as there may be besides what is needed, all together nearly as long as a head may be.
LARGE_HEAD = [(f"x-{n}", "x" * 680) for n in range(94)]


@pytest.mark.parametrize("path, of, heads", [
    ("/grpc.health.v1.Health/Watch", ("connections", "streams"), 0),
    ("/inference.GRPCInferenceService/ModelStreamInfer", ("connections", "streams"), 0),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", ("connections", "streams"), 0),
    (INFER, ("in_flight", "requests"), 1),
    ("/grpc.health.v1.Health/Check", ("connections", "calls"), 1),
    ("/v2/repository/index", ("connections", "calls"), 1)],
    ids=["Watch", "ModelStreamInfer", "reflection", "ModelInfer", "Check", "index"])
def test_a_head_as_large_as_it_may_be_takes_no_more_than_is_documented(served, path, of, heads):
    server = served()
    each = re.search(r"\+ \(2 × connections \+ in_flight\) × \(header_limit \+ (\d+) KiB\)", FORMULA)
    # Of a stream hardly anything of its head is kept, and the allocator keeps some of what was freed.
    documented = documented_kib(*of) + heads * 64 + int(each[1])
    # Of a kind that nobody knows: the next frame lies behind it, in a buffer as large as it takes.
    between = frame(0x20, 0, 0, b"x" * 120_000)
    port = server.rest_port if path.startswith("/v2") else server.grpc_port
    with contextlib.ExitStack() as held:
        connections = [held.enter_context(contextlib.closing(Http2(port))) for _ in range(8)]
        before = server.resident_mib()
        for connection in connections:
            for stream in range(1, 480, 2):
                connection.socket.sendall(between)
                connection.head(stream, path, LARGE_HEAD)
                if path.endswith("Watch"):
                    connection.socket.sendall(frame(DATA, 1, stream, b"\0" * 5))
        time.sleep(1)
        # What a connection takes for itself is measured above.
        grown = (server.resident_mib() - before) * 1024 - 8 * documented_kib("connections", "heads")
        assert metric(server, "oip_limit_reached_total", limit="header_limit") == 0
    kib = grown / (8 * 240)
    print(f"\n{kib:.1f} KiB each, of {documented}")
    assert kib < documented


@pytest.mark.parametrize("path", ["/inference.GRPCInferenceService/ServerLive", "/grpc.health.v1.Health/Check",
                                  "/v2/repository/index"])
def test_calls_whose_messages_never_come_take_no_more_memory_however_many_come(served, path):
    most = 100
    server = served("--connections", str(most))
    port = server.rest_port if path.startswith("/v2") else server.grpc_port
    with contextlib.ExitStack() as held:
        before = server.resident_mib()
        for _ in range(40):
            connection = held.enter_context(contextlib.closing(Http2(port)))
            for stream in range(1, 2 * connection.streams, 2):
                connection.head(stream, path)
                # No faster than they are answered: what comes faster waits.
                if stream % 64 == 63:
                    time.sleep(0.01)
        time.sleep(0.5)
        grown = (server.resident_mib() - before) * 1024
        assert metric(server, "oip_limit_reached_total", limit="calls_waiting") > 5000
        # Whoever asks is answered, beside all of them.
        assert server.status_of("/v2/health/live") == 200
    print(f"\n{grown / 1024:.1f} MiB")
    assert grown < most * (documented_kib("connections", "heads") + documented_kib("connections", "calls"))


@pytest.mark.parametrize("door", ["rest", "grpc"])
def test_a_body_that_comes_in_small_pieces_takes_what_it_counts_and_not_the_buffers_it_came_in(served, door):
    server = served("--body-limit", "64MiB", "--body-memory", "64MiB")
    size, length, count = 1030 if door == "rest" else 2060, 1 << 20, 24
    # Of a kind that nobody knows, and everybody passes over: so each piece lies in a buffer of its own.
    between = frame(0x20, 0, 0, b"x" * 6000)
    with contextlib.ExitStack() as held:
        before = server.resident_mib()
        callers = []
        for _ in range(count):
            if door == "grpc":
                caller = held.enter_context(contextlib.closing(Http2(server.grpc_port)))
                caller.head(1, INFER)
                pieces = [frame(DATA, 0, 1, b"\0" + struct.pack("!I", 2 * length))]
                pieces += [frame(DATA, 0, 1, b"\xff" * size) + between] * (length // size)
            else:
                caller = held.enter_context(Plain(server.rest_port))
                pieces = [b"%x\r\n%s\r\n" % (size, b" " * size)] * (length // size)
            callers.append((caller.socket, pieces))
        # One after the other, so that each comes by itself.
        for at in range(length // size):
            for stream, pieces in callers:
                stream.sendall(pieces[at])
        time.sleep(0.5)
        grown = server.resident_mib() - before
    counted = count * length / 2**20
    print(f"\n{grown:.0f} MiB for {counted:.0f}")
    assert counted * 0.8 < grown < 3 * counted + 20


class Plain:
    """A connection of HTTP/1 whose request has begun, with a body in chunks."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
