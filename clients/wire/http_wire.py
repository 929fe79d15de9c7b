"""HTTP/1 by hand: requests are bytes, replies are read without any client's kindness."""

import contextlib
import http.client
import json
import socket
from typing import NamedTuple


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self):
        """The body as strict JSON: `NaN` and `Infinity` are no JSON."""
        return json.loads(self.body, parse_constant=_refuse_constant)


def _refuse_constant(token):
    raise ValueError(f"{token} in what should be JSON")


class Wire:
    """One TCP connection to the REST door."""

    def __init__(self, port, timeout=20):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def reply(self, to="GET"):
        """The next reply (an interim one included), or None when the server closed."""
        line = self.file.readline(65537)
        if not line:
            return None
        assert line.startswith(b"HTTP/1."), line
        status = int(line.split()[1])
        headers = http.client.parse_headers(self.file)
        if to == "HEAD" or status < 200 or status in (204, 304):
            return Reply(status, headers, b"")
        if headers.get("Transfer-Encoding", "").lower() == "chunked":
            return Reply(status, headers, self._chunks())
        length = headers.get("Content-Length")
        body = self.file.read() if length is None else self.file.read(int(length))
        return Reply(status, headers, body)

    def _chunks(self):
        body = b""
        while True:
            size = int(self.file.readline().split(b";")[0], 16)
            body += self.file.read(size)
            self.file.readline()
            if size == 0:
                return body

    def is_closed(self):
        """True when the server closes without another byte."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True


def call(server, method, path, body=None, headers=None, host=None):
    """One request on a connection of its own, with these headers, Host and the length only."""
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    with contextlib.closing(connection):
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", host or server.rest)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        # A server may answer before it has read all of a body that it refuses.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if body:
                connection.send(body)
        reply = connection.getresponse()
        return Reply(reply.status, reply.headers, reply.read())


JSON = {"Content-Type": "application/json"}


def post_json(server, path, document, headers=None):
    """POSTs a document, or text that is sent as it stands."""
    text = document if isinstance(document, (str, bytes)) else json.dumps(document)
    body = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return call(server, "POST", path, body, JSON | (headers or {}))


def infer(server, model, document, headers=None):
    return post_json(server, f"/v2/models/{model}/infer", document, headers)


def tensor(datatype, shape, data, name="IN"):
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def assert_error(reply, status, *needles):
    """`{"error": "<sentence>"}` with this status; the sentence holds every needle, in any case."""
    assert reply.status == status, (reply.status, reply.body[:500])
    assert reply.headers["Content-Type"] == "application/json", reply.headers["Content-Type"]
    document = reply.json()
    assert list(document) == ["error"], document
    sentence = document["error"]
    assert isinstance(sentence, str) and sentence.strip(), document
    for needle in needles:
        assert str(needle).lower() in sentence.lower(), f"{needle!r} is not in {sentence!r}"
    return sentence
