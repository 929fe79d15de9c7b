#!/usr/bin/env python3
"""Whether a handler in Python keeps memory: 200,000 requests and more, JSON and binary, REST and
gRPC, and the memory of the server before and after.

    pip install ./crates/python && python benches/python/soak.py [REQUESTS]

Ends with 1 where the memory has grown by more than 4 MiB after the first tenth.
"""

from __future__ import annotations

import json
import sys
import tempfile
import urllib.request
from pathlib import Path

from serving import bench, infer, rss, serving

GROWTH = 4 * 1024


def answered(rest: str) -> int:
    stats = json.load(urllib.request.urlopen(f"http://{rest}/v2/models/identity/stats"))
    return int(stats["model_stats"][0]["inference_stats"]["success"]["count"])


def main(wanted: int) -> int:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(cpus="0", said=Path(folder) / "log") as (rest, grpc, pid),
    ):
        def load() -> None:
            bench(
                rest, grpc, pid, "--only", "rest-json-16", "--only", "grpc-16", "--only",
                "rest-binary-150528", "--seconds", "2", "--warm-up", "0.2", "--no-floor",
            )

        infer(rest)
        while answered(rest) < wanted // 10:
            load()
        before, begun = rss(pid), answered(rest)
        while answered(rest) - begun < wanted:
            load()
        after, count = rss(pid), answered(rest) - begun
    print(f"{count} requests: {before / 1024:.1f} MiB before, {after / 1024:.1f} MiB after")
    return 0 if after - before <= GROWTH else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
