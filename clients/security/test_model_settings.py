"""What `model.toml` does to requests, by both doors: batching, priorities, the response cache."""

import concurrent.futures
import json
import struct
import time

import pytest

import onnx_models
from guarded import DOORS, NO, NOT_NOW, WHO, YES, authorization
from messages import field
from oip_server import ROOT

BUSY = (ROOT / "testdata" / "models" / "busy.onnx").read_bytes()
READERS = '@id("readers")\npermit (principal in Role::"reader", action, resource);\n@id("admins")\npermit (principal in Role::"admin", action, resource);\n'


def put(folder, model, settings):
    onnx_models.put(folder, "m", model)
    (folder / "m" / "model.toml").write_text(settings)


def rest_infer(server, headers, shape, values, name, parameters=()):
    body = {"inputs": [{"name": name, "datatype": "FP32", "shape": shape, "data": values}], "parameters": dict(parameters)}
    reply = server.rest_call("POST", "/v2/models/m/infer", [*headers, ("Content-Type", "application/json")], json.dumps(body))
    assert reply.status == 200, reply
    return json.loads(reply.body)["outputs"][0]["data"]


def grpc_infer(server, headers, shape, values, name, parameters=()):
    tensor = field(1, name) + field(2, "FP32") + b"".join(field(3, dim) for dim in shape)
    message = field(1, "m") + field(5, tensor) + field(7, struct.pack(f"<{len(values)}f", *values))
    for key, value in dict(parameters).items():
        message += field(4, field(1, key) + field(2, field(2, value)))
    said = server.grpc_call("ModelInfer", message, [(n.lower(), v) for n, v in headers])
    assert said.word == YES, said
    return list(struct.unpack(f"<{len(values)}f", said.sentence.encode("latin-1")[-4 * len(values):]))


INFER = {"rest": rest_infer, "grpc": grpc_infer}


def statistics(server, headers):
    return json.loads(server.rest_call("GET", "/v2/models/m/stats", headers).body)["model_stats"][0]


@pytest.fixture
def alice(issuer):
    return authorization(issuer.bearer("alice"))


def test_requests_of_both_doors_share_a_batch_and_get_their_own_rows(guard, alice, repository):
    # It runs when it is full, and only then.
    put(repository, onnx_models.add(0.5), '[batching]\nmax_batch_size = 4\nmax_queue_delay = "60 s"\nadaptive = false')
    server = guard(repository=repository)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(INFER[DOORS[n % 2]], server, alice, [1], [float(n)], "IN") for n in range(4)]
        assert [one.result() for one in asked] == [[n + 0.5] for n in range(4)]
    stats = statistics(server, alice)
    assert (stats["inference_count"], stats["execution_count"]) == (4, 1)
    assert [(batch["batch_size"], batch["compute_infer"]["count"]) for batch in stats["batch_stats"]] == [(4, 1)]
    config = json.loads(server.rest_call("GET", "/v2/models/m/config", alice).body)
    assert config["max_batch_size"] == 4


def test_a_request_with_a_higher_priority_overtakes_by_either_door(guard, alice, repository):
    put(repository, BUSY, "instances = 1\n[queue]\npriority_levels = 3")
    server = guard(repository=repository)
    ended = []

    def large(side, priority):
        """A message that a run takes long for, and hardly anything else."""
        shape = field(1, "x") + field(2, "FP32") + field(3, side) + field(3, side)
        level = field(4, field(1, "priority") + field(2, field(2, priority)))
        return field(1, "m") + level + field(5, shape) + field(7, bytes(4 * side * side))

    def ask(message, what):
        assert server.grpc_call("ModelInfer", message, [(n.lower(), v) for n, v in alice]).word == YES
        ended.append(what)

    def ask_small(door):
        INFER[door](server, alice, [2, 2], [0.0] * 4, "x", {"priority": 1})
        ended.append("high")

    # So large that it runs while the others come, and no larger than gRPC's client takes.
    ask(large(2, 2), "the first call, which connects")
    side, took = 125, 0.0
    while took < 0.08 and side < 1000:
        side *= 2
        message, begun = large(side, 2), time.monotonic()
        ask(message, "alone")
        took = time.monotonic() - begun
    first, low = large(side, 2), large(side, 3)
    for door in DOORS:
        ended.clear()
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            # The low one runs behind all of these, whenever the high one comes meanwhile.
            asked = [pool.submit(ask, first, "first") for _ in range(4)]
            time.sleep(took / 2)
            asked.append(pool.submit(ask, low, "low"))
            time.sleep(took / 2)
            asked.append(pool.submit(ask_small, door))
            for one in asked:
                one.result()
        assert ended.index("high") < ended.index("low"), ended
    for door in DOORS:
        with pytest.raises(AssertionError, match="priority"):
            INFER[door](server, alice, [1, 1], [0.0], "x", {"priority": -1})


def test_a_kept_answer_is_given_to_whoever_may_ask_and_to_nobody_else(guard, issuer, repository, tmp_path):
    put(repository, onnx_models.add(0.5), '[cache]\nmax_bytes = "1 MiB"')
    policy = tmp_path / "readers.cedar"
    policy.write_text(READERS)
    server = guard("--policy-file", policy, repository=repository)
    reader = authorization(issuer.bearer("alice", ("reader",)))
    stranger = authorization(issuer.bearer("mallory", ("user",)))
    for door in DOORS:
        assert INFER[door](server, reader, [1], [1.5], "IN") == [2.0]
    stats = statistics(server, reader)["inference_stats"]
    assert (stats["cache_miss"]["count"], stats["cache_hit"]["count"]) == (1, 1)
    for door in DOORS:
        # The very request that is kept.
        assert server.ask(door, "infer", stranger).word == NO
        assert server.ask(door, "infer").word == WHO
        assert server.ask(door, "infer", authorization("Bearer a.b.c")).word == WHO
    stats = statistics(server, reader)["inference_stats"]
    assert (stats["cache_miss"]["count"], stats["cache_hit"]["count"]) == (1, 1)


def test_a_bad_key_keeps_its_model_from_being_served_until_it_is_mended(guard, issuer, repository):
    put(repository, onnx_models.add(0.5), "[labels]\nNOPE = ['a']")
    onnx_models.put(repository, "other", onnx_models.identity("FP32"))
    server = guard(repository=repository, status=503)
    admin = authorization(issuer.bearer("root", ("admin",)))
    index = json.loads(server.rest_call("POST", "/v2/repository/index", admin).body)
    reasons = {one["name"]: one.get("reason", "") for one in index}
    assert "'labels.NOPE': the model has no such output" in reasons["m"] and not reasons["other"]
    for door in DOORS:
        assert server.ask(door, "infer", admin).word == NOT_NOW
        assert server.ask(door, "infer", admin, "other").word == YES
    (repository / "m" / "model.toml").write_text("[labels]\nOUT = ['a']\n[queue]\nmax_size = 3")
    assert server.ask("grpc", "load", admin).word == YES
    for door in DOORS:
        assert server.ask(door, "infer", admin).word == YES
    config = json.loads(server.rest_call("GET", "/v2/models/m/config", admin).body)
    shown = {name: value["string_value"] for name, value in config["parameters"].items()}
    assert shown["queue.max_size"] == "3" and shown["labels.OUT"] == "a"
