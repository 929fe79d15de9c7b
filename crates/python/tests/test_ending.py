"""How a process ends while a handler is still at work."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HANDLERS = """
import sys, threading, time, urllib.request
import oip

BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'

class Plain(oip.ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        print("busy", flush=True)
        while True:
            pass

class Stubborn(oip.ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        print("busy", flush=True)
        while True:
            try:
                time.sleep(0)
            except BaseException:
                pass

class Async(oip.ModelHandler):
    async def infer(self, payload, model_name, model_version=None):
        print("busy", flush=True)
        while True:
            pass

def ask(url):
    threading.Thread(target=urllib.request.urlopen, args=(url + "/v2/models/m/infer", BODY), daemon=True).start()

settings = dict(rest_port=0, grpc=False, auth_enabled=False, shutdown_grace="300ms")
"""


def begun(*command: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def told_to_end(process: "subprocess.Popen[str]", after: str) -> tuple[int, str]:
    """Its code and what it said last, once it was told to end when it had said that."""
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if after in line:
                break
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
        return process.returncode, said
    finally:
        process.kill()


@pytest.mark.parametrize("kind", ["Plain", "Stubborn", "Async"])
def test_a_program_on_the_command_line_ends_as_it_should_while_its_handler_is_busy(
    tmp_path: Path, kind: str
) -> None:
    program = tmp_path / "main.py"
    server = f"server = oip.Server({kind}(), **settings)"
    # It asks itself once it is there.
    asks = """
def first():
    import socket
    while True:
        time.sleep(0.05)
        try:
            socket.create_connection(("127.0.0.1", PORT)).close()
            return ask(f"http://127.0.0.1:{PORT}")
        except OSError:
            pass
"""
    port = free_port()
    text = HANDLERS + asks.replace("PORT", str(port)) + server
    program.write_text(text.replace("rest_port=0", f"rest_port={port}") + "\nthreading.Thread(target=first, daemon=True).start()\n")
    code, said = told_to_end(begun("-m", "oip.cli", "serve", program), "busy")
    assert code == 0, said


def test_a_busy_handler_in_a_folder_of_models_lets_the_process_end(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "1"
    folder.mkdir(parents=True)
    metadata = """
    def model_metadata(self, model_name, model_version=None):
        tensors = [oip.MetadataTensor("x", "FP32", [-1])]
        return oip.ModelMetadataResponse(model_name, ["1"], "python", tensors, tensors)
"""
    plain = HANDLERS.partition("class Stubborn")[0]
    (folder / "model.py").write_text(plain + metadata)
    port = free_port()
    process = begun(
        "-m", "oip.cli", "serve", tmp_path, "--rest-port", port, "--grpc", "false",
        "--auth-enabled", "false", "--shutdown-grace", "300ms",
    )
    asks = f"{HANDLERS}\nask('http://127.0.0.1:{port}'); time.sleep(20)"
    assert process.stdout is not None
    for line in process.stdout:
        if "READY" in line.upper():
            break
    asking = begun("-c", asks)
    try:
        code, said = told_to_end(process, "busy")
    finally:
        asking.kill()
    assert code == 0, said


def free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.mark.parametrize("kind", ["Plain", "Async"])
@pytest.mark.parametrize(("last", "code"), [("", 0), ("sys.exit(7)", 7), ("raise KeyError('lost')", 1)])
def test_a_script_that_stops_nothing_ends_with_its_own_code(
    tmp_path: Path, kind: str, last: str, code: int
) -> None:
    program = tmp_path / "main.py"
    program.write_text(
        HANDLERS + f"server = oip.Server({kind}(), **settings).start()\nask(server.url)\ntime.sleep(0.5)\n" + last
    )
    ended = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (code, "busy\n"), ended.stderr


def test_what_was_cut_off_is_in_the_log_with_the_place_where_it_was(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(HANDLERS + "server = oip.Server(Plain(), **settings).start()\nask(server.url)\ntime.sleep(0.5)\n")
    ended = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=30, check=False)
    assert "infer of model 'm': CutOff" in ended.stderr
    assert "the process ended while this ran" in ended.stderr
    assert "while True:" in ended.stderr or "pass" in ended.stderr


def test_serve_returns_and_the_program_goes_on_to_its_end(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(
        HANDLERS
        + "server = oip.Server(Plain(), **settings)\n"
        "def first():\n"
        "    while server._running is None:\n"
        "        time.sleep(0.05)\n"
        "    ask(server.url)\n"
        "threading.Thread(target=first, daemon=True).start()\n"
        "server.serve()\n"
        "print('served', flush=True)\n"
        "sys.exit(5)\n"
    )
    began = time.monotonic()
    code, said = told_to_end(begun(program), "busy")
    assert code == 5 and "served" in said, said
    assert time.monotonic() - began < 20
