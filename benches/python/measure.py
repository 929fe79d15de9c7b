#!/usr/bin/env python3
"""How fast a handler in Python is: as a part of the floor, for one call, in memory and at start.

    pip install ./crates/python && python benches/python/measure.py

The first CPU has the server, the others the load. Takes about a minute.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from serving import bench, infer, rss, serving

SERVER = "0"
SERVED = "s = oip.Server(None, rest_port=0, grpc_port=0, auth_enabled=False).start()"
PARTS = ("queue", "compute_input", "compute_infer", "compute_output")


def throughput(log: Path) -> None:
    """32 connections, each with a request under way."""
    works = ("rest-json-16", "rest-binary-150528", "grpc-16")
    only = [argument for work in works for argument in ("--only", work)]
    with serving(cpus=SERVER, said=log) as (rest, grpc, pid):
        bench(rest, grpc, pid, *only, "--seconds", "2", "--repeat", "3")
        print(f"memory of the server afterwards: {rss(pid) / 1024:.1f} MiB")


def one_call(log: Path, connections: int) -> None:
    """Where the time of a call goes, by the statistics extension. (The latency log would measure
    its own lines, which Python writes.) With one connection each call finds the server idle."""
    with serving(cpus=SERVER, said=log) as (rest, grpc, pid):
        infer(rest)
        taken = []
        for _ in range(10):
            before = spent(rest)
            bench(
                rest, grpc, pid, "--only", "rest-json-16", "--connections", str(connections),
                "--seconds", "0.5", "--no-floor", quiet=True,
            )
            after = spent(rest)
            calls = after["success"]["count"] - before["success"]["count"]
            taken.append([(after[part]["ns"] - before[part]["ns"]) / calls / 1e3 for part in PARTS])
    queue, *parts = (statistics.median(part) for part in zip(*taken, strict=True))
    whole = statistics.median(sum(times[1:]) for times in taken)
    print(f"{connections} connections, means of half seconds, their median, in microseconds:", end=" ")
    print(f"waiting for the thread {queue:.1f}; into Python and back {whole:.1f}", end=", of it ")
    print(", ".join(f"{part} {took:.1f}" for part, took in zip(PARTS[1:], parts, strict=True)))


def spent(rest: str) -> Any:
    """What the statistics extension says of the handler's time so far."""
    with urllib.request.urlopen(f"http://{rest}/v2/models/identity/stats") as answer:
        return json.load(answer)["model_stats"][0]["inference_stats"]


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
        for connections in (1, 32):
            one_call(Path(folder) / "log", connections)
    memory_and_start()
