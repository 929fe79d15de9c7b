"""A server around the identity handler, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = Path(__file__).with_name("identity.py")


@contextmanager
def serving(*arguments: str, cpus: str, said: Path) -> Iterator[tuple[str, str, int]]:
    """Serves on these CPUs; gives the address of both doors and the number of the process."""
    command = [
        "taskset", "-c", cpus, sys.executable, "-m", "oip.cli", "serve", str(PROGRAM),
        "--rest-port", "0", "--grpc-port", "0", "--auth-enabled", "false", *arguments,
    ]
    with said.open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        doors: dict[str, str] = {}
        for line in process.stdout:
            if found := re.search(r"(REST|gRPC)  (?:http://)?(\S+)", line):
                doors[found[1]] = found[2]
            if len(doors) == 2:
                break
        yield doors["REST"], doors["gRPC"], process.pid
    finally:
        process.terminate()
        process.wait(20)


def bench(rest: str, grpc: str, pid: int, *arguments: str, quiet: bool = False) -> None:
    """Prints what `oip bench` says of that server, unless `quiet`."""
    command = [
        sys.executable, "-m", "oip.cli", "bench", "--url", f"http://{rest}",
        "--grpc-url", grpc, "--model", "identity", "--pid", str(pid), *arguments,
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL if quiet else None)


def infer(rest: str) -> None:
    """One request, so that everything is there."""
    body = b'{"inputs":[{"name":"input","datatype":"FP32","shape":[1],"data":[1]}]}'
    urllib.request.urlopen(f"http://{rest}/v2/models/identity/infer", body).read()


def rss(pid: int) -> int:
    """Memory of a process, in KiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0])
