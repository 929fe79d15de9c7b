#!/usr/bin/env python3
"""How fast a handler in Python is: as a part of the floor, for one call, in memory and at start.

    pip install ./crates/python && python benches/python/measure.py

The first CPU has the server, the others the load. Takes about a minute.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from serving import bench, infer, rss, serving

SERVER = "0"
SERVED = "s = oip.Server(None, rest_port=0, grpc_port=0, auth_enabled=False).start()"
PARTS = ("queue_us", "input_us", "infer_us", "output_us")


def throughput(log: Path) -> None:
    """32 connections, each with a request under way."""
    works = ("rest-json-16", "rest-binary-150528", "grpc-16")
    only = [argument for work in works for argument in ("--only", work)]
    with serving(cpus=SERVER, said=log) as (rest, grpc, pid):
        bench(rest, grpc, pid, *only, "--seconds", "2", "--repeat", "3")
        print(f"memory of the server afterwards: {rss(pid) / 1024:.1f} MiB")


def one_call(log: Path) -> None:
    """One connection: each call finds the server idle."""
    with serving("--latency-log", "true", cpus=SERVER, said=log) as (rest, grpc, pid):
        infer(rest)
        bench(
            rest, grpc, pid, "--only", "rest-json-16", "--connections", "1", "--seconds", "2",
            "--no-floor",
        )
    calls = [
        [int(found) for found in re.findall(r"(?:queue|input|infer|output)_us=(\d+)", line)]
        for line in log.read_text().splitlines()
        if "inference ended" in line
    ]
    in_python = [sum(call[1:]) for call in calls]
    print(f"{len(calls)} calls, medians in microseconds: waiting for the thread", end=" ")
    print(statistics.median(call[0] for call in calls), end="; ")
    print(f"into Python and back {statistics.median(in_python)}", end=", of it ")
    print(", ".join(
        f"{part} {statistics.median(call[index] for call in calls)}"
        for index, part in enumerate(PARTS) if index
    ))


def memory_and_start() -> None:
    """What the package adds to a bare interpreter."""
    status = "\nprint(open('/proc/self/status').read().split('VmRSS:')[1].split()[0])"
    for name, code in {"bare": "", "import oip": "import oip", "server": f"import oip; {SERVED}"}.items():
        took = []
        for _ in range(5):
            begun = time.monotonic()
            ended = subprocess.run(
                [sys.executable, "-c", code + status], check=True, capture_output=True, text=True
            )
            took.append(time.monotonic() - begun)
        said = int(ended.stdout.split()[-1]) / 1024
        print(f"{name}: {said:.1f} MiB, begun and ended in {statistics.median(took) * 1e3:.0f} ms")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        throughput(Path(folder) / "log")
        one_call(Path(folder) / "log")
    memory_and_start()
