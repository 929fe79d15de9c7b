"""Loading, unloading, breaking and mending models while the server runs."""

import os
import time

import pytest

import onnx_models
from http_wire import assert_error, call, infer, post_json, tensor

BROKEN = b"this is no ONNX file"


def ask(server, path="m", value=1.0):
    """What model `path` makes of one number, or the reply that refused it."""
    reply = infer(server, path, {"inputs": [tensor("FP32", [1], [value])]})
    return reply.json()["outputs"][0]["data"][0] if reply.status == 200 else reply


def load(server, name, body=b""):
    return call(server, "POST", f"/v2/repository/models/{name}/load", body)


def unload(server, name):
    return call(server, "POST", f"/v2/repository/models/{name}/unload", b"")


def index(server):
    reply = call(server, "POST", "/v2/repository/index", b"{}")
    assert reply.status == 200, reply.body
    return reply.json()


def states(server):
    return {(m["name"], m.get("version")): m["state"] for m in index(server)}


def test_the_index_lists_every_model_and_version(start, repository):
    onnx_models.put(repository, "a", onnx_models.add(1))
    onnx_models.put(repository, "b", onnx_models.add(2), version=3)
    server = start(repository)
    assert states(server) == {("a", "1"): "READY", ("b", "3"): "READY"}


def test_unload_makes_a_model_unknown_and_load_brings_it_back(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(1))
    server = start(repository)
    assert unload(server, "m").status == 200
    for path in ("/v2/models/m", "/v2/models/m/ready"):
        assert_error(call(server, "GET", path), 404)
    assert_error(ask(server), 404)
    assert set(states(server).values()) == {"UNAVAILABLE"}
    assert call(server, "GET", "/v2/health/ready").status == 200
    assert call(server, "POST", "/v2/repository/index", b'{"ready":true}').json() == []
    assert load(server, "m").status == 200
    assert ask(server) == 2


def test_loading_or_unloading_an_unknown_name_is_404(start, repository):
    server = start(repository)
    for name in ("nope", "..", "%2e%2e", "..%2fmodels", "a%2fb", "%00"):
        assert_error(load(server, name), 404)
        assert_error(unload(server, name), 404)


def test_a_model_that_appears_is_served_after_load(start, repository):
    server = start(repository)
    onnx_models.put(repository, "late", onnx_models.add(5))
    assert_error(ask(server, "late"), 404)
    assert load(server, "late").status == 200
    assert ask(server, "late") == 6


def test_a_new_version_becomes_the_default_after_load(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(1), version=1)
    server = start(repository)
    onnx_models.put(repository, "m", onnx_models.add(2), version=2)
    assert ask(server) == 2
    assert load(server, "m").status == 200
    assert (ask(server), ask(server, "m/versions/1"), ask(server, "m/versions/2")) == (3, 2, 3)


def test_a_replaced_file_is_served_after_load(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(1))
    server = start(repository)
    onnx_models.put(repository, "m", onnx_models.add(7))
    assert ask(server) == 2
    assert load(server, "m").status == 200
    assert ask(server) == 8


@pytest.mark.parametrize("content", [BROKEN, b"", onnx_models.unknown_operator(), onnx_models.add(1)[:-20]],
                         ids=["text", "empty", "unknown-operator", "cut"])
def test_a_corrupt_replacement_is_400_and_the_old_model_goes_on(start, repository, content):
    onnx_models.put(repository, "m", onnx_models.add(1))
    server = start(repository)
    onnx_models.put(repository, "m", content)
    assert_error(load(server, "m"), 400)
    assert ask(server) == 2
    assert call(server, "GET", "/v2/health/ready").status == 200
    assert call(server, "GET", "/v2/models/m/ready").status == 200


@pytest.mark.parametrize("content", [BROKEN, b"", onnx_models.unknown_operator()], ids=["text", "empty", "unknown-operator"])
def test_a_broken_model_is_unavailable_and_the_others_are_served_until_load_mends_it(start, repository, content):
    onnx_models.put(repository, "good", onnx_models.add(1))
    onnx_models.put(repository, "bad", content)
    server = start(repository, wait="live")
    server.wait_for("/v2/models/good/ready")
    assert ask(server, "good") == 2
    for path in ("/v2/models/bad", "/v2/models/bad/ready"):
        assert_error(call(server, "GET", path), 503)
    assert_error(ask(server, "bad"), 503)
    ready = call(server, "GET", "/v2/health/ready")
    assert (ready.status, ready.json()["ready"]) == (503, False)
    assert call(server, "GET", "/v2/health/live").status == 200
    entry = next(m for m in index(server) if m["name"] == "bad")
    assert entry["state"] == "UNAVAILABLE" and entry["reason"]

    assert_error(load(server, "bad"), 400)
    onnx_models.put(repository, "bad", onnx_models.add(3))
    assert load(server, "bad").status == 200
    assert ask(server, "bad") == 4
    assert call(server, "GET", "/v2/health/ready").status == 200


