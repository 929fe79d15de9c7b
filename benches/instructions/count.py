#!/usr/bin/env python3
"""Counts the instructions of the hot paths with callgrind and holds them to counts.toml.

    benches/instructions/count.py            fails when one has grown by over 10%
    benches/instructions/count.py --write    writes counts.toml anew

Needs valgrind, and builds what it counts: the doors and the gates as they are released, without
engines. Each path runs a few times and then some more times: the difference is what one time costs,
without the start of the process. Counts do not depend on how busy the machine is; they do on its
instruction set (glibc picks its memcpy by it), so a small part may differ between machines. Looks at
the clock cost next to nothing here, as valgrind has its own.
"""

import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tempfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
COUNTS = pathlib.Path(__file__).with_name("counts.toml")
PROGRAM = ROOT / "target/release/oip-instructions"
# Of `oip bench --gates`: it opens nothing but servers of that, and this one.
TOKEN = ROOT / "crates/cli/src/bench/gates/hs256.jwt"
GROWTH = 1.10


def callgrind(command, **options):
    """Starts a command under callgrind; `total` reads what it has counted at its end."""
    tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    return subprocess.Popen(tool + command, stderr=subprocess.PIPE, text=True, **options)


def total(process):
    _, log = process.communicate(timeout=300)
    counted = re.search(r"Collected : (\d+)", log)
    if not counted:
        sys.exit(f"callgrind has counted nothing:\n{log}")
    return int(counted[1])


def build():
    command = ["cargo", "build", "--locked", "--release", "--quiet", "--package", "oip-instructions"]
    subprocess.run(command, cwd=ROOT, check=True)


def protocol_paths():
    """Reading and writing of messages alone: src/main.rs beside this."""
    names = subprocess.run([PROGRAM], capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        few, many = (1, 3) if name.endswith("150528") else (100, 300)

        def times(count):
            return total(callgrind([str(PROGRAM), name, str(count)]))

        yield name, (times(many) - times(few)) // (many - few)


def authorization():
    return "Bearer " + TOKEN.read_text().strip()


def rest(address, count, elements=16):
    """Sends an inference of floats over HTTP/1.1, so many times."""
    data = ", ".join(str((n * 37 % 64 - 32) / 33) for n in range(elements))
    body = (
        '{"inputs": [{"name": "input", "shape": [%d], "datatype": "FP32", "data": [%s]}]}' % (elements, data)
    ).encode()
    head = (
        "POST /v2/models/identity/infer HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: {authorization()}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection(address) as connection:
        done = 0
        while done < count:
            connection.sendall(head + body)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += connection.recv(65536)
            status, _, rest = answer.partition(b"\r\n\r\n")
            # Until the model is there: the server has only just begun.
            starting = done == 0 and status.startswith(b"HTTP/1.1 503")
            assert starting or status.startswith(b"HTTP/1.1 200"), status
            done += not starting
            length = int(re.search(rb"content-length: (\d+)", status)[1])
            while len(rest) < length:
                rest += connection.recv(65536)


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def grpc(address, count):
    """The same over HTTP/2, with frames of our own: nothing is needed but Python."""
    tensor = b"\x0a\x05input\x12\x04FP32\x1a\x01\x10"
    raw = struct.pack("<16f", *[n / 16 for n in range(16)])
    message = b"\x0a\x08identity" + bytes([0x2A, len(tensor)]) + tensor + b"\x3a\x40" + raw
    data = b"\x00" + struct.pack(">I", len(message)) + message

    def length(text):
        # Seven bits, and what is beyond in one more byte or two (RFC 7541, 5.1).
        if len(text) < 127:
            return bytes([len(text)])
        more = len(text) - 127
        return bytes([127, more % 128 | 128, more // 128] if more > 127 else [127, more])

    def literal(name, value):
        return b"\x10" + length(name) + name + length(value) + value

    head = literal(b":method", b"POST") + literal(b":scheme", b"http")
    head += literal(b":path", b"/inference.GRPCInferenceService/ModelInfer")
    head += literal(b":authority", b"localhost") + literal(b"te", b"trailers")
    head += literal(b"content-type", b"application/grpc")
    head += literal(b"authorization", authorization().encode())
    with socket.create_connection(address) as connection:
        read = connection.makefile("rb")
        window = frame(8, 0, 0, struct.pack(">I", 1 << 30))
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + window)
        for index in range(count):
            stream = 2 * index + 1
            connection.sendall(frame(1, 4, stream, head) + frame(0, 1, stream, data))
            ended = False
            while not ended:
                start = read.read(9)
                payload = read.read(int.from_bytes(start[:3], "big"))
                kind, flags = start[3], start[4]
                assert kind not in (3, 7), f"the stream was reset: {payload!r}"
                if kind == 4 and not flags & 1:
                    connection.sendall(frame(4, 1, 0, b""))
                ended = kind == 1 and flags & 1 == 1
            assert b"grpc-message" not in payload, payload


def served(gates, door, send, count):
    """What a server has counted that answered so many requests, start and stop included."""
    folder = tempfile.TemporaryDirectory()
    # As `oip serve` has the allocator keep what is freed.
    keeps = {"MALLOC_TRIM_THRESHOLD_": str(64 << 20), "MALLOC_MMAP_THRESHOLD_": str(4 << 20)}
    # One CPU: one worker thread.
    server = callgrind(
        [str(PROGRAM), "serve", *([folder.name] if gates else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | keeps,
        preexec_fn=lambda: os.sched_setaffinity(0, {0}),
    )
    line = server.stdout.readline()
    address = {door: (host, int(port)) for door, host, port in re.findall(r"(\w+)=([\d.]+):(\d+)", line)}
    rest(address["rest"], 1)
    send(address[door], count)
    return total(server)


def door_paths():
    """Whole requests as the server answers them, from socket to socket."""
    for name, gates, door, send, few, many in [
        ("rest-16", False, "rest", rest, 500, 1500),
        ("grpc-16", False, "grpc", grpc, 500, 1500),
        ("rest-150528", False, "rest", lambda address, count: rest(address, count, 150_528), 1, 3),
        # With a token, the built-in policy and an audit line for each.
        ("rest-16-gates", True, "rest", rest, 200, 600),
        ("grpc-16-gates", True, "grpc", grpc, 200, 600),
    ]:
        counted = [served(gates, door, send, count) for count in (few, many)]
        yield name, (counted[1] - counted[0]) // (many - few)


def main():
    build()
    counted = dict(protocol_paths()) | dict(door_paths())
    known = tomllib.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    grown = []
    for name, instructions in counted.items():
        before = known.get(name)
        change = f"{instructions / before - 1:+.1%}" if before else "new"
        print(f"{name:24} {instructions:>12,} {change:>8}")
        if not before or instructions > before * GROWTH:
            grown.append(name)
    if "--write" in sys.argv:
        lines = [f"{name} = {instructions}\n" for name, instructions in counted.items()]
        COUNTS.write_text("# Instructions, by count.py --write.\n" + "".join(lines))
    elif grown:
        sys.exit(
            f"these take over 10% more instructions than counts.toml says: {', '.join(grown)}; "
            "where that is meant, run benches/instructions/count.py --write"
        )


if __name__ == "__main__":
    main()
