"""SIGTERM under load loses no request; a second signal ends at once; kill -9 leaves nothing broken."""

import contextlib
import http.client
import json
import signal
import socket
import threading
import time

import pytest

import onnx_models
from load import BODY, Load, metric
from oip_server import free_port

CALLERS = 32


def drain_under_load(server, rest, grpc_callers, sig=signal.SIGTERM):
    with Load(server, rest, grpc_callers) as load:
        load.wait_for(200)
        server.terminate(sig)
        code = server.wait_exit()
        # Each goes on until nobody takes its connection any more.
        for caller in load.threads:
            caller.join(20)
    assert (code, load.failures) == (0, []), server.log()
    assert "everything in flight was answered" in server.log()
    return load


def test_a_stop_under_load_of_both_doors_loses_no_request(served, times):
    answered = 0
    for turn in range(times(5, 20)):
        rest = CALLERS // 2 if turn % 2 else CALLERS - 8
        load = drain_under_load(served(), rest, CALLERS - rest)
        assert load.refused == CALLERS
        answered += load.answered
    print(f"\n{turn + 1} stops under {CALLERS} connections: {answered} answered, none lost")


def test_a_stop_with_a_delay_serves_all_that_come_until_it_is_over(served):
    server = served("--shutdown-delay", "1")
    with Load(server, rest=8, grpc_callers=8) as load:
        load.wait_for(50)
        server.terminate()
        server.wait_for("/v2/health/ready", 503)
        load.wait_for(50)
        assert server.status_of("/v2/health/live") == 200
        code = server.wait_exit()
    assert (code, load.failures) == (0, []), server.log()


def test_connections_that_come_one_by_one_are_answered_or_refused(served):
    server = served()
    with Load(server, rest=16, kept=False) as load:
        load.wait_for(100)
        server.terminate()
        assert server.wait_exit() == 0
    # Between the last look at the waiting connections and the end of listening the system may
    # still take one that nobody sees.
    assert len(load.failures) <= 1, load.failures


def test_collectors_that_hang_hold_a_stop_up_for_no_longer_than_is_said(served, tmp_path):
    with contextlib.ExitStack() as held:
        hanging = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        traces, payloads = (f"http://127.0.0.1:{one.getsockname()[1]}" for one in hanging)
        server = served("--otlp-endpoint", traces, "--payload-log", payloads + "/events")
        for _ in range(20):
            assert server.post("/v2/models/m/infer", json.loads(BODY))[0] == 200
        began = time.monotonic()
        server.terminate()
        assert server.wait_exit(12) == 0
        took = time.monotonic() - began
    # docs/reliability.md, "Stopping": 5 s for all of them, and nothing is in flight.
    assert 4 < took < 6.5, f"{took:.1f} s"
    assert "are given up" in server.log() and "panicked" not in server.log(), server.log()


def test_metrics_at_their_own_port_are_read_until_everything_is_answered(start, repository):
    onnx_models.put(repository, "waits", onnx_models.add(1.0))
    # A request waits for others, which do not come.
    (repository / "waits" / "model.toml").write_text(
        '[batching]\nmax_batch_size = 8\nmax_queue_delay = "3 s"\nadaptive = false\n')
    port = free_port()
    server = start(repository, "--metrics-port", port)
    answered = []
    asks = threading.Thread(target=lambda: answered.append(server.post("/v2/models/waits/infer", json.loads(BODY))[0]))
    asks.start()
    watcher = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(watcher):
        def figures():
            watcher.request("GET", "/metrics")
            return watcher.getresponse().read().decode()

        while 'oip_in_flight{door="rest"} 1' not in figures():
            time.sleep(0.02)
        server.terminate()
        # The door does not listen any more.
        while True:
            try:
                server.status_of("/v2/health/live")
            except ConnectionRefusedError:
                break
            time.sleep(0.02)
        fresh = socket.create_connection(("127.0.0.1", port), 5)
        with contextlib.closing(fresh):
            fresh.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            seen = b"".join(iter(lambda: fresh.recv(65536), b"")).decode()
        for text in (seen, figures()):
            assert "oip_ready 0" in text and 'oip_in_flight{door="rest"} 1' in text
        asks.join()
        # The connection that rests holds nothing up.
        assert server.wait_exit(3) == 0
    assert answered == [200] and "connections=" not in server.log(), server.log()


def test_a_second_signal_ends_at_once(served):
    server = served("--shutdown-delay", "30")
    server.terminate()
    server.wait_for("/v2/health/ready", 503)
    began = time.monotonic()
    server.terminate()
    assert server.wait_exit(5) == 1
    assert time.monotonic() - began < 2
    assert "a second signal" in server.log()


@pytest.mark.parametrize("flags", [(), ("--audit-file", "audit")])
def test_after_a_kill_the_next_start_serves_at_the_same_place(start, repository, tmp_path, flags, times):
    onnx_models.put(repository, "m", onnx_models.add(1.0))
    path = tmp_path / "oip.sock"
    for _ in range(times(2, 10)):
        server = start(repository, "--grpc-socket", path, *flags)
        with Load(server, rest=4) as load:
            load.wait_for(50)
            server.kill()
        assert path.is_socket(), "the file of the socket is left behind"
    server = start(repository, "--grpc-socket", path, *flags)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    server.stop()
    assert not path.exists()


def test_a_client_that_leaves_within_its_body_or_before_its_answer_is_counted(start, repository, busy):
    onnx_models.put(repository, "busy", busy)
    server = start(repository)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.rest_port)) as client:
            client.sendall(b"POST /v2/models/busy/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{")
            time.sleep(0.05)
    end = time.monotonic() + 5
    while metric(server, "oip_bodies_cut_short_total") < 3:
        assert time.monotonic() < end, "not counted"
        time.sleep(0.05)
    side = 1024
    head = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [side, side],
                                   "parameters": {"binary_data_size": side * side * 4}}]}).encode()
    lines = (f"POST /v2/models/busy/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {len(head) + side * side * 4}\r\n"
             f"Inference-Header-Content-Length: {len(head)}\r\n\r\n").encode()
    end = time.monotonic() + 20
    while metric(server, "oip_requests_cancelled_total") < 1:
        assert time.monotonic() < end, "not counted"
        # Several at once: the later ones wait for the first, and leave the queue.
        leaving = [socket.create_connection(("127.0.0.1", server.rest_port)) for _ in range(4)]
        for client in leaving:
            client.sendall(lines + head + bytes(side * side * 4))
        time.sleep(0.05)
        for client in leaving:
            client.close()
        time.sleep(0.1)
    assert server.status_of("/v2/health/live") == 200
