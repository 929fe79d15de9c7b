"""Starts the peers that are installed, each with a model that returns its inputs, and measures them beside ours.

    python measure.py --environments FOLDER --oip target/release/oip -- --seconds 3 --repeat 3 --plot plots

FOLDER is what `install.sh` made; a peer that is not in it is left out. What follows `--` goes to `oip bench`. Servers run on
the first half of the CPUs, as `oip bench` has it. Only the standard library is needed.
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

IDENTITY = pathlib.Path(__file__).parent / "identity"
STARTING_S = 90


def mlserver(python, folder, http, grpc):
    subprocess.run([python, IDENTITY / "mlserver_identity.py", folder, str(http), str(grpc), str(free_port())], check=True)
    return [python.parent / "mlserver", "start", folder], {"PYTHONPATH": str(IDENTITY)}


def kserve(python, folder, http, grpc):
    return [python, IDENTITY / "kserve_identity.py", "--http_port", http, "--grpc_port", grpc], {}


def original(python, folder, http, grpc):
    return [python, IDENTITY / "original_identity.py"], {"AUTH_ENABLED": "false", "FASTAPI_PORT": str(http)}


def triton(python, folder, http, grpc):
    return [python, IDENTITY / "triton_identity.py", folder, http, grpc], {}


def furnace(program, folder, http, grpc):
    return [program, http, grpc], {}


# How each is started, and whether it has a gRPC door that clients of the protocol can use.
PEERS = {"triton": (triton, True), "mlserver": (mlserver, True), "kserve": (kserve, True), "original": (original, False), "furnace": (furnace, True)}
# What runs it, where that is not Python.
PROGRAMS = {"furnace": "furnace-identity"}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def server_cpus():
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[: len(cpus) // 2] or cpus


def start(name, program, folder):
    """The running process and its flags for `oip bench`."""
    make, has_grpc = PEERS[name]
    http, grpc = free_port(), free_port()
    command, environment = make(program, folder, http, grpc)
    cpus = server_cpus()
    process = subprocess.Popen(
        [str(word) for word in command],
        env={**os.environ, **environment},
        cwd=folder,
        stdout=(folder / "log").open("w"),
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        start_new_session=True,
    )
    flags = ["--url", f"{name}=127.0.0.1:{http}", "--pid", f"{name}={process.pid}"]
    flags += ["--grpc-url", f"{name}=127.0.0.1:{grpc}"] if has_grpc else []
    return process, flags, f"http://127.0.0.1:{http}/v2/models/identity/ready"


def wait(process, url):
    """Whether it has become ready."""
    until = time.monotonic() + STARTING_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return True
        time.sleep(0.3)
    return False


def stop(process):
    """Ends a server and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=pathlib.Path, required=True, help="the folder that install.sh made")
    parser.add_argument("--oip", default=shutil.which("oip") or "target/release/oip", help="the program `oip`")
    parser.add_argument("--only", action="append", choices=PEERS, help="measure this peer only; may be repeated")
    parser.add_argument("bench", nargs="*", help="flags for `oip bench`")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        room = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oip-peers-")))
        flags = []
        for name in arguments.only or PEERS:
            program = arguments.environments.absolute() / name / "bin" / PROGRAMS.get(name, "python")
            if not program.exists():
                print(f"{name}: not installed, left out", file=sys.stderr)
                continue
            folder = room / name
            folder.mkdir()
            process, its_flags, url = start(name, program, folder)
            stack.callback(stop, process)
            if wait(process, url):
                flags += its_flags
            else:
                tail = (folder / "log").read_text(errors="replace").splitlines()[-5:]
                print(f"{name}: does not start, left out:", *tail, sep="\n  ", file=sys.stderr)
        if not flags:
            return 1
        return subprocess.run([arguments.oip, "bench", "--own", *flags, *arguments.bench]).returncode


if __name__ == "__main__":
    sys.exit(main())
