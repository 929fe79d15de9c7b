"""A gRPC call whose headers stand as they are given: what gRPC's own client will not send."""

import socket
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events

from guarded import NO, SERVICE, WHO, YES, Said

_BY_STATUS = {"0": YES, "16": WHO, "7": NO}


def call(server, method, message, headers, timeout=10):
    """What is said to one call; `closed` or `reset` when HTTP/2 itself refuses it.

    Without a message (None) nothing follows the headers, and the call stays open.
    """
    config = h2.config.H2Configuration(
        client_side=True, header_encoding="latin-1",
        validate_outbound_headers=False, normalize_outbound_headers=False,
    )
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    head = [(":method", "POST"), (":scheme", "http"), (":path", f"/{SERVICE}/{method}"),
            (":authority", server.grpc), ("content-type", "application/grpc"), ("te", "trailers")]
    connection.send_headers(1, [*head, *headers])
    if message is not None:
        connection.send_data(1, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
    with socket.create_connection(("127.0.0.1", server.grpc_port), timeout) as wire:
        wire.sendall(connection.data_to_send())
        return _said(wire, connection)


def _said(wire, connection):
    seen = {}
    while True:
        try:
            data = wire.recv(65536)
        except ConnectionResetError:
            return Said("closed", "")
        if not data:
            return Said("closed", "")
        for event in connection.receive_data(data):
            if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                seen |= dict(event.headers)
            if isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                return Said("reset", "")
            if isinstance(event, h2.events.StreamEnded):
                status = seen.get("grpc-status", f"HTTP {seen.get(':status')}")
                return Said(_BY_STATUS.get(status, status), unquote(seen.get("grpc-message", "")))
        wire.sendall(connection.data_to_send())
