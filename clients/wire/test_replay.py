"""`oip replay`: which version it asks, how far it reads, and how it shows who asks."""

import json
import subprocess

import pytest

import onnx_models
from http_wire import call, tensor
from oip_server import clean_environment, find_binary, run_to_exit
from test_payloads import certificate, record, replay


@pytest.fixture
def kept(start, repository, tmp_path):
    """A file of five inferences."""
    path = tmp_path / "payloads.jsonl"
    record(start, repository, path)
    return path


def test_a_file_that_the_asked_server_writes_is_read_as_far_as_it_goes_at_the_start(start, repository, kept):
    server = start(repository, "--payload-log", kept)
    done = replay(kept, server)
    assert done.returncode == 0 and "5 alike, 0 differ" in done.stdout, done.stdout
    server.stop()
    assert len(kept.read_text().splitlines()) == 10


def test_the_version_that_was_asked_for_is_asked_for_again(start, repository, tmp_path):
    path = tmp_path / "payloads.jsonl"
    for version in (1, 2):
        onnx_models.put(repository, "m", onnx_models.add(float(version)), version)
    server = start(repository, "--payload-log", path)
    body = json.dumps({"inputs": [tensor("FP32", [1], [1.0])]}).encode()
    for where in ("m/versions/1", "m/versions/2", "m"):
        assert call(server, "POST", f"/v2/models/{where}/infer", body).status == 200
    server.stop()
    asked = [json.loads(line)["data"].get("asked_version") for line in path.read_text().splitlines()]
    assert asked == ["1", "2", None]
    onnx_models.put(repository, "n", onnx_models.add(2.0))
    server = start(repository)
    done = replay(path, server)
    assert done.returncode == 0 and "3 alike, 0 differ" in done.stdout, done.stdout
    done = replay(path, server, "--model-version", "2")
    assert "2 alike, 1 differ" in done.stdout, done.stdout
    # Another model has versions of its own.
    done = replay(path, server, "--model", "n")
    assert "2 alike, 1 differ" in done.stdout, done.stdout


def api_key(folder):
    """A key, and the files of it for a client and for a server."""
    made = subprocess.run([find_binary(), "apikey", "new", "--id", "ann"], env=clean_environment(), check=True,
                          stdout=subprocess.PIPE, text=True)
    key, line = made.stdout.splitlines()
    (folder / "key").write_text(f"{key}\n")
    (folder / "keys").write_text(f"{line}\n")
    return folder / "key", folder / "keys"


def test_who_asks_is_shown_by_a_key_and_the_first_refusal_ends_it(start, repository, kept, tmp_path):
    key, keys = api_key(tmp_path)
    server = start(repository, "--auth-api-keys-file", keys, "--access-log", "text", auth=True)
    done = replay(kept, server)
    assert done.returncode == 1 and "0 alike, 1 differ" in done.stdout, done.stdout
    assert "line 1" in done.stdout and "refused with 401" in done.stdout, done.stdout
    done = replay(kept, server, "--api-key-file", key)
    assert done.returncode == 0 and "5 alike" in done.stdout, done.stdout
    server.stop()
    assert server.log().count('/infer" 401 ') == 1
    (tmp_path / "empty").write_text("\n")
    for wrong in (["--api-key-file", tmp_path / "none"], ["--api-key-file", tmp_path / "empty"],
                  ["--api-key-file", key, "--token-file", key]):
        assert replay(kept, server, *map(str, wrong)).returncode == 2, wrong


def test_a_server_is_trusted_by_the_authority_that_is_named(start, repository, kept, tmp_path):
    pem, key = certificate(tmp_path)
    server = start(repository, "--tls-cert", pem, "--tls-key", key, wait=None)
    where = [str(find_binary()), "replay", str(kept), "--url", f"https://{server.rest}"]
    done = run_to_exit(where)
    assert done.returncode == 1 and "5 could not be asked" in done.stdout, done.stdout
    done = run_to_exit([*where, "--ca-file", str(pem)])
    assert done.returncode == 0 and "5 alike" in done.stdout, done.stdout
