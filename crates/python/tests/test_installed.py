"""What a user has after `pip install`, in an environment with nothing else: the guide's first
example. The environment's Python is named by OIP_CLEAN_PYTHON."""

from __future__ import annotations

import os
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest

from test_cli import DOOR

GUIDE = Path(__file__).parents[3] / "docs" / "python.md"
PYTHON = os.environ.get("OIP_CLEAN_PYTHON")
pytestmark = pytest.mark.skipif(
    not PYTHON or not GUIDE.exists(), reason="OIP_CLEAN_PYTHON is not set"
)


def test_the_first_example_of_the_guide_runs_as_it_is_written(tmp_path: Path) -> None:
    guide = GUIDE.read_text()
    program, commands = re.findall(r"```(?:python|console)\n(.*?)```", guide, re.DOTALL)[:2]
    (tmp_path / "main.py").write_text(program)
    serve, curl = commands.strip().splitlines()
    path, body = re.findall(r"localhost:8082(\S+) -d '(.*)'", curl)[0]
    process = subprocess.Popen(
        [Path(str(PYTHON)).parent / "oip", *serve.split()[1:], "--rest-port", "0", "--grpc-port", "0"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if found := re.search(DOOR, line):
                break
        else:
            pytest.fail("".join(said))
        with urllib.request.urlopen(f"http://{found[1]}{path}", body.encode(), timeout=20) as answer:
            assert b'"data":[2.0,4.0]' in answer.read()
    finally:
        process.terminate()
        process.wait(10)


def test_the_command_is_on_the_path_of_the_environment() -> None:
    command = [Path(str(PYTHON)).parent / "oip", "--version"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    assert ended.stdout.startswith("oip 0.")
