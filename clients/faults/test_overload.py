"""Too much of anything: answers come at once, memory stays bounded, others are served."""

import contextlib
import fcntl
import http.client
import json
import os
import resource
import signal
import socket
import statistics
import struct
import subprocess
import threading
import time

import pytest

import onnx_models
from load import BODY, Load, metric
from oip_server import clean_environment, free_port, serve_arguments


def median_ms(server, count=100):
    """How long one caller waits for an answer."""
    took = []
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    with contextlib.closing(connection):
        for _ in range(count):
            began = time.perf_counter()
            connection.request("POST", "/v2/models/m/infer", BODY)
            reply = connection.getresponse()
            reply.read()
            took.append(time.perf_counter() - began)
            assert reply.status == 200
    return statistics.median(took) * 1000


@pytest.fixture
def many(times):
    """Room for so many sockets in this process and the server."""
    wanted = times(500, 5000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = wanted * 2 + 500
    if hard != resource.RLIM_INFINITY and hard < room:
        pytest.skip(f"at most {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, room), hard))
    yield wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("sent", [b"", b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Le",
                                  b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 90\r\n\r\n{"],
                         ids=["silent", "half a head", "half a body"])
def test_connections_that_wait_slow_nobody_else(served, many, sent):
    server = served()
    alone = median_ms(server)
    with contextlib.ExitStack() as held:
        for _ in range(many):
            waiting = held.enter_context(socket.create_connection(("127.0.0.1", server.rest_port), 20))
            waiting.sendall(sent)
        with_others = median_ms(server)
        memory = server.resident_mib()
        assert memory < 400
    print(f"\n{many} connections: {alone:.2f} ms alone, {with_others:.2f} ms beside them, {memory:.0f} MiB")
    assert with_others < 3 * alone + 5, f"{alone:.2f} ms alone, {with_others:.2f} ms beside {many}"


def serve_idle(server, count, held):
    """So many connections, each of which has been served and rests."""
    for _ in range(count):
        connection = held.enter_context(contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=20)))
        connection.request("GET", "/v2/health/live")
        assert connection.getresponse().read() == b'{"live":true}'


def test_the_limit_of_open_files_is_raised_at_the_start(served):
    server = served(open_files=(100, 1000))
    with contextlib.ExitStack() as held:
        serve_idle(server, 150, held)
        assert metric(server, "process_max_fds") == 1000 and metric(server, "process_open_fds") > 150
    assert "at most 1000 files may be open" in server.log()


def test_a_server_that_may_open_few_files_says_so_and_goes_on_serving(served):
    server = served(open_files=(100, 100))
    assert "at most 100 files may be open: room for" in server.log()
    with contextlib.ExitStack() as held:
        serve_idle(server, 150, held)
        assert metric(server, "process_open_fds") < 100
        # Who has rested for less than half a second makes no room.
        time.sleep(0.6)
        assert median_ms(server, 10) < 1000


def test_memory_under_ten_times_the_load_stays_within_the_documented_bound(start, repository, busy):
    onnx_models.put(repository, "busy", busy)
    onnx_models.put(repository, "m", onnx_models.add(1.0))
    body_memory_mib = 16
    server = start(repository, "--body-limit", "4MiB", "--body-memory", f"{body_memory_mib}MiB",
                   "--in-flight", "8", "--model-queue", "8")
    server.post("/v2/models/m/infer", json.loads(BODY))
    base = server.resident_mib()
    side = 700
    data = ",".join(["0.25"] * (side * side))
    body = f'{{"inputs":[{{"name":"x","datatype":"FP32","shape":[{side},{side}],"data":[{data}]}}]}}'.encode()
    answers, most = [], [0.0]

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
        with contextlib.closing(connection), contextlib.suppress(ConnectionError):
            connection.request("POST", "/v2/models/busy/infer", body)
            began = time.monotonic()
            reply = connection.getresponse()
            reply.read()
            answers.append((reply.status, time.monotonic() - began))

    # 80 bodies of 2.4 MB want 190 MB where 16 MiB are allowed.
    threads = [threading.Thread(target=ask) for _ in range(80)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most[0] = max(most[0], server.resident_mib())
        time.sleep(0.01)
    statuses = [status for status, _ in answers]
    assert set(statuses) <= {200, 429} and 200 in statuses and statuses.count(429) > 20, statuses
    # docs/reliability.md: five times the memory of bodies, and the answers of what runs.
    bound = base + 5 * body_memory_mib + 8 * 2 * side * side * 4 * 4 / 2**20 + 32
    assert most[0] < bound, f"{most[0]:.0f} MiB, allowed {bound:.0f} (at rest {base:.0f})"
    assert metric(server, "oip_limit_reached_total", limit="body_memory") + metric(
        server, "oip_limit_reached_total", limit="in_flight") + metric(
        server, "oip_limit_reached_total", limit="model_queue") > 20


def test_a_full_queue_of_a_model_is_refused_and_counted(start, repository, busy):
    onnx_models.put(repository, "busy", busy)
    server = start(repository, "--model-queue", "1")
    side = 700
    # Binary: large JSON is read in turn, and might not come faster than the model computes.
    raw = struct.pack("<f", 0.25) * side * side
    head = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [side, side],
                                   "parameters": {"binary_data_size": len(raw)}}]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    statuses = []

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
        with contextlib.closing(connection), contextlib.suppress(ConnectionError):
            connection.request("POST", "/v2/models/busy/infer", head + raw, headers)
            reply = connection.getresponse()
            reply.read()
            statuses.append(reply.status)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 429} and 200 in statuses and 429 in statuses, statuses
    counted = {limit: metric(server, "oip_limit_reached_total", limit=limit)
               for limit in ("model_queue", "in_flight", "body_memory")}
    assert counted["model_queue"] >= statuses.count(429) and counted["in_flight"] == counted["body_memory"] == 0, counted


