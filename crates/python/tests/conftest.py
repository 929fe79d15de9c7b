"""What the tests share."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from oip import Server


class Caller:
    """Asks a server over REST."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def __call__(
        self, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        request = urllib.request.Request(self.server.url + path, data, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, _read(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _read(error.read())

    def infer(self, model: str, *inputs: dict[str, Any], **others: Any) -> tuple[int, Any]:
        return self(f"/v2/models/{model}/infer", {"inputs": list(inputs), **others})


def _read(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@pytest.fixture
def serve() -> Iterator[Any]:
    """Starts servers on free ports, open to everyone, and stops them afterwards."""
    servers: list[Server] = []

    def start(handler: object, **settings: Any) -> Caller:
        settings = {"rest_port": 0, "grpc_port": 0, "auth_enabled": False, "shutdown_grace": "1s"} | settings
        server = Server(handler, **settings).start()
        servers.append(server)
        return Caller(server)

    yield start
    for server in servers:
        server.stop()


def fp32(name: str, data: Any, shape: list[int] | None = None) -> dict[str, Any]:
    """An input of FP32."""
    shape = [len(data)] if shape is None else shape
    return {"name": name, "datatype": "FP32", "shape": shape, "data": data}
