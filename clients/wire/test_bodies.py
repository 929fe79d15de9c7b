"""Media types, content encodings and the size of bodies."""

import gzip
import json
import zlib

import pytest

from http_wire import Wire, assert_error, call

PATH = "/v2/models/vector_fp32/infer"
DOCUMENT = {"inputs": [{"name": "IN", "datatype": "FP32", "shape": [3], "data": [1, 2.5, -3]}]}
BODY = json.dumps(DOCUMENT).encode()
BODY_LIMIT = 64 << 20


def post(server, body=BODY, **headers):
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    return call(server, "POST", PATH, body, named)


@pytest.mark.parametrize(
    "media",
    [
        "application/json", "application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8",
        "text/plain", "text/plain; charset=utf-8", "application/x-www-form-urlencoded", None,
    ],
)
def test_json_is_read_under_the_usual_media_types(server, media):
    reply = post(server, **({"Content_Type": media} if media else {}))
    assert reply.status == 200, reply.body
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json()["outputs"][0]["data"] == [1, 2.5, -3]


@pytest.mark.parametrize(
    "media", ["application/xml", "text/html", "multipart/form-data; boundary=x", "image/png", "application/x-protobuf", "nonsense"]
)
def test_another_media_type_is_415(server, media):
    assert_error(post(server, Content_Type=media), 415)


@pytest.mark.parametrize("body", [b"", b" ", b"{", b"[]", b"null", b"1", b'"x"', b"{}", b'{"inputs":null}', b'{"inputs":{}}',
                                  b'{"inputs":[]}', b'{"inputs":[1]}', b"{'inputs':[]}", BODY + b"x", BODY + BODY,
                                  BODY[:-1], BODY.replace(b"3]", b"3,]", 1), b"\xff\xfe", BODY.replace(b"IN", b"\xff")])
def test_a_body_that_is_no_request_is_400(server, body):
    assert_error(post(server, body, Content_Type="application/json"), 400)


def test_malformed_json_is_refused_with_its_position(server):
    sentence = assert_error(post(server, b'{"inputs": [}', Content_Type="application/json"), 400)
    assert any(c.isdigit() for c in sentence), sentence


def deflated(data):
    return zlib.compress(data)


def raw_deflated(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    "encoding, packed",
    [("gzip", gzip.compress(BODY)), ("deflate", deflated(BODY)), ("GZIP", gzip.compress(BODY)), ("identity", BODY)],
)
def test_a_compressed_request_is_read(server, encoding, packed):
    reply = post(server, packed, Content_Encoding=encoding, Content_Type="application/json")
    assert reply.status == 200, reply.body
    assert reply.json()["outputs"][0]["data"] == [1, 2.5, -3]


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "x-unknown"])
def test_an_unknown_content_encoding_is_415(server, encoding):
    assert_error(post(server, BODY, Content_Encoding=encoding, Content_Type="application/json"), 415)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("broken", ["plain", "cut", "flipped", "empty"])
def test_broken_compressed_data_is_400(server, encoding, broken):
    good = gzip.compress(BODY) if encoding == "gzip" else deflated(BODY)
    middle = len(good) // 2
    body = {
        "plain": BODY, "cut": good[:middle], "empty": b"",
        "flipped": good[:middle] + bytes(b ^ 0xFF for b in good[middle:]),
    }[broken]
    assert_error(post(server, body, Content_Encoding=encoding, Content_Type="application/json"), 400)


@pytest.mark.parametrize(
    "asked, got",
    [("gzip", "gzip"), ("deflate", "deflate"), ("gzip, deflate", "gzip"), ("deflate, gzip;q=0", "deflate")],
)
def test_a_compressed_request_is_answered_compressed_when_asked_for(server, asked, got):
    floats = [float(i) for i in range(2000)]
    body = json.dumps({"inputs": [{"name": "IN", "datatype": "FP32", "shape": [2000], "data": floats}]}).encode()
    headers = {"Content_Type": "application/json", "Content_Encoding": "gzip", "Accept_Encoding": asked}
    reply = post(server, gzip.compress(body), **headers)
    if "gzip" in asked and "q=0" not in asked and "," in asked:
        assert reply.headers["Content-Encoding"] in ("gzip", "deflate")
    else:
        assert reply.headers["Content-Encoding"] == got
    unpack = gzip.decompress if reply.headers["Content-Encoding"] == "gzip" else zlib.decompress
    assert json.loads(unpack(reply.body))["outputs"][0]["data"] == floats


@pytest.mark.parametrize("asked", ["gzip", "gzip, deflate", "*"])
def test_a_plain_request_is_answered_plain_whatever_its_client_understands(server, asked):
    floats = [0.5] * 2000
    body = json.dumps({"inputs": [{"name": "IN", "datatype": "FP32", "shape": [2000], "data": floats}]}).encode()
    reply = post(server, body, Content_Type="application/json", Accept_Encoding=asked)
    assert "Content-Encoding" not in reply.headers
    assert reply.json()["outputs"][0]["data"] == floats


@pytest.mark.parametrize("asked", [None, "identity", "br", "gzip;q=0"])
def test_an_answer_is_plain_when_compression_is_not_asked_for(server, asked):
    floats = [0.5] * 2000
    body = json.dumps({"inputs": [{"name": "IN", "datatype": "FP32", "shape": [2000], "data": floats}]}).encode()
    headers = {"Content_Type": "application/json", "Content_Encoding": "gzip"}
    reply = post(server, gzip.compress(body), **headers, **({"Accept_Encoding": asked} if asked else {}))
    assert "Content-Encoding" not in reply.headers
    assert reply.json()["outputs"][0]["data"] == floats


def test_a_content_length_over_the_limit_is_413_at_once(server):
    with Wire(server.rest_port, timeout=10) as wire:
        wire.send(f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY_LIMIT + 1}\r\n\r\n")
        assert_error(wire.reply(), 413)


def test_a_chunked_body_over_the_limit_is_413(server):
    with Wire(server.rest_port, timeout=30) as wire:
        wire.send(f"POST {PATH} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        try:
            for _ in range(66):
                wire.send(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused while we were still sending
        try:
            reply = wire.reply()
        except ConnectionResetError:
            reply = None  # the answer was lost with the connection; the server must still be well
        if reply is not None:
            assert_error(reply, 413)
    assert server.status_of("/v2/health/live") == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_bomb_is_413_and_takes_no_memory(server, encoding):
    bomb = b" " * (512 << 20)
    packed = gzip.compress(bomb, 1) if encoding == "gzip" else zlib.compress(bomb, 1)
    del bomb
    before = server.resident_mib()
    assert_error(post(server, packed, Content_Encoding=encoding, Content_Type="application/json"), 413)
    assert server.resident_mib() - before < 200


def test_get_with_a_body_is_answered(server):
    assert call(server, "GET", "/v2/health/live", b"x" * 1000).status == 200


@pytest.mark.parametrize("body", [b"", b"{}", b'{"ready":true}', b'{"ready":false}'])
def test_the_index_takes_an_empty_body(server, body):
    reply = call(server, "POST", "/v2/repository/index", body)
    assert reply.status == 200 and isinstance(reply.json(), list)