def test_parameters_beyond_what_a_request_may_have_in_all_are_refused_and_take_little_memory(start, repository):
    onnx_models.put(repository, "s", onnx_models.identity("BYTES"))
    server = start(repository, "--body-memory", "64MiB")
    parameters = ",".join(f'"{number:03x}":1' for number in range(1000))
    tensor = f'{{"name":"IN","datatype":"BYTES","shape":[0],"data":[],"parameters":{{{parameters}}}}}'
    base = server.resident_mib()
    body = f'{{"inputs":[{",".join([tensor] * 1000)}]}}'.encode()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)) as connection:
        connection.request("POST", "/v2/models/s/infer", body)
        reply = connection.getresponse()
        said = reply.read()
    assert reply.status == 400 and b"more than 16384 parameters in the request" in said, said
    assert metric(server, "oip_limit_reached_total", limit="parameters_limit") == 1
    peak = next(int(line.split()[1]) / 1024 for line in open(f"/proc/{server.pid}/status") if line.startswith("VmHWM"))
    assert peak - base < 40, f"{peak - base:.0f} MiB for a body of {len(body) >> 20} MiB"


def test_millions_of_empty_strings_are_refused_and_take_little_memory(start, repository):
    onnx_models.put(repository, "s", onnx_models.identity("BYTES"))
    server = start(repository)
    count = 20_000_000
    head = f'{{"inputs":[{{"name":"IN","datatype":"BYTES","shape":[{count}],"data":['
    base = server.resident_mib()
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    with contextlib.closing(connection):
        body = head.encode() + b'"",' * (count - 1) + b'""]}]}'
        connection.request("POST", "/v2/models/s/infer", body)
        reply = connection.getresponse()
        said = reply.read()
    assert reply.status == 400 and b"BYTES elements" in said, said
    peak = next(int(line.split()[1]) / 1024 for line in open(f"/proc/{server.pid}/status") if line.startswith("VmHWM"))
    assert peak - base < 350, f"{peak - base:.0f} MiB for a body of 60 MB"


@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary"])
def test_millions_of_dimensions_are_refused_and_take_little_memory(start, repository, binary):
    onnx_models.put(repository, "s", onnx_models.identity("FP32"))
    server = start(repository)
    body = b'{"inputs":[{"name":"IN","datatype":"FP32","shape":[' + b"1," * 30_000_000 + b'1],"data":[0]}]}'
    headers = {"Inference-Header-Content-Length": str(len(body))} if binary else {}
    base = server.resident_mib()
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", "/v2/models/s/infer", body, headers)
        reply = connection.getresponse()
        said = reply.read()
    assert reply.status == 400 and b"input 'IN': more than 1024 dimensions" in said, said
    peak = next(int(line.split()[1]) / 1024 for line in open(f"/proc/{server.pid}/status") if line.startswith("VmHWM"))
    assert peak - base < 200, f"{peak - base:.0f} MiB for a body of 60 MB"


def test_a_log_that_cannot_be_written_stops_nobody(repository, tmp_path):
    onnx_models.put(repository, "m", onnx_models.add(1.0))
    port = free_port()
    arguments = serve_arguments(repository, port, free_port(), extra=("--access-log", "text", "--latency-log", "true"))
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen(arguments, env=clean_environment(), cwd=tmp_path, stdin=subprocess.DEVNULL,
                                   stdout=full, stderr=full)
    try:
        end, statuses = time.monotonic() + 20, []
        while len(statuses) < 50:
            assert process.poll() is None and time.monotonic() < end
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            with contextlib.closing(connection), contextlib.suppress(ConnectionError):
                connection.request("POST", "/v2/models/m/infer", BODY)
                status = connection.getresponse().status
                statuses += [status] if status == 200 else []
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def test_a_caller_beyond_its_rate_is_told_when_to_come_back(served):
    server = served("--rate-limit", "5")
    statuses = [server.post("/v2/models/m/infer", json.loads(BODY))[0] for _ in range(8)]
    assert statuses[:5] == [200] * 5 and 429 in statuses[5:], statuses
    assert metric(server, "oip_limit_reached_total", limit="rate_limit") >= 1
    time.sleep(0.5)
    assert server.post("/v2/models/m/infer", json.loads(BODY))[0] == 200


def test_sockets_that_are_handed_over_are_served(repository, tmp_path):
    """What systemd does: the sockets are there before the server, and it is told their names."""
    onnx_models.put(repository, "m", onnx_models.add(1.0))
    rest, grpc_socket = socket.socket(), socket.socket()
    for listener in (rest, grpc_socket):
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
    given = [fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD, 10) for listener in (grpc_socket, rest)]
    script = f'export LISTEN_PID=$$; exec "$@" 3<&{given[0]} 4<&{given[1]}'
    environment = clean_environment({"LISTEN_FDS": "2", "LISTEN_FDNAMES": "grpc:rest"})
    log = open(tmp_path / "oip.log", "wb")
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", *serve_arguments(repository)], env=environment, cwd=tmp_path,
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=given)
    for fd in given:
        os.close(fd)
    port = rest.getsockname()[1]
    try:
        end = time.monotonic() + 20
        while True:
            # Nobody is refused while the server starts: they wait.
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            with contextlib.closing(connection):
                connection.request("GET", "/v2/health/ready")
                if connection.getresponse().status == 200:
                    break
            assert time.monotonic() < end, (tmp_path / "oip.log").read_text()

        class There:
            rest_port, grpc_port = port, grpc_socket.getsockname()[1]

        with Load(There, rest=2, grpc_callers=2) as load:
            load.wait_for(50)
        assert load.failures == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        log.close()
        rest.close()
        grpc_socket.close()
