"""The secured start of the README, word for word but for the ports and where things lie."""

import os
import re
import subprocess

import pytest

from guarded import Guarded
from oip_server import ROOT, clean_environment, find_binary, free_port

README = (ROOT / "README.md").read_text()
START, ASK = (block for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL) if "me.key" in block)


class Started(Guarded):
    def __init__(self, command, folder, rest_port, environment):
        self.rest_port, self.log_path = rest_port, folder / "oip.log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=folder, env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )
        try:
            self.wait_for("/v2/health/ready")
        except BaseException:
            self.kill()
            raise

    def stop(self):
        super(Guarded, self).stop()


@pytest.fixture
def terminal(tmp_path):
    """Where the commands run: the binary and the examples lie as they do in the project."""
    (tmp_path / "target/release").mkdir(parents=True)
    os.symlink(find_binary(), tmp_path / "target/release/oip")
    os.symlink(ROOT / "examples", tmp_path / "examples")
    return tmp_path


def test_the_secured_start_lets_the_key_in_and_nobody_else(terminal):
    rest = free_port()
    environment = clean_environment({"OIP_REST_PORT": str(rest), "OIP_GRPC_PORT": "0"})
    make, serve = START.strip().splitlines()
    subprocess.run(["bash", "-ec", make], cwd=terminal, env=environment, check=True)
    server = Started(serve, terminal, rest, environment)
    asked = ASK.replace("localhost:8082", f"127.0.0.1:{rest}")
    done = subprocess.run(["bash", "-ec", asked], cwd=terminal, env=environment, capture_output=True, text=True, check=True)
    answer, refusal = done.stdout.split("HTTP/1.1 ")
    assert '"model_name":"iris"' in answer and '"data":[0]' in answer
    assert refusal.startswith("401 ") and "needs authentication" in refusal
    key = (terminal / "me.key").read_text().splitlines()[0]
    assert key not in (terminal / "keys").read_text() and key not in server.log()
    assert "AUTHENTICATION IS OFF" not in server.log()
    server.stop()
