"""payload_log: what was sent and answered as CloudEvents, and `oip replay` of them."""

import base64
import http.server
import json
import os
import ssl
import stat
import subprocess
import threading
import time

import onnx_models
from http_wire import call, infer, tensor
from oip_server import find_binary, run_to_exit, serve_arguments


def ask(server, value, model="m"):
    return infer(server, model, {"id": f"r{value}", "inputs": [tensor("FP32", [1], [value])]})


def binary(server, value):
    import struct

    head = json.dumps({
        "inputs": [{"name": "IN", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}],
        "parameters": {"binary_data_output": True},
    }).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return call(server, "POST", "/v2/models/m/infer", head + struct.pack("<f", value), headers)


def record(start, repository, path, *extra):
    """A file with five inferences: two as JSON, one binary, one refused and one of no model."""
    onnx_models.put(repository, "m", onnx_models.add(1))
    server = start(repository, "--payload-log", path, *extra)
    assert ask(server, 1.0).status == 200 and ask(server, 2.0).status == 200
    assert binary(server, 3.0).status == 200
    assert infer(server, "m", {"inputs": [tensor("FP32", [1], [1.0, 2.0])]}).status == 400
    assert ask(server, 1.0, "nope").status == 404
    server.stop()
    return server


def replay(path, server, *extra):
    arguments = [str(find_binary()), "replay", str(path), "--url", f"http://{server.rest}", *extra]
    return run_to_exit(arguments)


def test_every_inference_is_one_event_errors_too(start, repository, tmp_path):
    path = tmp_path / "payloads.jsonl"
    server = record(start, repository, path)
    assert "EVERY TENSOR THAT IS SENT AND ANSWERED IS KEPT" in server.log()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(events) == 5 and len({event["id"] for event in events}) == 5
    first = events[0]
    assert (first["specversion"], first["subject"], first["data"]["version"]) == ("1.0", "m", "1")
    assert first["data"]["status"] == {"code": "200"}
    assert first["data"]["request"]["json"]["inputs"][0]["data"] == [1.0]
    assert first["data"]["response"]["json"]["outputs"][0]["data"] == [2.0]
    sent = events[2]["data"]["request"]
    assert base64.b64decode(sent["base64"])[sent["header_length"]:] == b"\x00\x00\x40\x40"
    assert [event["data"]["status"]["code"] for event in events[3:]] == ["400", "404"]
    assert events[3]["data"]["status"]["error"] and "response" not in events[3]["data"]


def test_a_replay_tells_what_differs_beyond_the_tolerance(start, repository, tmp_path):
    path = tmp_path / "payloads.jsonl"
    record(start, repository, path)
    same = start(repository)
    done = replay(path, same)
    assert done.returncode == 0 and "5 alike, 0 differ" in done.stdout, done.stdout
    onnx_models.put(repository, "m", onnx_models.add(1.5), 2)
    assert call(same, "POST", "/v2/repository/models/m/load", b"").status == 200
    done = replay(path, same, "--model-version", "2")
    assert done.returncode == 1 and "differ" in done.stdout and "'OUT'" in done.stdout, done.stdout
    done = replay(path, same, "--model-version", "2", "--atol", "0.6")
    assert "0 differ" in done.stdout, done.stdout
    assert replay(tmp_path / "none", same).returncode == 2
    same.stop()
    done = replay(path, same)
    assert done.returncode == 1 and "5 could not be asked" in done.stdout, done.stdout


def answering(status, kind, body):
    """A server that answers everything so."""
    class Door(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    door = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=door.serve_forever, daemon=True).start()
    door.rest = f"127.0.0.1:{door.server_address[1]}"
    return door


def test_a_replay_counts_refusals_for_load_apart_and_shows_no_bytes(start, repository, tmp_path):
    path = tmp_path / "payloads.jsonl"
    record(start, repository, path)
    full = answering(429, "application/json", b'{"error":"full"}')
    done = replay(path, full)
    assert done.returncode == 1 and "0 differ, 5 refused for want of room or time" in done.stdout, done.stdout
    full.shutdown()
    odd = answering(404, "application/octet-stream", b"\x1b]0;gotcha\x07\x00\xff")
    done = replay(path, odd)
    assert "13 bytes of application/octet-stream" in done.stdout and "\x1b" not in done.stdout, done.stdout
    odd.shutdown()


