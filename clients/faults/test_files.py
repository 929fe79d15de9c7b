"""Files that may grow no further: what is written to them is lost or refused, and the server goes on."""

import http.client
import resource
import signal
import subprocess
import time

import pytest

from load import BODY
from oip_server import clean_environment, serve_arguments
from tokens import SECRET, token

LIMIT = 32 << 10


@pytest.mark.parametrize("refuses", [True, False], ids=["audit", "payloads"])
def test_a_file_that_may_grow_no_further_does_not_end_the_server(guarded, tmp_path, refuses):
    file = tmp_path / "lines.jsonl"
    flags = ("--audit-file", file, "--audit-failure", "refuse") if refuses else ("--payload-log", file)
    server = guarded("--auth-secret", SECRET, "--log-level", "off", *flags)
    # As `ulimit -f` would.
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))
    headers = {"Authorization": f"Bearer {token()}"}
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=20)
    statuses = []
    for _ in range(400):
        connection.request("POST", "/v2/models/m/infer", BODY, headers)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    assert set(statuses) == ({200, 503} if refuses else {200})
    assert statuses[0] == 200 and file.stat().st_size <= LIMIT
    # With room again, lines are written again.
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    end = time.monotonic() + 20
    while file.stat().st_size <= LIMIT:
        assert time.monotonic() < end, "nothing is written any more"
        connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=20)
        connection.request("POST", "/v2/models/m/infer", BODY, headers)
        connection.getresponse().read()
        connection.close()
        time.sleep(0.05)
    server.stop()


def test_sighup_in_the_first_moment_does_not_end_the_server(repository, tmp_path):
    """While its first lines are not even read: a service manager may reload it at once."""
    early = False
    for _ in range(5):
        process = subprocess.Popen(serve_arguments(repository, 0, 0), env=clean_environment(), cwd=tmp_path,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            caught = f"/proc/{process.pid}/status"
            end = time.monotonic() + 10
            # SIGTERM is listened to when the doors are bound, and these long before.
            while not signals_caught(caught) & 1 << signal.SIGHUP - 1:
                assert process.poll() is None and time.monotonic() < end
            early = early or not signals_caught(caught) & 1 << signal.SIGTERM - 1
            process.send_signal(signal.SIGHUP)
            while not signals_caught(caught) & 1 << signal.SIGTERM - 1:
                assert process.poll() is None and time.monotonic() < end
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()
    assert early, "SIGHUP is listened to as late as SIGTERM"


def signals_caught(path):
    with open(path) as status:
        return next((int(line.split()[1], 16) for line in status if line.startswith("SigCgt:")), 0)
