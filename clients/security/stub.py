"""An HTTP server that answers whatever a test tells it, byte for byte, and keeps what it was asked."""

import contextlib
import socket
import threading
from typing import NamedTuple


class Asked(NamedTuple):
    line: str
    headers: list
    body: bytes

    def header(self, name):
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return found[0] if len(found) == 1 else found


def http_answer(body, status="200 OK", content_type="application/json", *more):
    """A whole answer that leaves the connection open; `more` are further header lines."""
    body = body if isinstance(body, bytes) else body.encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *more]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Stub:
    """Answers with `answer(asked)`: bytes, or an iterable of bytes that are sent one by one."""

    def __init__(self, answer, tls=None):
        """`tls` is a server's `ssl.SSLContext`; without one it speaks plain HTTP."""
        self.answer, self.tls, self.asked, self.connections = answer, tls, [], 0
        self.gone = threading.Event()
        self.port, self.listener = 0, None
        self.open = set()
        self.up()

    def url(self, path="/"):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}{path}"

    def up(self):
        """Listens, on the port of before."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.listener, self.port = listener, listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def down(self):
        """Refuses connections, and drops those it has."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.gone.set()
        self.down()

    def silence(self, _=None):
        """An answer that never comes."""
        self.gone.wait(30)
        return b""

    def drip(self, answer, pause=0.1):
        """An answer that comes byte by byte."""
        for at in range(len(answer)):
            yield answer[at:at + 1]
            if self.gone.wait(pause):
                return

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        if self.tls:
            try:
                connection.settimeout(10)
                connection = self.tls.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                return
        with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rb") as reader:
            while (asked := _read(reader)) is not None:
                self.asked.append(asked)
                answer = self.answer(asked)
                whole = isinstance(answer, bytes)
                for part in [answer] if whole else answer:
                    connection.sendall(part)
                if not whole or b"Content-Length" not in answer:
                    return
        self.open.discard(connection)


def _read(reader):
    line = reader.readline().decode("latin-1").strip()
    if not line:
        return None
    headers = []
    while (text := reader.readline().decode("latin-1").strip()):
        name, _, value = text.partition(":")
        headers.append((name, value.strip()))
    length = [int(value) for name, value in headers if name.lower() == "content-length"]
    return Asked(line, headers, reader.read(length[0]) if length else b"")
