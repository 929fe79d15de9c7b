"""Heads, framing and connections of HTTP/1."""

import json

import pytest

from http_wire import Wire, assert_error

LIVE = b'{"live":true}'
BODY = json.dumps(
    {"id": "7", "inputs": [{"name": "IN", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}
).encode()
POST = "POST /v2/models/vector_fp32/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture
def wire(server):
    with Wire(server.rest_port) as wire:
        yield wire


def get(path="/v2/health/live", version="1.1", extra="", method="GET"):
    return f"{method} {path} HTTP/{version}\r\nHost: localhost\r\n{extra}\r\n"


def test_a_connection_is_kept_for_several_requests(wire):
    for _ in range(5):
        wire.send(get())
        assert json.loads(wire.reply().body) == {"live": True}


def test_connection_close_is_honoured(wire):
    wire.send(get(extra="Connection: close\r\n"))
    assert wire.reply().status == 200
    assert wire.is_closed()


def test_http_1_0_is_answered_and_closed(wire):
    wire.send("GET /v2/health/live HTTP/1.0\r\n\r\n")
    reply = wire.reply()
    assert (reply.status, reply.body) == (200, LIVE)
    assert wire.is_closed()


def test_http_1_0_with_keep_alive_is_kept(wire):
    for _ in range(2):
        wire.send("GET /v2/health/live HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert wire.reply().status == 200


def test_http_1_0_can_infer(wire):
    wire.send(f"{POST.replace('HTTP/1.1', 'HTTP/1.0')}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
    reply = wire.reply()
    assert reply.status == 200 and json.loads(reply.body)["outputs"][0]["data"] == [1, 2]


def test_pipelined_requests_are_answered_in_order(wire):
    one = f"{POST}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    wire.send(get().encode() + one + get("/v2/models/nope").encode() + one)
    assert [wire.reply().status for _ in range(4)] == [200, 200, 404, 200]


def test_a_refused_body_does_not_spoil_the_next_request_of_a_pipeline(wire):
    bad = b"[" * 2000
    wire.send(f"{POST}Content-Length: {len(bad)}\r\n\r\n".encode() + bad)
    assert_error(wire.reply(), 400)
    wire.send(f"{POST}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
    assert wire.reply().status == 200


def test_a_chunked_body_is_read(wire):
    wire.send(f"{POST}Transfer-Encoding: chunked\r\n\r\n")
    for byte in BODY:
        wire.send(b"1\r\n" + bytes([byte]) + b"\r\n")
    wire.send(b"0\r\n\r\n")
    assert json.loads(wire.reply().body)["id"] == "7"


def test_a_body_in_many_small_writes_is_read(wire):
    wire.send(f"{POST}Content-Length: {len(BODY)}\r\n\r\n")
    for byte in BODY:
        wire.send(bytes([byte]))
    assert wire.reply().status == 200


def test_expect_100_continue_is_answered_before_the_body(wire):
    wire.send(f"{POST}Content-Length: {len(BODY)}\r\nExpect: 100-continue\r\n\r\n")
    assert wire.reply().status == 100
    wire.send(BODY)
    assert wire.reply().status == 200


def test_expect_100_continue_for_too_large_a_body_is_413_without_continue(wire):
    wire.send(f"{POST}Content-Length: {1 << 40}\r\nExpect: 100-continue\r\n\r\n")
    assert_error(wire.reply(), 413)


@pytest.mark.parametrize(
    "head, allowed",
    [
        ("GARBAGE\r\n\r\n", {400}),
        ("GET\r\n\r\n", {400}),
        ("GET / HTTP/9.9\r\n\r\n", {400, 505}),
        ("GET /v2 HTTP/1.1\r\nHost localhost\r\n\r\n", {400}),
        ("GET /v2 HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", {400}),
        (f"{POST}Content-Length: abc\r\n\r\n", {400}),
        (f"{POST}Content-Length: -1\r\n\r\n", {400}),
        (f"{POST}Content-Length: 2\r\nContent-Length: 3\r\n\r\nab", {400}),
        (f"{POST}Transfer-Encoding: chunked\r\n\r\nzz\r\n", {400}),
        (f"GET /{'a' * 70_000} HTTP/1.1\r\nHost: a\r\n\r\n", {404, 414, 431}),
        (f"GET /v2 HTTP/1.1\r\nHost: a\r\nX-Long: {'a' * 1_000_000}\r\n\r\n", {400, 431}),
        ("GET /v2 HTTP/1.1\r\nHost: a\r\n" + "X-Many: 1\r\n" * 5000 + "\r\n", {400, 431}),
    ],
)
def test_a_head_that_cannot_be_parsed_is_refused_and_the_server_goes_on(server, head, allowed):
    with Wire(server.rest_port) as wire:
        try:
            wire.send(head)
            reply = wire.reply()
        except (ConnectionResetError, BrokenPipeError):
            reply = None
        assert reply is None or reply.status in allowed, reply
    assert server.status_of("/v2/health/live") == 200


def test_both_transfer_encoding_and_content_length_never_yield_two_requests(server):
    """Request smuggling: the bytes after the chunked end must not be read as a body or answered twice."""
    with Wire(server.rest_port) as wire:
        wire.send(f"{POST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        reply = wire.reply()
        assert reply is not None and reply.status == 400


def test_a_client_that_leaves_in_the_middle_of_a_body_harms_nobody(server):
    for _ in range(20):
        with Wire(server.rest_port) as wire:
            wire.send(f"{POST}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY[:20])
    assert server.status_of("/v2/health/live") == 200


def test_the_head_of_an_answer_names_no_library(wire):
    wire.send(get("/v2"))
    assert "Server" not in wire.reply().headers


def test_a_head_that_never_ends_is_closed(start):
    server = start(None, "--header-timeout", "2s")
    with Wire(server.rest_port, timeout=20) as wire:
        wire.send("GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        reply = wire.reply()
        assert reply is None or reply.status in (400, 408)


def test_http_2_with_prior_knowledge_is_spoken(wire):
    wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
    frame_head = wire.file.read(9)
    assert frame_head[3] == 4, "the first frame of a server is SETTINGS"
