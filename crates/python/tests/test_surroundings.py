"""How a server gets on with the rest of a Python program: its logging, its processes, and what is
not installed."""

from __future__ import annotations

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


def run(tmp_path: Path, program: str) -> "subprocess.CompletedProcess[str]":
    file = tmp_path / "program.py"
    file.write_text(RUNNING + program)
    ended = subprocess.run(
        [sys.executable, file], capture_output=True, text=True, timeout=60, check=False
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
