"""The same handlers and the same requests before the Python original and before us. Every
difference is on the list in `differences.py`, with its reason.

Needs an environment with the original installed, named by OIP_ORIGINAL_PYTHON.
"""

from __future__ import annotations

import fnmatch
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cases import Case, cases
from compare import normal
from differences import DIFFERENCES, Difference
from handlers import Handlers
from oip import Server

HERE = Path(__file__).parent
PYTHON = os.environ.get("OIP_ORIGINAL_PYTHON")
pytestmark = pytest.mark.skipif(not PYTHON, reason="OIP_ORIGINAL_PYTHON is not set")


@pytest.fixture(scope="module")
def ours() -> Iterator[str]:
    with Server(Handlers(), rest_port=0, grpc_port=0, auth_enabled=False) as server:
        yield server.url


@pytest.fixture(scope="module")
def theirs() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "SIDE": "original", "AUTH_ENABLED": "false", "PYTHONPATH": ""}
    process = subprocess.Popen(
        [str(PYTHON), "serve_original.py", str(port)],
        cwd=HERE, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{url}/v2/health/live", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(_Stay)


def ask(url: str, case: Case) -> tuple[int, bytes]:
    request = urllib.request.Request(url + case.path, case.body, case.headers, method=case.method)
    try:
        with _opener.open(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def reviewed(name: str) -> Difference | None:
    for difference in DIFFERENCES:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in difference.cases):
            return difference
    return None


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_answer_is_the_originals_or_the_difference_is_reviewed(
    ours: str, theirs: str, case: Case
) -> None:
    ours_answer, theirs_answer = normal(*ask(ours, case)), normal(*ask(theirs, case))
    known = reviewed(case.name)
    if known is None:
        assert ours_answer == theirs_answer
    else:
        statuses = (theirs_answer[0], ours_answer[0])
        assert ours_answer != theirs_answer, f"no difference any more: {known.reason}"
        assert statuses == (known.theirs, known.ours), known.reason


def test_every_reviewed_difference_concerns_a_case() -> None:
    names = [case.name for case in cases()]
    for difference in DIFFERENCES:
        for pattern in difference.cases:
            assert fnmatch.filter(names, pattern), f"{pattern}: {difference.reason}"


def test_there_are_more_than_two_hundred_requests() -> None:
    assert len(cases()) > 200
