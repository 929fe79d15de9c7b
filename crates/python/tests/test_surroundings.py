"""How a server gets on with the rest of a Python program: its logging, its processes, and what is
not installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

RUNNING = """
import logging, os, sys, urllib.error, urllib.request
import oip

class Fails(oip.ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        raise KeyError("lost")

def server(**settings):
    return oip.Server(Fails(), rest_port=0, grpc_port=0, auth_enabled=False, **settings)

def ask(url):
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'
    try:
        return urllib.request.urlopen(url + "/v2/models/m/infer", body, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code
"""


def run(
    tmp_path: Path, program: str, *arguments: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    file = tmp_path / "program.py"
    file.write_text(RUNNING + program)
    ended = subprocess.run(
        [sys.executable, file, *arguments], capture_output=True, text=True, timeout=60,
        check=False, env={**os.environ, **environment},
    )
    assert ended.returncode == 0, ended.stderr
    return ended


def test_the_programs_own_logging_gets_every_line(tmp_path: Path) -> None:
    ended = run(tmp_path, """
logging.basicConfig(format="MINE %(name)s %(levelname)s %(message)s", stream=sys.stdout)
with server(log_level="info") as running:
    assert ask(running.url) == 500
""")
    lines = ended.stdout.splitlines()
    assert any(line.startswith("MINE oip.handler ERROR infer of model 'm'") for line in lines)
    assert any(re.match(r"MINE oip\.server\S* INFO stopped", line) for line in lines), lines
    assert ended.stderr == ""


def test_a_level_of_the_program_is_kept(tmp_path: Path) -> None:
    ended = run(tmp_path, """
logging.basicConfig(stream=sys.stdout)
logging.getLogger("oip").setLevel(logging.CRITICAL)
with server(log_level="debug") as running:
    assert ask(running.url) == 500
""")
    assert ended.stdout == "" and ended.stderr == ""


def test_a_forked_child_ends_and_the_server_goes_on(tmp_path: Path) -> None:
    ended = run(tmp_path, """
with server(log_level="off") as running:
    child = os.fork()
    if child == 0:
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert ask(running.url) == 500
print("ended")
""")
    assert ended.stdout == "ended\n"


def test_processes_of_the_program_start_beside_a_server(tmp_path: Path) -> None:
    ended = run(tmp_path, """
import multiprocessing

def double(x):
    return 2 * x

if __name__ == "__main__":
    with server(log_level="off") as running:
        for method in ("fork", "spawn"):
            with multiprocessing.get_context(method).Pool(2) as pool:
                assert pool.map(double, [1, 2]) == [2, 4]
        assert ask(running.url) == 500
    print("ended")
""")
    assert ended.stdout == "ended\n"


def test_without_ml_dtypes_bf16_is_its_bits(tmp_path: Path) -> None:
    ended = run(tmp_path, """
sys.modules["ml_dtypes"] = None
import numpy as np
from oip.testing import client

class Echo(oip.ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        x = payload.inputs[0].numpy()
        return oip.ResponseOutput("y", [2], "BF16", data=x)

with client(Echo()) as asked:
    bits = np.array([0x3FC0, 0xC000], np.uint16)
    sent = oip.RequestInput("x", [2], "BF16", data=bits)
    back = asked.infer("m", oip.InferenceRequest([sent])).output("y").numpy()
print(back.dtype, back.tolist())
""")
    assert ended.stdout == f"uint16 {[0x3FC0, 0xC000]}\n"


def test_the_programs_own_arguments_are_not_the_servers(tmp_path: Path) -> None:
    """The original gives them to KServe's parser, which takes ports and workers from them."""
    ended = run(tmp_path, """
import json

class Tells(oip.ModelHandler):
    def infer(self, payload, model_name, model_version=None):
        return {"pid": [os.getpid()]}

running = oip.Server(Tells(), auth_enabled=False).start()
body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}'
pids = set()
for _ in range(8):
    with urllib.request.urlopen(running.url + "/v2/models/m/infer", body, timeout=10) as answer:
        pids.update(json.load(answer)["outputs"][0]["data"])
port = int(running.url.rsplit(":", 1)[1])
running.stop()
# Processes that share the work would answer from elsewhere.
print("told", port not in (0, 1), pids == {os.getpid()}, sys.argv[1:])
""", "--workers", "4", "--http_port", "1", "--grpc_port=1", OIP_REST_PORT="0", OIP_GRPC_PORT="0")
    arguments = ["--workers", "4", "--http_port", "1", "--grpc_port=1"]
    assert f"told True True {arguments}" in ended.stdout, ended.stdout


def test_a_server_that_is_open_says_so_and_louder_beyond_this_machine(tmp_path: Path) -> None:
    here = "AUTHENTICATION IS OFF: everyone on this machine"
    loud = "AUTHENTICATION IS OFF AND THIS SERVER LISTENS BEYOND THIS MACHINE"
    for settings, said in (("", here), ("rest_host='0.0.0.0'", loud), ("grpc_host='0.0.0.0'", loud)):
        ended = run(tmp_path, f"""
logging.basicConfig(stream=sys.stdout)
running = server({settings}).start()
port = running.url.rsplit(":", 1)[1]
ask(f"http://127.0.0.1:{{port}}")
running.stop()
""")
        warned = [line for line in ended.stdout.splitlines() if line.startswith("WARNING")]
        assert sum(said in line for line in warned) == 1, ended.stdout
        assert (here in ended.stdout) != (loud in ended.stdout), ended.stdout
