"""What the server says of itself in HTTP/2: windows that a whole tensor fits into, and frames so large
that few make one, of which a connection that stops within one keeps no more."""

import socket
import struct

import pytest

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, WINDOW_UPDATE = 4, 8
STREAM_WINDOW, FRAME_SIZE = 4, 5


def frames(wire, count):
    """The first frames of a connection: kind, stream and payload."""
    file = wire.makefile("rb")
    for _ in range(count):
        head = file.read(9)
        yield head[3], int.from_bytes(head[5:9], "big"), file.read(int.from_bytes(head[:3], "big"))


@pytest.mark.parametrize("door", ["rest", "grpc"])
def test_a_tensor_of_a_few_megabytes_is_sent_without_waiting_for_updates(server, door):
    port = {"rest": server.rest_port, "grpc": server.grpc_port}[door]
    with socket.create_connection(("127.0.0.1", port), 10) as wire:
        wire.sendall(PREFACE + b"\0\0\0\4\0\0\0\0\0")
        settings, window = {}, 65_535
        # Settings, the acknowledgement of ours, and the connection's window, in whatever order.
        for kind, stream, payload in frames(wire, 3):
            if kind == SETTINGS:
                settings |= dict(struct.iter_unpack(">HI", payload))
            elif kind == WINDOW_UPDATE and stream == 0:
                window += int.from_bytes(payload, "big")
    assert settings[STREAM_WINDOW] == 4 << 20
    assert settings[FRAME_SIZE] == 256 << 10
    assert window == 16 << 20
