"""Measures what a second replica brings: answers a second behind HAProxy with one and with two replicas.

    OIP_BINARY=target/release/oip python clients/deploy/figures.py [seconds]

Each replica may use one thread for connections and one for the model, so that two of them use what one cannot. The
proxy and the callers run on the same machine and take their part of it.
"""

import os
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import onnx_models  # noqa: E402
from oip_server import ROOT  # noqa: E402
from replicas import Load, Replicas  # noqa: E402

SIDE = 384  # The model multiplies matrices of this side: some ten milliseconds, so that the callers cost little beside it.
ONE_THREAD = ("--worker-threads=1", "--threads=1", "--model-concurrency=1")


def measure(repository, replicas, door, seconds, repeat=3):
    """The median of answers a second, and what failed."""
    with tempfile.TemporaryDirectory() as folder, Replicas(repository, pathlib.Path(folder), *ONE_THREAD) as pair:
        for which in range(replicas):
            pair.start(which)
        pair.wait_until_served()
        time.sleep(0.5)
        callers = {"rest": {"rest": 6, "streams": 0}, "grpc": {"rest": 0, "streams": 6}}[door]
        rates = []
        with Load(pair.port, "busy", "x", [SIDE, SIDE], [0.0] * SIDE**2, **callers) as load:
            time.sleep(1)
            for _ in range(repeat):
                before, began = load.count()[door], time.monotonic()
                time.sleep(seconds)
                rates.append((load.count()[door] - before) / (time.monotonic() - began))
        return statistics.median(rates), load.failures


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"{os.cpu_count()} processors, {seconds:g} s each, median of three")
    with tempfile.TemporaryDirectory() as folder:
        repository = pathlib.Path(folder)
        onnx_models.put(repository, "busy", (ROOT / "testdata" / "models" / "busy.onnx").read_bytes())
        for door in ("rest", "grpc"):
            for replicas in (1, 2):
                rate, failures = measure(repository, replicas, door, seconds)
                print(f"{door} {replicas} replica(s): {rate:.0f} answers/s, {len(failures)} failed", flush=True)
                if failures:
                    print("   ", failures[:3])


if __name__ == "__main__":
    main()
