"""Models, policies, keys, certificates and settings change under load, and no request fails."""

import contextlib
import http.client
import json
import os
import signal
import ssl
import socket
import subprocess
import time

import pytest

import onnx_models
from load import BODY, Load
from oip_server import Server, find_binary, run_to_exit
from tokens import SECRET, token

POLICY = "permit(principal, action, resource);\n"


def replace(path, text):
    """A file is replaced as a whole, as an operator should."""
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.replace(beside, path)


def certificate(folder, name):
    """A key and a certificate of its own for `name`."""
    key, cert = folder / f"{name}.key", folder / f"{name}.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-addext", "basicConstraints=critical,CA:FALSE",
         "-keyout", key, "-out", cert], check=True, capture_output=True)
    return key.read_bytes(), cert.read_bytes()


def shown(server, port=None):
    """The certificate that a new connection is shown."""
    return ssl.get_server_certificate(("127.0.0.1", port or server.rest_port))


def wait_until(seen, limit=15):
    end = time.monotonic() + limit
    while not seen():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.05)


def test_everything_is_reloaded_under_load_without_a_failed_request(repository, tmp_path):
    onnx_models.put(repository, "m", onnx_models.add(1.0))
    secret, policy, tls_key, tls_cert = (tmp_path / name for name in ("secret", "policy.cedar", "tls.key", "tls.crt"))
    properties = tmp_path / "oip.properties"
    secret.write_text(SECRET)
    policy.write_text(POLICY)
    (one_key, one_cert), (two_key, two_cert) = (certificate(tmp_path, name) for name in ("one", "two"))
    tls_key.write_bytes(one_key)
    tls_cert.write_bytes(one_cert)
    properties.write_text("log_level=info\n")
    flags = ("--reload", "true", "--poll-interval", "100ms", "--auth-secret-file", secret, "--policy-file", policy,
             "--tls-cert", tls_cert, "--tls-key", tls_key)
    server = Server(repository, tmp_path / "oip.log", flags, {"KRAUSENING_BASE": str(tmp_path)}, None, auth=True)
    try:
        headers = [("Authorization", f"Bearer {token()}")]
        wait_until(lambda: "READY" in server.log())
        roots = one_cert + two_cert
        with Load(server, rest=4, grpc_callers=2, headers=headers, tls=True, roots=roots) as kept, \
                Load(server, rest=4, headers=headers, tls=True, kept=False) as fresh, \
                Load(server, grpc_callers=2, headers=headers, tls=True, roots=roots, kept=False) as calls:
            for turn in range(3):
                kept.wait_for(50)
                onnx_models.put(repository, "m", onnx_models.add(2.0 + turn))
                replace(policy, f"// turn {turn}\n" + POLICY)
                replace(secret, SECRET + "\n" * (turn % 2))
                replace(properties, f"log_level={('debug', 'warn', 'info')[turn]}\n")
                server.terminate(signal.SIGHUP)
                fresh.wait_for(20)
                calls.wait_for(5)
            replace(tls_key, two_key)
            replace(tls_cert, two_cert)
            wait_until(lambda: shown(server) == two_cert.decode())
            # Both doors have it.
            assert shown(server, server.grpc_port) == two_cert.decode()
            kept.wait_for(50)
            fresh.wait_for(20)
            calls.wait_for(10)
        assert [load.failures for load in (kept, fresh, calls)] == [[], [], []], server.log()
        assert [load.refused for load in (kept, fresh, calls)] == [0, 0, 0], server.log()
        assert "configuration changed" in server.log()
        server.stop()
    finally:
        server.kill()


def test_sighup_reads_the_settings_again_and_ends_nothing(served, tmp_path):
    properties = tmp_path / "oip.properties"
    properties.write_text("body_limit=1MiB\n")
    server = served(env={"KRAUSENING_BASE": str(tmp_path)})
    large = {"inputs": [], "more": "x" * 20_000}
    assert server.post("/v2/models/m/infer", large)[0] == 400
    replace(properties, "body_limit=10KiB\n")
    with Load(server, rest=4, grpc_callers=4) as load:
        load.wait_for(50)
        assert server.post("/v2/models/m/infer", large)[0] == 400, "nobody has asked for it yet"
        server.terminate(signal.SIGHUP)
        wait_until(lambda: server.post("/v2/models/m/infer", large)[0] == 413)
        replace(properties, "body_limit=rather large\n")
        server.terminate(signal.SIGHUP)
        server.wait_for_log("is not applied")
        load.wait_for(50)
    assert load.failures == []


