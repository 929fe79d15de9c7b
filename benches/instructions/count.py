#!/usr/bin/env python3
"""Counts the instructions of the hot paths with callgrind and holds them to counts.toml.

    benches/instructions/count.py             fails when one has grown by over 10%, is gone or is not in counts.toml
    benches/instructions/count.py --write     writes counts.toml anew
    benches/instructions/count.py --floors    counts whole requests at the floors of `oip bench` beside ours

Needs valgrind, and builds what it counts: the doors and the gates as they are released, without
engines. The floors are bare axum and tonic: for them target/release/oip must be there, as they are
a part of it. Each path runs a few times and then some more times: the difference is what one time
costs, without the start of the process. Counts do not depend on how busy the machine is; they do on its
instruction set (glibc picks its memcpy by it), so a small part may differ between machines. Looks at
the clock cost next to nothing here, as valgrind has its own.
"""

import argparse
import functools
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

from clients import grpc, rest, rest_binary

ROOT = pathlib.Path(__file__).resolve().parents[2]
COUNTS = pathlib.Path(__file__).with_name("counts.toml")
PROGRAM = ROOT / "target/release/oip-instructions"
OIP = ROOT / "target/release/oip"
LARGE = 150_528
GROWTH = 1.10
# Of large binary messages hardly more is counted than receiving them, and that depends on how many pieces
# the system hands out: on how fast a machine is.
RECEIVING = ("rest-binary-150528", "grpc-150528")
GROWTH_RECEIVING = 1.30


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


# Whole requests: how they are sent, through which door, and how often a few times are and many.
DOORS = {
    "rest-16": ("rest", rest, 500, 1500),
    "grpc-16": ("grpc", grpc, 500, 1500),
    "rest-150528": ("rest", functools.partial(rest, elements=LARGE), 1, 3),
    "rest-binary-150528": ("rest", functools.partial(rest_binary, elements=LARGE), 20, 60),
    "grpc-150528": ("grpc", functools.partial(grpc, elements=LARGE), 20, 60),
}


def served(command, environment, door, send, count):
    """What a server has counted that answered so many requests, start and stop included."""
    # One CPU: one worker thread.
    server = callgrind(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | environment,
        preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    )
    line = server.stdout.readline()
    address = {door: (host, int(port)) for door, host, port in re.findall(r"(\w+)=([\d.]+):(\d+)", line)}
    # Only by REST a server says that its model is not there yet in a way that can be waited for.
    if "rest" in address:
        rest(address["rest"], 1)
    send(address[door], count)
    return total(server)


def a_request(command, environment, door, send, few, many):
    """What one request costs."""
    counted = [served(command, environment, door, send, count) for count in (few, many)]
    return (counted[1] - counted[0]) // (many - few)


def ours(gates, *how):
    """What one request costs our server."""
    # As `oip serve` has the allocator keep what is freed.
    keeps = {"MALLOC_TRIM_THRESHOLD_": str(64 << 20), "MALLOC_MMAP_THRESHOLD_": str(4 << 20)}
    with tempfile.TemporaryDirectory() as folder:
        return a_request([str(PROGRAM), "serve", *([folder] if gates else [])], keeps, *how)


def door_paths():
    """Whole requests as the server answers them, from socket to socket."""
    for name, how in DOORS.items():
        yield name, ours(False, *how)
    # With a token, the built-in policy and an audit line for each.
    yield "rest-16-gates", ours(True, "rest", rest, 200, 600)
    yield "grpc-16-gates", ours(True, "grpc", grpc, 200, 600)


def floors():
    """The same requests at the floors, which send back what they are sent, with the allocator as it comes."""
    if not OIP.exists():
        sys.exit(f"{OIP.relative_to(ROOT)} is not there, of which the floors are a part: cargo build --locked --release")
    print(f"{'':24} {'floor':>12} {'ours':>12} {'part':>6}")
    for name, how in DOORS.items():
        floor = a_request([str(OIP), "bench-child", f"floor-{how[0]}"], {}, *how)
        instructions = ours(False, *how)
        print(f"{name:24} {floor:>12,} {instructions:>12,} {floor / instructions:>6.2f}")


def faults(counted, known):
    """What is wrong with what was counted, a sentence each."""

    def bound(name):
        return known[name] * (GROWTH_RECEIVING if name in RECEIVING else GROWTH)

    grown = [name for name, instructions in counted.items() if name in known and instructions > bound(name)]
    for sentence, names in [
        ("these take over 10% (receiving large messages: 30%) more instructions than counts.toml says", grown),
        ("these are not in counts.toml", [name for name in counted if name not in known]),
        ("these are in counts.toml and were not counted", [name for name in known if name not in counted]),
    ]:
        if names:
            yield f"{sentence}: {', '.join(names)}"


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = flags.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true", help="write counts.toml anew")
    what.add_argument("--floors", action="store_true", help="count the floors of `oip bench`, and hold ours to them")
    flags = flags.parse_args()
    build()
    if flags.floors:
        return floors()
    counted = dict(protocol_paths()) | dict(door_paths())
    known = tomllib.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    for name, instructions in counted.items():
        change = f"{instructions / known[name] - 1:+.1%}" if name in known else "new"
        print(f"{name:24} {instructions:>12,} {change:>8}")
    if flags.write:
        lines = [f"{name} = {instructions}\n" for name, instructions in counted.items()]
        COUNTS.write_text("# Instructions, by count.py --write.\n" + "".join(lines))
    elif wrong := list(faults(counted, known)):
        sys.exit("\n".join([*wrong, "where that is meant, run benches/instructions/count.py --write"]))


if __name__ == "__main__":
    main()
