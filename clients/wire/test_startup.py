"""Ways to start, and starts that must fail with one clear line."""

import socket
import subprocess
import time

import pytest

import onnx_models
from http_wire import assert_error, call, infer, tensor
from oip_server import clean_environment, free_port, run_to_exit, serve_arguments, find_binary


def assert_refused(result, *needles):
    assert result.returncode not in (0, 101), (result.returncode, result.stdout)
    assert result.returncode > 0, f"killed by signal {-result.returncode}"
    assert "panicked" not in result.stdout, result.stdout
    assert any(all(str(n) in line for n in needles) for line in result.stdout.splitlines()), result.stdout


def test_a_repository_that_does_not_exist_is_named(tmp_path):
    missing = tmp_path / "missing"
    assert_refused(run_to_exit(serve_arguments(missing, free_port(), free_port())), missing)


def test_a_repository_that_is_a_file_is_named(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    assert_refused(run_to_exit(serve_arguments(file, free_port(), free_port())), file)


@pytest.mark.parametrize("door", ["rest", "grpc"])
def test_a_port_in_use_is_named_and_nothing_is_served(repository, door):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port, other = taken.getsockname()[1], free_port()
        ports = (port, other) if door == "rest" else (other, port)
        assert_refused(run_to_exit(serve_arguments(repository, *ports)), port)


@pytest.mark.parametrize(
    "flag, value",
    [
        ("--rest-port", "abc"), ("--rest-port", "70000"), ("--rest-port", "-1"), ("--grpc-port", ""), ("--auth-enabled", "perhaps"),
        ("--auth-enabled", ""), ("--model-control", "sometimes"), ("--threads", "many"), ("--threads", "-2"),
        ("--shutdown-grace", "soon"), ("--shutdown-grace", "-5"), ("--no-such-flag", "1"), ("--rest-prot", "8080"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(repository, flag, value):
    arguments = [str(find_binary()), "serve", "--model-repository", str(repository)]
    if not flag.startswith("--auth"):
        arguments += ["--auth-enabled", "false"]
    assert_refused(run_to_exit(arguments + [f"{flag}={value}"]), flag)


@pytest.mark.parametrize("name, value", [("OIP_REST_PORT", "abc"), ("FASTAPI_PORT", "x"), ("AUTH_ENABLED", "tru"), ("OIP_AUTH_ENABLED", "2")])
def test_a_value_of_the_environment_that_makes_no_sense_is_refused_by_name(repository, name, value):
    arguments = [str(find_binary()), "serve", "--model-repository", str(repository)]
    assert_refused(run_to_exit(arguments, env={name: value}), name)


def test_authentication_without_a_key_refuses_to_start(repository):
    assert_refused(run_to_exit(serve_arguments(repository, free_port(), free_port(), auth=True)), "auth")


def test_an_unknown_flag_has_a_name_near_it(repository):
    result = run_to_exit([str(find_binary()), "serve", str(repository), "--rest-prot", "1"])
    assert "--rest-port" in result.stdout


def test_an_empty_repository_is_served(start, repository):
    server = start(repository)
    assert call(server, "POST", "/v2/repository/index", b"{}").json() == []
    assert call(server, "GET", "/v2/health/ready").json() == {"ready": True, "live": True}
    assert_error(call(server, "GET", "/v2/models/m"), 404)


def test_without_a_repository_the_default_handler_is_not_implemented(start):
    server = start(None)
    for path in ("/v2", "/v2/health/live", "/v2/health/ready"):
        assert call(server, "GET", path).status == 200
    assert_error(infer(server, "any", {"inputs": [tensor("FP32", [1], [1])]}), 501)
    assert_error(call(server, "GET", "/v2/models/any"), 501)


def ask(server, name):
    reply = infer(server, name, {"inputs": [tensor("FP32", [1], [1])]})
    assert reply.status == 200, reply.body
    return reply.json()["outputs"][0]["data"]


@pytest.mark.parametrize("path", ["model.onnx", "any-name.onnx", "3/model.onnx"])
def test_with_a_model_name_the_folder_may_be_the_model_itself(start, repository, path):
    file = repository / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(onnx_models.add(1))
    server = start(repository, "--model-name", "mine")
    assert ask(server, "mine") == [2]
    assert server.get("/v2/models/mine")[1]["versions"] == [path.split("/")[0] if "/" in path else "1"]


def test_the_repository_may_stand_as_a_plain_argument(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(1))
    assert ask(start(None, repository), "m") == [2]


def test_one_port_serves_rest(start, repository):
    """`--port` alone: gRPC on the same port is for the gRPC clients' tests."""
    port = free_port()
    onnx_models.put(repository, "m", onnx_models.add(1))
    arguments = serve_arguments(repository, extra=["--port", port])
    process = subprocess.Popen(arguments, env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()


def wait_for_port(port):
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"nothing listens on {port}")


def test_names_of_the_environment_and_of_the_original_are_read(repository):
    port, grpc = free_port(), free_port()
    env = clean_environment({"FASTAPI_PORT": str(port), "GRPC_PORT": str(grpc), "AUTH_ENABLED": "off"})
    process = subprocess.Popen([str(find_binary()), "serve", str(repository)], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        wait_for_port(grpc)
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_the_start_prints_models_versions_engines_addresses_and_a_curl_line(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(1), version=4)
    server = start(repository)
    text = server.wait_for_log("curl")
    for needle in ("m", "4", str(server.rest_port), str(server.grpc_port), "curl", "/v2/models/m/infer"):
        assert needle in text, text
