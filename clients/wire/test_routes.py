"""Which paths exist, for which methods, and what they say."""

import json

import pytest

from http_wire import Wire, assert_error, call, infer, tensor

GETS = [
    "/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/v2/models/vector_fp32",
    "/v2/models/vector_fp32/ready", "/v2/models/versions/versions/2", "/v2/models/versions/versions/2/ready",
    "/v2/models/stats", "/v2/models/vector_fp32/stats", "/v2/models/versions/versions/2/stats",
    "/v2/models/vector_fp32/config", "/openapi.json", "/docs", "/metrics",
]
POSTS = [
    "/v2/models/vector_fp32/infer", "/v2/models/versions/versions/2/infer", "/v2/repository/index",
    "/v2/repository/models/vector_fp32/load", "/v2/repository/models/vector_fp32/unload",
]


@pytest.mark.parametrize("path", GETS)
def test_a_route_answers_get_and_head_alike(server, path):
    got, head = call(server, "GET", path), call(server, "HEAD", path)
    assert got.status == head.status == 200, (got.status, head.status, got.body[:200])
    assert head.body == b""
    assert head.headers["Content-Type"] == got.headers["Content-Type"]


@pytest.mark.parametrize("path", GETS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_reading_route_refuses_other_methods_with_allow(server, path, method):
    reply = call(server, method, path, b"")
    assert_error(reply, 405)
    assert "GET" in reply.headers["Allow"]


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_posting_route_refuses_other_methods_with_allow(server, path, method):
    reply = call(server, method, path)
    assert_error(reply, 405)
    assert "POST" in reply.headers["Allow"]


@pytest.mark.parametrize(
    "path",
    [
        "/", "/v1", "/v2/nope", "/v2/models/vector_fp32/nope", "/v2/health", "/v2/health/", "/V2",
        "/v2//", "//v2", "/v2//health/live", "/v2/models//infer", "/v2/./health/live",
        "/v2/models/../health/live", "/v2/models/%2e%2e/health/live", "/v2/models/..", "/v2/models/%2E%2E",
        "/v2/models/..%2f..%2fetc%2fpasswd", "/v2/models/vector_fp32%2Fready", "/v2/models/%00",
        "/v2/models/vector_fp32/versions/..", "/v2/models/vector_fp32/versions/%2e%2e/ready",
        "/v2/models/.hidden", "/v2/models/vector_fp32%00", "/v2/trace",
        "/v2/systemsharedmemory/status", "/v2/cudasharedmemory/status", "/v2/logging/level",
    ],
)
def test_a_path_that_is_not_served_is_404(server, path):
    assert_error(call(server, "GET", path), 404)


@pytest.mark.parametrize("path", ["/v2/models/%zz", "/v2/models/%", "/v2/models/%ff"])
def test_a_percent_escape_that_is_none_is_refused(server, path):
    reply = call(server, "GET", path)
    assert reply.status in (400, 404)
    assert_error(reply, reply.status)


@pytest.mark.parametrize("path", ["/v2/models/%76ector_fp32", "/v2/models/vector%5Ffp32", "/v2/models/vector_fp32?x=1"])
def test_a_segment_is_matched_after_percent_decoding(server, path):
    assert call(server, "GET", path).json()["name"] == "vector_fp32"


def test_an_absolute_target_is_served(server):
    with Wire(server.rest_port) as wire:
        wire.send(f"GET http://{server.rest}/v2/health/live HTTP/1.1\r\nHost: {server.rest}\r\n\r\n")
        assert wire.reply().status == 200


def test_health_bodies_are_as_documented(server, start, repository):
    assert call(server, "GET", "/v2/health/live").body == b'{"live":true}'
    ready = call(start(repository), "GET", "/v2/health/ready")
    assert (ready.status, ready.json()) == (200, {"ready": True, "live": True})


def test_model_ready_names_the_model(server):
    assert call(server, "GET", "/v2/models/vector_fp32/ready").json() == {"name": "vector_fp32", "ready": True}


def test_server_metadata_lists_the_extensions_that_work(server):
    document = call(server, "GET", "/v2").json()
    assert set(document) == {"name", "version", "extensions"}
    expected = {"binary_tensor_data", "model_repository", "statistics", "model_configuration", "classification"}
    assert expected <= set(document["extensions"])


def test_model_metadata_is_read_from_the_file(server):
    assert call(server, "GET", "/v2/models/pair_int32").json() == {
        "name": "pair_int32", "versions": ["1"], "platform": "onnx_onnxv1",
        "inputs": [{"name": n, "datatype": "INT32", "shape": [4]} for n in ("A", "B")],
        "outputs": [{"name": n, "datatype": "INT32", "shape": [4]} for n in ("SUM", "DIFF")],
    }


@pytest.mark.parametrize(
    "model, shape",
    [("vector_fp32", [-1]), ("matrix_bf16", [-1, -1]), ("fixed_fp32", [2, 3]), ("single_int32", [])],
)
def test_open_dimensions_are_minus_one_in_metadata(server, model, shape):
    document = call(server, "GET", f"/v2/models/{model}").json()
    assert [t["shape"] for t in document["inputs"] + document["outputs"]] == [shape, shape]


def test_all_versions_are_served_the_highest_by_default(server):
    assert sorted(call(server, "GET", "/v2/models/versions").json()["versions"], key=int) == ["1", "2", "10"]
    for path, added, version in [("versions", 10, "10"), ("versions/versions/1", 1, "1"), ("versions/versions/2", 2, "2")]:
        document = infer(server, path, {"inputs": [tensor("FP32", [1], [0.5])]}).json()
        assert (document["model_version"], document["outputs"][0]["data"]) == (version, [added + 0.5])


@pytest.mark.parametrize("path", ["nope", "versions/versions/3", "versions/versions/0", "versions/versions/-1",
                                  "versions/versions/x", "Vector_fp32"])
@pytest.mark.parametrize("call_name", ["", "/ready", "/stats", "/config", "/infer"])
def test_an_unknown_model_or_version_is_404(server, path, call_name):
    if call_name == "/infer":
        reply = infer(server, path, {"inputs": [tensor("FP32", [1], [1])]})
    elif call_name == "/config" and "/" in path:
        pytest.skip("the configuration is the model's, not a version's")
    else:
        reply = call(server, "GET", f"/v2/models/{path}{call_name}")
    assert_error(reply, 404)


@pytest.mark.parametrize("path", ["/v2", "/docs", "/v2/models/vector_fp32", "/v2/models/vector_fp32/infer", "/nope"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1.evil.example", "http://localhost:1"])
def test_a_foreign_origin_is_refused(server, path, origin):
    method = "POST" if path.endswith("infer") else "GET"
    assert_error(call(server, method, path, b"{}", {"Origin": origin}), 403)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_the_servers_own_origin_is_served(server, host):
    origin = f"http://{host}:{server.rest_port}"
    assert call(server, "GET", "/v2", headers={"Origin": origin}).status == 200


def test_openapi_describes_every_route_with_the_contracts_names(server):
    paths = json.loads(call(server, "GET", "/openapi.json").body)["paths"]
    for path in [
        "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/{model_name}", "/v2/models/{model_name}/infer",
        "/v2/models/{model_name}/ready", "/v2/models/{model_name}/versions/{model_version}",
        "/v2/models/{model_name}/versions/{model_version}/infer", "/v2/repository/index",
        "/v2/repository/models/{model_name}/load", "/v2/repository/models/{model_name}/unload",
    ]:
        assert path in paths, sorted(paths)


def test_the_docs_page_needs_no_network(server):
    page = call(server, "GET", "/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    for scheme in (b'src="http', b'href="http', b"src='http", b'src="//'):
        assert scheme not in page.body
