"""What decision points say, by their specifications, and what they say when they are not well."""

import gzip
import json
from typing import NamedTuple

from stub import http_answer


class Dialect(NamedTuple):
    """One protocol: its media type, and bodies that permit, deny, and only look like a permit."""

    media: str
    path: str
    permits: list
    denies: list
    lies: list


def _xacml(decision, **more):
    return {"Response": [{"Decision": decision, **more}]}


_OBLIGATION = [{"Id": "urn:log", "AttributeAssignment": [{"AttributeId": "x", "Value": "y"}]}]

DIALECTS = {
    "xacml": Dialect(
        "application/xacml+json", "/pdp",
        permits=[
            _xacml("Permit"),
            {"Response": {"Decision": "Permit"}},
            _xacml("Permit", Status={"StatusCode": {"Value": "urn:oasis:names:tc:xacml:1.0:status:ok"}}),
            _xacml("Permit", Obligations=[], AssociatedAdvice=[{"Id": "advice"}]),
            {"Response": [{"Decision": "Permit"}, {"Decision": "Permit"}]},
        ],
        denies=[
            _xacml("Deny"), _xacml("NotApplicable"), _xacml("Indeterminate"),
            _xacml("Permit", Obligations=_OBLIGATION), _xacml("Permit", Obligations=_OBLIGATION[0]),
            {"Response": [{"Decision": "Permit"}, {"Decision": "Deny"}]},
        ],
        lies=[
            {}, [], None, True, "Permit", {"Response": []}, {"Response": {}}, {"Response": None}, {"Response": "Permit"},
            {"Decision": "Permit"}, [{"Decision": "Permit"}], _xacml("permit"), _xacml("PERMIT"), _xacml("Permit "),
            _xacml(True), _xacml(["Permit"]), _xacml(None), {"response": [{"Decision": "Permit"}]},
            {"Response": [{"decision": "Permit"}]}, {"Response": [[{"Decision": "Permit"}]]},
            {"Response": [{"Decision": "Permit"}, {}]}, _xacml("Permit", Obligations=None),
            _xacml("Permit", Obligations="none"), {"Result": [{"Decision": "Permit"}]},
        ],
    ),
    "authzen": Dialect(
        "application/json", "/access/v1/evaluation",
        permits=[{"decision": True}, {"decision": True, "context": {"reason_admin": {"en": "fine"}}},
                 {"decision": True, "context": {"obligations": []}}],
        denies=[{"decision": False}, {"decision": False, "context": {}},
                {"decision": True, "context": {"obligations": [{"id": "log"}]}},
                {"decision": True, "context": {"obligations": "log"}}],
        lies=[{}, [], None, True, "true", {"decision": "true"}, {"decision": "True"}, {"decision": 1}, {"decision": None},
              {"decision": [True]}, {"decision": {"allow": True}}, {"Decision": True}, {"allow": True},
              {"result": {"decision": True}}, [{"decision": True}], {"evaluations": [{"decision": True}]},
              {"decision": True, "context": "fine"}, {"decision": True, "context": None}],
    ),
    "opa": Dialect(
        "application/json", "/v1/data/oip/allow",
        permits=[{"result": True}, {"result": {"allow": True}}, {"result": True, "decision_id": "7", "metrics": {}}],
        denies=[{"result": False}, {"result": {"allow": False}}, {}, {"result": {}}, {"decision_id": "7"},
                {"result": {"Allow": True}}],
        lies=[[], None, True, "true", {"result": "true"}, {"result": 1}, {"result": [True]}, {"result": None},
              {"result": {"allow": "true"}}, {"result": {"allow": 1}}, {"result": {"allow": None}},
              {"result": {"allow": [True]}}, {"result": "allow"}],
    ),
}


def permit(dialect):
    return json.dumps(dialect.permits[0])


def saying(body, *args):
    """A well-behaved answer of this body."""
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return lambda asked: http_answer(text, *args)


