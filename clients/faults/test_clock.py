"""The clock of the machine jumps while the server runs: tokens follow it, time-outs do not."""

import glob
import http.client
import json
import os
import time

import pytest

from load import BODY, Load
from tokens import SECRET, token

# Debian's package faketime. The server's program calls the C library for the time, where this answers.
FAKETIME = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), None)
HOUR = 3600

pytestmark = pytest.mark.skipif(FAKETIME is None, reason="faketime is not installed")


@pytest.fixture
def clock(tmp_path):
    """Sets the clock so many seconds before or behind the true one."""
    file = tmp_path / "clock"

    def jump(seconds):
        beside = tmp_path / "clock.new"
        beside.write_text(f"{seconds:+d}s")
        os.replace(beside, file)

    jump(0)
    # Only the time of day jumps: the monotonic clock does not on a real machine either.
    jump.environment = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
                        "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return jump


def status(server, shown):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=10)
    connection.request("POST", "/v2/models/m/infer", BODY, {"Authorization": f"Bearer {shown}"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_a_token_holds_by_the_clock_as_it_is_now_forward_and_back(guarded, clock):
    server = guarded("--auth-secret", SECRET, env=clock.environment)
    now = int(time.time())
    ours, later = token(exp=now + 600, nbf=now - 60), token(exp=now + 3 * HOUR, nbf=now + HOUR)
    for jump, holds in [(0, ours), (2 * HOUR, later), (0, ours), (-2 * HOUR, None), (0, ours), (9 * HOUR, None)]:
        clock(jump)
        expected = {ours: 200 if holds == ours else 401, later: 200 if holds == later else 401}
        assert {shown: status(server, shown) for shown in (ours, later)} == expected, f"{jump} s"


def test_requests_and_connections_do_not_time_out_when_the_clock_jumps(guarded, clock):
    flags = ("--auth-enabled", "false", "--request-timeout", "5s", "--connection-idle", "20s", "--body-timeout", "5s")
    server = guarded(*flags, env=clock.environment)
    kept = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=10)

    def ask():
        kept.request("POST", "/v2/models/m/infer", BODY)
        answer = kept.getresponse()
        assert answer.status == 200 and json.loads(answer.read())["outputs"]

    ask()
    socket = kept.sock
    with Load(server, rest=2, grpc_callers=2) as load:
        for jump in (2 * HOUR, -2 * HOUR, 0):
            # Half of a body before the jump, half after it.
            kept.putrequest("POST", "/v2/models/m/infer")
            kept.putheader("Content-Length", str(len(BODY)))
            kept.endheaders(BODY[:20])
            clock(jump)
            time.sleep(0.2)
            kept.send(BODY[20:])
            assert kept.getresponse().read()
            ask()
            load.wait_for(50)
    assert load.failures == []
    assert kept.sock is socket, "the connection was closed"
    kept.close()
