"""payload_log at the gRPC door: messages as CloudEvents, and the replay of them."""

import base64
import json

import grpc
import pytest
import tritonclient.grpc

import onnx_models
from oip_server import find_binary, run_to_exit

METHOD = "/inference.GRPCInferenceService/ModelInfer"


def message(values):
    request = tritonclient.grpc.service_pb2.ModelInferRequest(model_name="m", id="r1")
    request.inputs.add(name="IN", datatype="FP32", shape=[len(values)]).contents.fp32_contents.extend(values)
    return request.SerializeToString()


def test_messages_are_kept_and_replayed_and_what_is_none_is_left_out(start, repository, tmp_path):
    onnx_models.put(repository, "m", onnx_models.add(1))
    path = tmp_path / "payloads.jsonl"
    server = start(repository, "--payload-log", path)
    with grpc.insecure_channel(server.grpc) as channel:
        ask = channel.unary_unary(METHOD)
        _, call = ask.with_call(message([1.0, 2.0]), timeout=20)
        made = dict(call.initial_metadata())["x-request-id"]
        with pytest.raises(grpc.RpcError) as refused:
            ask(b"\xff\xff", timeout=20)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    server.stop()
    kept, junk = [json.loads(line)["data"] for line in path.read_text().splitlines()]
    assert (kept["door"], kept["model"], kept["version"]) == ("grpc", "m", "1") and kept["status"] == {"code": "OK"}
    assert kept["request_id"] == made
    body = base64.b64decode(kept["request"]["base64"])
    head = json.loads(body[:kept["request"]["header_length"]])
    assert head["id"] == "r1" and body.endswith(b"\x00\x00\x80\x3f\x00\x00\x00\x40")
    assert junk["request"] == {"base64": base64.b64encode(b"\xff\xff").decode(), "protobuf": True}
    assert junk["status"]["code"] == "INVALID_ARGUMENT" and "model" not in junk
    other = start(repository)
    done = run_to_exit([str(find_binary()), "replay", str(path), "--url", f"http://{other.rest}"])
    assert done.returncode == 0 and "1 alike, 0 differ" in done.stdout, done.stdout
    assert "1 without anything to compare" in done.stdout
