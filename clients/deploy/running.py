"""Servers with arguments of the test's own, REST and gRPC on one port."""

import subprocess

from oip_server import Server, clean_environment, find_binary


def api_key(identity="client"):
    """A key, and the line of the keys' file that knows it."""
    made = subprocess.run([find_binary(), "apikey", "new", "--id", identity], env=clean_environment(), check=True,
                          stdout=subprocess.PIPE, text=True)
    key, line = made.stdout.splitlines()
    return key, line


class Started(Server):
    """`oip serve` with these arguments alone; ready inside the `with`, stopped by SIGTERM after it."""

    def __init__(self, arguments, port, folder, env=None, stop_limit=60):
        self.rest_port = self.grpc_port = port
        self.log_path = folder / f"oip-{port}.log"
        self.stop_limit = stop_limit
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [find_binary(), "serve", *map(str, arguments)], env=clean_environment(env), cwd=folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def __enter__(self):
        try:
            self.wait_for("/v2/health/ready")
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.stop()
        finally:
            self.kill()

    def wait_exit(self, limit=None):
        return super().wait_exit(limit or self.stop_limit)
