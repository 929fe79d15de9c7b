"""No request fails while models are replaced."""

import contextlib
import http.client
import json
import threading
import time

import onnx_models
from http_wire import call

BODY = json.dumps({"inputs": [{"name": "IN", "datatype": "FP32", "shape": [1], "data": [0.0]}]})


class Callers:
    """Threads that keep asking model `m` on kept connections, and note every answer."""

    def __init__(self, server, count=6):
        self.server, self.going, self.answers, self.failures = server, True, [], []
        self.threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def _ask(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.rest_port, timeout=30)
        with contextlib.closing(connection):
            while self.going:
                try:
                    connection.request("POST", "/v2/models/m/infer", BODY)
                    reply = connection.getresponse()
                    text = reply.read()
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(repr(error))
                    return
                if reply.status == 200:
                    self.answers.append(json.loads(text)["outputs"][0]["data"][0])
                else:
                    self.failures.append((reply.status, text))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.going = False
        for thread in self.threads:
            thread.join(60)


def load(server, expected=200):
    reply = call(server, "POST", "/v2/repository/models/m/load", b"")
    assert reply.status == expected, reply.body


def test_replacing_the_file_and_loading_fails_no_request(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(0))
    server = start(repository)
    with Callers(server) as callers:
        for step in range(1, 26):
            onnx_models.put(repository, "m", onnx_models.add(step))
            load(server)
        time.sleep(0.2)
    assert callers.failures == []
    assert callers.answers[-1] == 25 and len(set(callers.answers)) > 3
    assert set(callers.answers) <= {float(n) for n in range(26)}


def test_new_versions_under_load_fail_no_request(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(1), version=1)
    server = start(repository)
    with Callers(server) as callers:
        for version in range(2, 12):
            onnx_models.put(repository, "m", onnx_models.add(version), version=version)
            load(server)
        time.sleep(0.2)
    assert callers.failures == [] and callers.answers[-1] == 11


def test_corrupt_replacements_under_load_fail_no_request(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(4))
    server = start(repository)
    with Callers(server) as callers:
        for _ in range(10):
            onnx_models.put(repository, "m", b"corrupt")
            load(server, 400)
        time.sleep(0.1)
    assert callers.failures == [] and set(callers.answers) == {4.0}


def test_concurrent_loads_of_one_model_all_end_well(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(2))
    server = start(repository)
    statuses = []

    def one():
        statuses.append(call(server, "POST", "/v2/repository/models/m/load", b"").status)

    with Callers(server, 2) as callers:
        threads = [threading.Thread(target=one) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert statuses == [200] * 12 and callers.failures == []


def test_a_hundred_reloads_do_not_keep_memory(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(1))
    server = start(repository)
    for _ in range(20):
        load(server)
    before = server.resident_mib()
    for _ in range(100):
        load(server)
    assert server.resident_mib() - before < 50