def test_a_replay_goes_on_after_a_line_that_cannot_be_read_and_sends_what_was_sent(start, repository, tmp_path):
    path = tmp_path / "payloads.jsonl"
    onnx_models.put(repository, "m", onnx_models.add(1))
    server = start(repository, "--payload-log", path)
    head = b'{"inputs":[{"name":"IN","shape":[1],"datatype":"FP32","data":[1]'
    for odd in (b',"more":1e400}]}', b',"more":"\\ud800"}]}', b',"more":' + b"[" * 60 + b"]" * 60 + b"}]}"):
        call(server, "POST", "/v2/models/m/infer", head + odd, {"Content-Type": "application/json"})
    end = time.monotonic() + 5
    while time.monotonic() < end and path.read_bytes().count(b"\n") < 3:
        time.sleep(0.02)
    server.kill()
    with open(path, "ab") as file:
        file.write(b'{"specversion":"1.0","da')
    server = start(repository, "--payload-log", path)
    assert ask(server, 1.0).status == 200
    server.stop()
    with open(path, "ab") as file:
        file.write(b"\xff\xfe\n")
    same = start(repository)
    done = replay(path, same)
    assert "4 alike, 0 differ" in done.stdout and "2 could not be read" in done.stdout, done.stdout
    assert done.returncode == 1 and "line 4 cannot be read" in done.stdout, done.stdout


def test_events_go_to_an_address_and_one_that_hangs_slows_nobody(start, repository):
    got = []

    class Sink(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.headers["Content-Type"], json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            if len(got) > 1:
                time.sleep(3)
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    sink = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    onnx_models.put(repository, "m", onnx_models.add(1))
    server = start(repository, "--payload-log", f"http://127.0.0.1:{sink.server_address[1]}/events")
    began = time.monotonic()
    for value in range(3):
        assert ask(server, float(value)).status == 200
    assert time.monotonic() - began < 2
    end = time.monotonic() + 5
    while time.monotonic() < end and not got:
        time.sleep(0.02)
    kind, event = got[0]
    assert kind == "application/cloudevents+json" and event["data"]["model"] == "m"
    server.kill()
    sink.shutdown()


def certificate(folder):
    """For 127.0.0.1, signed by itself: (certificate, key)."""
    paths = folder / "sink.pem", folder / "sink.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=sink", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
         "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


def test_an_address_is_shown_a_token_and_headers_and_trusted_by_its_authorities(start, repository, tmp_path):
    got = []

    class Sink(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.headers["Authorization"], self.headers["X-Tenant"]))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    sink = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    pem, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    sink.socket = context.wrap_socket(sink.socket, server_side=True)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    token = tmp_path / "token"
    token.write_text("s3cret-one\n")
    onnx_models.put(repository, "m", onnx_models.add(1))
    to = ["--payload-log", f"https://127.0.0.1:{sink.server_address[1]}/events", "--payload-log-token-file", token]
    trusted = start(repository, *to, "--payload-log-ca-file", pem, env={"OIP_PAYLOAD_LOG_HEADERS": "x-tenant=a7"})
    strict = start(repository, *to)
    for server in (trusted, strict):
        assert ask(server, 1.0).status == 200
    strict.wait_for_log("payloads cannot be kept")
    # It is read each time.
    token.write_text("s3cret-two\n")
    end = time.monotonic() + 5
    while time.monotonic() < end and len(got) < 1:
        time.sleep(0.02)
    assert ask(trusted, 2.0).status == 200
    trusted.stop()
    assert got[0][1] == "a7" and got[-1] == ("Bearer s3cret-two", "a7") and len(got) == 2, got
    assert "s3cret" not in trusted.log() and "a7" not in trusted.log()
    sink.shutdown()


def test_plain_http_to_another_machine_is_possible_where_that_is_said_and_warned_about(start, repository):
    server = start(repository, "--payload-log", "http://events.invalid/x", "--payload-log-plain-http", "true")
    assert "KEPT TENSORS ARE SENT UNENCRYPTED" in server.log()


def test_plain_http_to_another_machine_and_a_file_that_cannot_be_are_refused(repository):
    for where in ("http://events.example/x", "/nowhere/at/all/payloads.jsonl"):
        done = run_to_exit(serve_arguments(repository, extra=["--payload-log", where]))
        assert done.returncode == 2 and "payload_log" in done.stdout, done.stdout


def test_without_the_option_nothing_is_kept(start, repository, tmp_path):
    onnx_models.put(repository, "m", onnx_models.add(1))
    server = start(repository)
    assert ask(server, 1.0).status == 200
    assert "KEPT" not in server.log() and not list(tmp_path.glob("*.jsonl"))