def test_an_unknown_operator_is_refused_by_name(start, repository):
    onnx_models.put(repository, "bad", onnx_models.unknown_operator())
    server = start(repository, wait="live")
    sentence = assert_error(load(server, "bad"), 400, "NoSuchOperator")
    assert sentence


@pytest.mark.parametrize(
    "parameters",
    [{"config": "{}"}, {"file:1/model.onnx": "AAAA"}, {"config": "{}", "file:1/model.onnx": "AAAA"}],
)
def test_a_load_that_uploads_a_model_is_refused(start, repository, parameters):
    onnx_models.put(repository, "m", onnx_models.add(1))
    server = start(repository)
    reply = post_json(server, "/v2/repository/models/m/load", {"parameters": parameters})
    assert_error(reply, 400)
    assert ask(server) == 2


def test_other_files_and_folders_are_passed_over(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(1))
    for path in ("m/README.md", "notes.txt", ".hidden/1/model.onnx", "m/old/model.onnx", "m/0/model.onnx",
                 "m/-1/model.onnx", "m/1.5/model.onnx", "m/1/extra.bin", "empty/readme", "m/.3/model.onnx"):
        file = repository / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(BROKEN)
    server = start(repository, wait="live")
    server.wait_for("/v2/models/m/ready")
    assert ask(server) == 2
    assert server.get("/v2/models/m")[1]["versions"] == ["1"]
    assert ".hidden" not in {m["name"] for m in index(server)}


def test_a_model_without_a_version_folder_is_version_1(start, repository):
    (repository / "m").mkdir()
    (repository / "m/model.onnx").write_bytes(onnx_models.add(1))
    server = start(repository)
    assert (ask(server), ask(server, "m/versions/1")) == (2, 2)


def test_model_control_none_refuses_load_and_unload(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(1))
    server = start(repository, "--model-control", "none")
    assert_error(load(server, "m"), 503)
    assert_error(unload(server, "m"), 503)
    assert ask(server) == 2


def test_model_control_poll_takes_up_changes_by_itself(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(1))
    server = start(repository, "--model-control", "poll")
    onnx_models.put(repository, "m", onnx_models.add(2), version=2)
    onnx_models.put(repository, "late", onnx_models.add(9))
    server.wait_for("/v2/models/m/versions/2/ready", limit=30)
    server.wait_for("/v2/models/late/ready", limit=30)
    assert (ask(server), ask(server, "late")) == (3, 10)


def link_as_configmap(repository, content, stamp):
    """What the kubelet does: model.onnx -> ..data/model.onnx, ..data -> ..<stamp>, swapped by a rename."""
    folder = repository / "m"
    data = folder / f"..{stamp}"
    data.mkdir(parents=True)
    (data / "model.onnx").write_bytes(content)
    os.symlink(data.name, folder / "..data_tmp")
    os.rename(folder / "..data_tmp", folder / "..data")
    if not (folder / "model.onnx").is_symlink():
        os.symlink("..data/model.onnx", folder / "model.onnx")


def test_symlinks_are_followed_and_a_configmap_swap_is_seen_by_load(start, repository):
    link_as_configmap(repository, onnx_models.add(1), "2026_1")
    server = start(repository)
    assert ask(server) == 2
    link_as_configmap(repository, onnx_models.add(5), "2026_2")
    assert load(server, "m").status == 200
    assert ask(server) == 6


def test_a_configmap_swap_is_seen_by_poll(start, repository):
    link_as_configmap(repository, onnx_models.add(1), "2026_1")
    server = start(repository, "--model-control", "poll")
    link_as_configmap(repository, onnx_models.add(5), "2026_2")
    for _ in range(300):
        if ask(server) == 6:
            return
        time.sleep(0.1)
    raise AssertionError(server.log())


def test_a_repository_behind_a_symlink_is_served(start, repository, tmp_path):
    onnx_models.put(repository, "m", onnx_models.add(1))
    os.symlink(repository, tmp_path / "link")
    assert ask(start(tmp_path / "link")) == 2