def _endless(dialect):
    def body(_):
        yield f"HTTP/1.1 200 OK\r\nContent-Type: {dialect.media}\r\n\r\n".encode() + permit(dialect).encode()
        while True:
            yield b" " * 65536
    return body


def _chunked_and_cut(dialect):
    def body(_):
        text = permit(dialect)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {dialect.media}\r\nTransfer-Encoding: chunked\r\n\r\n"
        yield f"{head}{len(text):x}\r\n{text}\r\n".encode()
    return body


def _cut(dialect, missing):
    """Announces more than it sends, and closes."""
    def body(_):
        yield http_answer(permit(dialect) + " " * 10, "200 OK", dialect.media)[:-missing]
    return body


def faults(dialect, stub):
    """Every way in which a decision point is at fault, by name: what it answers."""
    good, media = permit(dialect), dialect.media
    elsewhere = stub.url("/permits")
    statuses = {
        status: saying(good, status, media)
        for status in ("201 Created", "202 Accepted", "203 Other", "206 Partial", "226 IM Used", "400 Bad Request",
                       "401 Unauthorized", "403 Forbidden", "404 Not Found", "418 Teapot", "500 Oops",
                       "501 No", "502 Bad Gateway", "503 Unavailable", "504 Timeout", "599 Unknown")
    }
    redirects = {
        f"a redirect by {status} to a permit": saying(good, f"{status} Moved", media, f"Location: {elsewhere}")
        for status in (300, 301, 302, 303, 305, 307, 308)
    }
    twice = good.replace("{", '{"decision":false,"result":false,"Response":[{"Decision":"Deny"}],', 1)
    return statuses | redirects | {
        "204 without a body": lambda _: b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
        "silence": stub.silence,
        "a slow answer": lambda _: stub.drip(http_answer(good, "200 OK", media)),
        "a closed connection": lambda _: iter([b""]),
        "HTML": saying("<html>Permit: true</html>", "200 OK", "text/html"),
        "a permit called HTML": saying(good, "200 OK", "text/html"),
        "a permit called text": saying(good, "200 OK", "text/plain"),
        "a permit called text/json": saying(good, "200 OK", "text/json"),
        "a permit called jsonp": saying(good, "200 OK", "application/jsonp"),
        "a permit of no type": saying(good, "200 OK", None),
        "a permit of an empty type": saying(good, "200 OK", ""),
        "HTML called JSON": saying("<html></html>", "200 OK", media),
        "an empty body": saying("", "200 OK", media),
        "a number": saying("1", "200 OK", media),
        "two permits": saying(good + good, "200 OK", media),
        "a permit and more": saying(good + "x", "200 OK", media),
        "a permit behind a byte order mark": saying("\ufeff" + good, "200 OK", media),
        "a permit in UTF-16": saying(good.encode("utf-16"), "200 OK", media),
        "a permit, compressed by word alone": saying(good, "200 OK", media, "Content-Encoding: gzip"),
        "a permit, compressed": saying(gzip.compress(good.encode()), "200 OK", media, "Content-Encoding: gzip"),
        "a permit with a name twice": saying(twice, "200 OK", media),
        "a permit in single quotes": saying(good.replace('"', "'"), "200 OK", media),
        "a permit with a comment": saying(good + "//", "200 OK", media),
        "a permit in half": saying(good[:len(good) // 2], "200 OK", media),
        "a permit but for its last byte": saying(good[:-1], "200 OK", media),
        "a cut permit": _cut(dialect, 12),
        "a cut permit, whole but for its padding": _cut(dialect, 5),
        "chunks without an end": _chunked_and_cut(dialect),
        "an endless body": _endless(dialect),
        "a huge body": saying(good + " " * (2 << 20), "200 OK", media),
        "deep nesting": saying("[" * 100_000, "200 OK", media),
        "no HTTP at all": lambda _: iter([b"SSH-2.0-OpenSSH_9.2\r\n"]),
        "a bare body": lambda _: iter([good.encode()]),
        "an endless head": lambda _: (b"HTTP/1.1 200 OK\r\n" if n == 0 else b"X: y\r\n" * 1000 for n in range(1000)),
    }
