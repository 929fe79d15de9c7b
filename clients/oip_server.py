"""Starts the built binary `oip`, waits until it is ready, and stops it."""

import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
START_LIMIT_S = 60
STOP_LIMIT_S = 10

# Settings of the machine that runs the tests must not reach the server under test.
FOREIGN_PREFIXES = ("OIP_", "OTEL_", "FASTAPI_", "GRPC_", "AUTH_", "KSERVE_", "KRAUSENING_")


def find_binary():
    """The binary named by OIP_BINARY, else the release build, else the debug build."""
    named = os.environ.get("OIP_BINARY")
    candidates = [named] if named else [ROOT / "target/release/oip", ROOT / "target/debug/oip"]
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return pathlib.Path(candidate).resolve()
    raise FileNotFoundError(f"no binary at {' or '.join(map(str, candidates))}: cargo build first")


def free_port(but=None):
    """A port that was free a moment ago on 127.0.0.1, and is not `but`."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # The system may give the same one twice.
        if port != but:
            return port


def clean_environment(extra=None):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN_PREFIXES)}
    return kept | (extra or {})


def serve_arguments(repository=None, rest_port=None, grpc_port=None, auth=False, extra=()):
    arguments = [str(find_binary()), "serve"]
    if repository is not None:
        arguments += ["--model-repository", str(repository)]
    if rest_port is not None:
        arguments += ["--rest-port", str(rest_port)]
    if grpc_port is not None:
        arguments += ["--grpc-port", str(grpc_port)]
    if not auth:
        arguments += ["--auth-enabled", "false"]
    return arguments + [str(a) for a in extra]


def run_to_exit(arguments, timeout=20, env=None, cwd=None):
    """Runs a start that is expected to fail; returns the completed process with its text."""
    return subprocess.run(
        arguments, env=clean_environment(env), cwd=cwd, timeout=timeout,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace",
    )


class Server:
    """One running `oip serve`; REST and gRPC on free ports of 127.0.0.1."""

    def __init__(self, repository, log_path, extra=(), env=None, wait="ready", auth=False, status=200,
                 one_port=False, open_files=None):
        self.rest_port = free_port()
        self.grpc_port = self.rest_port if one_port else free_port(but=self.rest_port)
        self.log_path = pathlib.Path(log_path)
        self.repository = repository
        ports = (self.rest_port, self.grpc_port)
        if one_port:
            ports, extra = (None, None), ["--port", self.rest_port, *extra]
        arguments = serve_arguments(repository, *ports, auth, extra)
        if open_files is not None:
            # (soft, hard)
            limited = "ulimit -Sn {0} && ulimit -Hn {1} && exec \"$@\"".format(*open_files)
            arguments = ["sh", "-c", limited, "sh", *arguments]
        with open(self.log_path, "wb") as log:
            # Its own folder, so that no oip.properties of the caller is picked up.
            self.process = subprocess.Popen(
                arguments, env=clean_environment(env), cwd=self.log_path.parent,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )
        try:
            if wait is None:
                self.wait_for_port()
            else:
                self.wait_for(f"/v2/health/{wait}", status)
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self):
        return self.process.pid

    @property
    def rest(self):
        return f"127.0.0.1:{self.rest_port}"

    @property
    def grpc(self):
        return f"127.0.0.1:{self.grpc_port}"

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_for_log(self, text, times=1, limit=10):
        """The log, once `text` stands in so many lines: some are written a moment after the answer."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            log = self.log()
            if sum(text in line for line in log.splitlines()) >= times:
                return log
            time.sleep(0.02)
        raise AssertionError(f"{text!r} does not stand in {times} lines of the log:\n{self.log()}")

    def status_of(self, path, method="GET", body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.rest_port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body)
            return connection.getresponse().status

    def wait_for_port(self, limit=START_LIMIT_S):
        """Waits until the REST door is bound: all that can be asked of it without a certificate."""
        end = time.monotonic() + limit
        while self.process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.rest_port), 1):
                return
            time.sleep(0.02)
        raise AssertionError(f"the REST door is not bound:\n{self.log()}")

    def wait_for(self, path, status=200, limit=START_LIMIT_S):
        """Asks for `path` until it answers with `status`."""
        end = time.monotonic() + limit
        seen = None
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"oip ended with {self.process.returncode}:\n{self.log()}")
            try:
                seen = self.status_of(path)
                if seen == status:
                    return
            except OSError as error:
                seen = error
            time.sleep(0.02)
        raise AssertionError(f"{path} is not {status} after {limit} s but {seen}:\n{self.log()}")

    def post(self, path, document=None):
        """POSTs JSON on a connection of its own; returns (status, decoded body or None)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.rest_port, timeout=60)
        with contextlib.closing(connection):
            body = b"" if document is None else json.dumps(document)
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            text = reply.read()
            return reply.status, (json.loads(text) if text else None)

    def get(self, path):
        """GETs JSON; returns (status, decoded body or None)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.rest_port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            reply = connection.getresponse()
            text = reply.read()
            return reply.status, (json.loads(text) if text else None)

    def resident_mib(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    def terminate(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)

    def wait_exit(self, limit=STOP_LIMIT_S):
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            log = self.log()
            self.kill()
            raise AssertionError(f"oip did not stop within {limit} s:\n{log}") from None

    def stop(self):
        """SIGTERM; the server must exit with 0 within a few seconds and without a panic."""
        if self.process.poll() is None:
            self.terminate()
        code = self.wait_exit()
        assert code == 0, f"exit code {code}:\n{self.log()}"
        assert "panicked" not in self.log(), self.log()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
