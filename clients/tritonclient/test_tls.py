"""TLS and client certificates with the clients that people use: tritonclient by HTTP and gRPC, curl."""

import contextlib
import json
import shutil
import ssl
import subprocess
import time
import urllib.request

import numpy
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

import certificates
import onnx_models
from oip_server import clean_environment, find_binary, free_port

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


class Secured:
    """A server over TLS with the model `m`, and its clients."""

    def __init__(self, pki, repository, log, *flags):
        self.pki, self.log_path = pki, log
        self.rest, self.grpc = f"localhost:{free_port()}", f"localhost:{free_port()}"
        arguments = [
            find_binary(), "serve", repository, "--rest-port", self.rest.split(":")[1], "--grpc-port", self.grpc.split(":")[1],
            "--tls-cert", pki / "server.pem", "--tls-key", pki / "server.key", *flags,
        ]
        with open(log, "wb") as file:
            self.process = subprocess.Popen(
                [str(a) for a in arguments], env=clean_environment(), cwd=log.parent,
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            )
        for _ in range(1000):
            assert self.process.poll() is None, log.read_text()
            if "curl" in log.read_text():
                return
            time.sleep(0.02)
        raise AssertionError(log.read_text())

    def files(self, name):
        return {"certfile": str(self.pki / f"{name}.pem"), "keyfile": str(self.pki / f"{name}.key")} if name else {}

    def http_client(self, name=None):
        options = {"ca_certs": str(self.pki / "ours.pem")} | self.files(name)
        return tritonclient.http.InferenceServerClient(self.rest, ssl=True, ssl_options=options)

    def grpc_client(self, name=None):
        files = self.files(name)
        return tritonclient.grpc.InferenceServerClient(
            self.grpc, ssl=True, root_certificates=str(self.pki / "ours.pem"),
            private_key=files.get("keyfile"), certificate_chain=files.get("certfile"),
        )

    def curl(self, path, *flags):
        command = ["curl", "-s", "-w", "\n%{http_version} %{http_code}", *map(str, flags), f"https://{self.rest}{path}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(10) == 0, self.log_path.read_text()
        text = self.log_path.read_text()
        assert "panicked" not in text and "BEGIN" not in text, text


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    certificates.authority(folder, "ours")
    certificates.authority(folder, "theirs")
    certificates.server(folder, "ours")
    certificates.client(folder, "ours", "alice")
    certificates.client(folder, "theirs", "mallory")
    return folder


@pytest.fixture
def secured(pki, repository, tmp_path):
    onnx_models.put(repository, "m", onnx_models.add(1))
    with contextlib.ExitStack() as stack:
        def start(*flags, pki=pki):
            server = Secured(pki, repository, tmp_path / "oip.log", *flags)
            stack.callback(server.process.kill)
            return server
        yield start


def one_more(client, module):
    """Runs the model, which adds one, through either kind of client."""
    x = module.InferInput("IN", [2], "FP32")
    x.set_data_from_numpy(numpy.array([1, 2], dtype=numpy.float32))
    return client.infer("m", [x]).as_numpy("OUT").tolist()


def test_tritonclient_and_curl_run_a_model_over_tls(secured):
    server = secured("--auth-enabled", "false")
    assert one_more(server.http_client(), tritonclient.http) == [2, 3]
    assert one_more(server.grpc_client(), tritonclient.grpc) == [2, 3]
    for version, flag in (("2", "--http2"), ("1.1", "--http1.1")):
        ran = server.curl("/v2/health/ready", "--cacert", server.pki / "ours.pem", flag)
        body, _, told = ran.stdout.rpartition("\n")
        assert told == f"{version} 200" and json.loads(body)["ready"] is True, ran
    assert server.curl("/v2", "--cacert", server.pki / "theirs.pem").returncode == 60
    assert f"REST  https://127.0.0.1:{server.rest.split(':')[1]}" in server.log_path.read_text()
    server.stop()


def test_a_client_certificate_is_the_caller_and_nobody_else_gets_in(secured, pki, tmp_path):
    audit = tmp_path / "audit.jsonl"
    server = secured("--tls-client-ca", pki / "ours.pem", "--audit-file", audit)
    assert one_more(server.http_client("alice"), tritonclient.http) == [2, 3]
    assert one_more(server.grpc_client("alice"), tritonclient.grpc) == [2, 3]
    with pytest.raises(InferenceServerException, match="(?i)permi|allow|may not"):
        server.grpc_client("alice").load_model("m")
    subjects = {json.loads(line)["subject"] for line in audit.read_text().splitlines()}
    assert subjects == {"alice"}
    for name in (None, "mallory"):
        with pytest.raises(Exception):
            server.http_client(name).get_model_metadata("m")
        with pytest.raises(InferenceServerException):
            server.grpc_client(name).get_model_metadata("m", client_timeout=5)
        files = server.files(name)
        shown = ["--cert", files["certfile"], "--key", files["keyfile"]] if files else []
        assert server.curl("/v2/health/live", "--cacert", pki / "ours.pem", *shown).returncode != 0
    assert len(audit.read_text().splitlines()) == 3
    server.stop()


def test_a_renewed_certificate_is_shown_within_seconds_and_a_broken_one_never(secured, pki, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(pki, own)
    server = secured("--auth-enabled", "false", pki=own)
    held = server.http_client()
    assert held.is_server_ready()
    (own / "server.pem").write_text("-----BEGIN CERTIFICATE-----\nnothing\n")
    time.sleep(5)
    assert server.http_client().is_server_ready()
    text = server.log_path.read_text()
    assert "tls_cert" in text and "stays in force" in text and "nothing" not in text, text
    certificates.server(own, "theirs", "next")
    for suffix in ("pem", "key"):
        (own / f"next.{suffix}").replace(own / f"server.{suffix}")
    context = ssl.create_default_context(cafile=own / "theirs.pem")
    for _ in range(100):
        with contextlib.suppress(OSError):
            if urllib.request.urlopen(f"https://{server.rest}/v2/health/live", context=context, timeout=5).status == 200:
                break
        time.sleep(0.1)
    else:
        raise AssertionError(server.log_path.read_text())
    assert held.is_server_ready()
    held.close()
    server.stop()


def test_plain_http_is_told_to_use_https(secured):
    server = secured("--auth-enabled", "false")
    ran = subprocess.run(["curl", "-s", f"http://{server.rest}/v2"], capture_output=True, text=True, timeout=20)
    assert "https://" in json.loads(ran.stdout)["error"], ran
    server.stop()