def test_files_that_were_moved_away_are_followed_by_new_ones_at_sighup(guarded, tmp_path):
    audit, payloads = tmp_path / "audit.jsonl", tmp_path / "payloads.jsonl"
    server = guarded("--auth-secret", SECRET, "--audit-file", audit, "--payload-log", payloads)
    of_ann = {"Authorization": f"Bearer {token()}"}

    def ask(count):
        connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=20)
        with contextlib.closing(connection):
            for _ in range(count):
                connection.request("POST", "/v2/models/m/infer", BODY, of_ann)
                reply = connection.getresponse()
                assert (reply.status, bool(reply.read())) == (200, True)

    def lines(path):
        return path.read_text().splitlines() if path.exists() else []

    ask(3)
    wait_until(lambda: len(lines(payloads)) == 3)
    old = [path.rename(path.with_suffix(".1")) for path in (audit, payloads)]
    server.terminate(signal.SIGHUP)
    wait_until(audit.exists)
    ask(4)
    server.stop()
    assert [len(lines(path)) for path in old] == [3, 3]
    assert [len(lines(path)) for path in (audit, payloads)] == [4, 4]
    for path in (old[0], audit):
        assert run_to_exit([str(find_binary()), "audit", "verify", str(path)]).returncode == 0
    assert "audit head" in server.log() and "the audit begins a new file" in server.log()


def test_a_model_survives_what_happens_to_its_file(served, repository):
    server = served()
    file = next((repository / "m").rglob("*.onnx"))
    good = file.read_bytes()
    with Load(server, rest=4, grpc_callers=4) as load:
        load.wait_for(20)
        # Cut short in place, as a copy that has not ended is.
        with open(file, "r+b") as opened:
            opened.truncate(len(good) // 2)
        load.wait_for(20)
        status, said = server.post("/v2/repository/models/m/load")
        assert status == 400 and said["error"], said
        load.wait_for(20)
        file.write_bytes(b"")
        assert server.post("/v2/repository/models/m/load")[0] == 400
        file.unlink()
        load.wait_for(20)
        assert server.post("/v2/repository/models/m/load")[0] in (400, 404)
        load.wait_for(20)
        file.write_bytes(good)
        assert server.post("/v2/repository/models/m/load")[0] == 200
        load.wait_for(20)
    assert load.failures == []


def test_many_reloads_leave_no_memory_behind(served, repository, times):
    server = served()
    file = next((repository / "m").rglob("*.onnx"))

    def reload(turn):
        replace(file, onnx_models.add(float(turn)))
        assert server.post("/v2/repository/models/m/load")[0] == 200

    for turn in range(50):
        reload(turn)
    before = server.resident_mib()
    rounds = times(100, 1000)
    for turn in range(rounds):
        reload(turn)
    grown = server.resident_mib() - before
    print(f"\n{rounds} reloads: {before:.1f} MiB before, {grown:+.1f} MiB")
    assert grown < 16, f"{grown:.1f} MiB more after {rounds} reloads"


def test_a_handler_of_signals_is_told_by_the_service_manager_protocol(start, repository, tmp_path):
    onnx_models.put(repository, "m", onnx_models.add(1.0))
    path = tmp_path / "notify"
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(path))
        manager.settimeout(10)
        server = start(repository, env={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"})
        told = [manager.recv(4096) for _ in range(4)]
        assert any(line.startswith(b"READY=1\n") for line in told), told
        assert b"WATCHDOG=1" in told, told
        server.terminate(signal.SIGHUP)
        while not (line := manager.recv(4096)).startswith(b"RELOADING=1\nMONOTONIC_USEC="):
            assert line == b"WATCHDOG=1", line
        while not (line := manager.recv(4096)).startswith(b"READY=1"):
            assert line == b"WATCHDOG=1", line
        server.terminate()
        while not (line := manager.recv(4096)).startswith(b"STOPPING=1"):
            assert line == b"WATCHDOG=1", line
        assert server.wait_exit() == 0


def write_when_read(fifo, data):
    """Without waiting for ever for a reader that is gone."""
    until = time.monotonic() + 20
    while True:
        try:
            descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError:
            assert time.monotonic() < until, "nobody reads it"
            time.sleep(0.05)
    with open(descriptor, "wb") as file:
        file.write(data)


def test_a_reload_while_models_are_loaded_does_not_say_that_the_server_is_ready(start, repository, tmp_path):
    onnx_models.put(repository, "m", onnx_models.add(1.0))
    # A warm-up request that is not there yet: the load waits for whoever writes it.
    (repository / "m" / "model.toml").write_text('[[warmup]]\nfile = "slow.json"\n')
    request = repository / "m" / "slow.json"
    os.mkfifo(request)
    path = tmp_path / "notify"
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(path))
        manager.settimeout(10)
        server = start(repository, env={"NOTIFY_SOCKET": str(path)}, wait=None)
        assert server.status_of("/v2/health/ready") == 503
        # They are read one after the other: as the second begins, all is said of the first.
        for times in (1, 2):
            server.terminate(signal.SIGHUP)
            server.wait_for_log("SIGHUP: the configuration is read again", times)
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(4096)
        manager.settimeout(10)
        write_when_read(request, BODY)
        assert manager.recv(4096).startswith(b"READY=1\n")
        assert server.status_of("/v2/health/ready") == 200
