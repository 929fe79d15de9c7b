"""The ServingRuntime of the documentation, and every argument of KServe's own server, start this one."""

import json
import re
import subprocess

import pytest
import yaml
from kserve.model_server import parser

from oip_server import ROOT, Server, clean_environment, find_binary, free_port

DOCUMENT = (ROOT / "docs/configuration.md").read_text()
RUNTIME = yaml.safe_load(re.search(r"```yaml\n(command: .*?)```", DOCUMENT, re.DOTALL)[1])
ENGINE = ["--onnxruntime-library", "off"]

# A value for each argument; what is not here has one that its kind tells.
VALUES = {"model_name": "iris", "predictor_host": "iris-predictor.default", "access_log_format": "%(client_addr)s",
          "grpc_max_receive_message_length": "-1", "log_config_file": "/etc/log.yaml"}
# What means something here.
HONOURED = {"http_port", "grpc_port", "model_name", "enable_grpc", "enable_docs_url", "enable_latency_logging",
            "access_log_format", "grpc_max_receive_message_length", "timeout_keep_alive", "ssl_certfile", "ssl_keyfile"}


class Started(Server):
    """A server of a whole command line, in which the ports stand."""

    def __init__(self, arguments, rest_port, grpc_port, log_path):
        self.rest_port, self.grpc_port, self.log_path = rest_port, grpc_port, log_path
        with open(log_path, "wb") as log:
            self.process = subprocess.Popen(
                arguments, env=clean_environment(), cwd=log_path.parent,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )
        try:
            self.wait_for("/v2/health/ready")
        except BaseException:
            self.kill()
            raise


@pytest.fixture
def mounted(tmp_path, examples):
    """What KServe mounts at /mnt/models: a folder with one model file."""
    iris = next(folder for folder in examples if folder.name == "iris")
    folder = tmp_path / "mnt-models"
    folder.mkdir()
    (folder / "model.onnx").write_bytes((iris / "1/model.onnx").read_bytes())
    return folder, json.loads((iris / "sample-request.json").read_text())


def answers(server, request):
    status, answer = server.post("/v2/models/iris/infer", request)
    assert status == 200, answer
    assert server.get("/v2/models/iris/ready") == (200, {"name": "iris", "ready": True})
    return answer["outputs"]


def test_the_serving_runtime_of_the_documentation_serves_a_model(mounted, tmp_path):
    folder, request = mounted
    rest, grpc = free_port(), free_port()
    stands_for = {"{{.Name}}": "iris", "/mnt/models": str(folder), "=8080": f"={rest}", "=8081": f"={grpc}"}
    arguments = [str(argument) for argument in RUNTIME["args"]]
    for written, here in stands_for.items():
        assert sum(written in argument for argument in arguments) == 1, written
        arguments = [argument.replace(written, here) for argument in arguments]
    assert RUNTIME["command"] == ["oip", "serve"]
    server = Started([str(find_binary()), "serve", *arguments, *ENGINE], rest, grpc, tmp_path / "oip.log")
    assert answers(server, request)
    server.stop()


def sample(action):
    """An argument as a ServingRuntime writes it."""
    name = action.option_strings[0]
    if action.nargs == 0:
        return name
    value = VALUES.get(action.dest) or (action.choices and action.choices[-1])
    if not value:
        is_boolean = isinstance(action.default, bool)
        value = str(action.default) if is_boolean else "/etc/tls.pem" if "file" in action.dest else "7"
    return f"{name}={value}"


ACTIONS = {action.dest: action for action in parser._actions if action.dest != "help"}


def test_every_argument_of_kserves_server_is_accepted_and_what_means_nothing_here_is_said(mounted, tmp_path):
    folder, request = mounted
    rest, grpc = free_port(), free_port()
    given = {dest: sample(action) for dest, action in ACTIONS.items() if not dest.startswith("ssl_")}
    given |= {"http_port": f"--http_port={rest}", "grpc_port": f"--grpc_port={grpc}"}
    parser.parse_args(list(given.values()))  # so they are what KServe takes
    arguments = [*given.values(), f"--model_dir={folder}", "--auth-enabled=false", *ENGINE]
    server = Started([str(find_binary()), "serve", *arguments], rest, grpc, tmp_path / "oip.log")
    assert answers(server, request)
    said = [line for line in server.log().splitlines() if "accepted without effect" in line]
    for dest in set(given) - HONOURED:
        # `workers` is a key of ours as well: that of programs in Python.
        key = dest if dest == "workers" else f"kserve_{dest.removeprefix('kserve_')}"
        assert sum(f'key="{key}"' in line for line in said) == 1, (dest, said)
    assert len(said) == len(set(given) - HONOURED)
    server.stop()


def test_the_files_of_tls_are_those_of_ours():
    files = [sample(ACTIONS[dest]) for dest in ("ssl_certfile", "ssl_keyfile")]
    command = [find_binary(), "config", "--auth-enabled=false", *files]
    printed = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=20).stdout
    assert "\ntls_cert=/etc/tls.pem\n" in printed and "\ntls_key=/etc/tls.pem\n" in printed


def test_every_argument_of_kserves_server_stands_in_the_table_of_the_documentation():
    table = DOCUMENT[DOCUMENT.index("| KServe's argument | here |"):].split("\n\n")[0]
    for action in ACTIONS.values():
        assert f"`{action.option_strings[0]}`" in table, action.option_strings[0]
