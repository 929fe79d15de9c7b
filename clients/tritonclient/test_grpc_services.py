"""The standard services beside inference: health, reflection; one port for both doors; the end."""

import time

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.grpc import service_pb2 as pb

import onnx_models
from stubs import refused, request, stub_of

SERVING = health_pb2.HealthCheckResponse.SERVING
SERVICE = "inference.GRPCInferenceService"
# What the Python original calls it.
ORIGINAL = "inference.GrpcInferenceService"


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


@pytest.mark.parametrize("name", ["", SERVICE, ORIGINAL])
def test_the_health_service_says_serving(start, repository, name):
    with grpc.insecure_channel(start(repository).grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5).status == SERVING


def test_the_health_of_an_unknown_service_is_not_found(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    refused(grpc.StatusCode.NOT_FOUND, lambda: stub.Check(health_pb2.HealthCheckRequest(service="nope"), timeout=5))


def test_health_watch_begins_with_the_present_state(start, repository):
    with grpc.insecure_channel(start(repository).grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=""), timeout=5)
        assert next(iter(watch)).status == SERVING
        watch.cancel()


def test_health_follows_readiness(start, repository):
    onnx_models.put(repository, "bad", b"broken")
    server = start(repository, wait="live")
    with grpc.insecure_channel(server.grpc) as channel, stub_of(server) as inference:
        stub = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert not inference.ServerReady(pb.ServerReadyRequest()).ready
        assert inference.ServerLive(pb.ServerLiveRequest()).live
        onnx_models.put(repository, "bad", onnx_models.add(1))
        inference.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="bad"))
        assert inference.ServerReady(pb.ServerReadyRequest()).ready
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status == SERVING


def test_a_broken_model_is_unavailable(start, repository):
    onnx_models.put(repository, "bad", b"broken")
    server = start(repository, wait="live")
    with stub_of(server) as stub:
        message = request("bad", ("IN", "FP32", [1], {"fp32_contents": [1]}))
        refused(grpc.StatusCode.UNAVAILABLE, lambda: stub.ModelInfer(message))
        refused(grpc.StatusCode.UNAVAILABLE, lambda: stub.ModelMetadata(pb.ModelMetadataRequest(name="bad")))
        assert not stub.ModelReady(pb.ModelReadyRequest(name="bad")).ready


def test_reflection_v1alpha_lists_and_describes_the_service(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {SERVICE, "grpc.health.v1.Health"} <= set(database.get_services())
    service = DescriptorPool(database).FindServiceByName(SERVICE)
    assert {"ServerLive", "ModelInfer", "RepositoryIndex", "ModelStatistics"} <= set(service.methods_by_name)
    fields = service.methods_by_name["ModelInfer"].input_type.fields_by_name
    assert (fields["raw_input_contents"].number, fields["parameters"].number) == (7, 4)


def test_reflection_describes_the_service_under_the_originals_name_with_the_same_messages(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert ORIGINAL in database.get_services()
    pool = DescriptorPool(database)
    original, ours = (pool.FindServiceByName(name) for name in (ORIGINAL, SERVICE))
    assert original.methods_by_name.keys() == ours.methods_by_name.keys()
    for name, method in original.methods_by_name.items():
        assert method.input_type is ours.methods_by_name[name].input_type


def test_reflection_v1_lists_the_services(channel):
    """v1 has the messages of v1alpha under another name."""
    call = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = next(iter(call(iter([ask]), timeout=5)))
    assert SERVICE in {s.name for s in answer.list_services_response.service}


def test_a_reflection_of_an_unknown_symbol_is_an_answer(channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    ask = reflection_pb2.ServerReflectionRequest(file_containing_symbol="nope.Nope")
    answer = next(iter(stub.ServerReflectionInfo(iter([ask]), timeout=5)))
    assert answer.WhichOneof("message_response") == "error_response"


def test_without_a_repository_inference_is_unimplemented(start):
    server = start(None)
    with stub_of(server) as stub:
        message = request("any", ("IN", "FP32", [1], {"fp32_contents": [1]}))
        refused(grpc.StatusCode.UNIMPLEMENTED, lambda: stub.ModelInfer(message))
        refused(grpc.StatusCode.UNIMPLEMENTED, lambda: stub.ModelMetadata(pb.ModelMetadataRequest(name="any")))
        assert stub.ServerLive(pb.ServerLiveRequest()).live and stub.ServerReady(pb.ServerReadyRequest()).ready
        assert stub.ServerMetadata(pb.ServerMetadataRequest()).name


def test_model_control_none_is_unavailable(start, repository):
    onnx_models.put(repository, "m", onnx_models.add(1))
    with stub_of(start(repository, "--model-control", "none")) as stub:
        for call, message in [
            (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name="m")),
            (stub.RepositoryModelUnload, pb.RepositoryModelUnloadRequest(model_name="m")),
        ]:
            refused(grpc.StatusCode.UNAVAILABLE, lambda: call(message))


def test_a_call_in_flight_is_answered_when_the_server_ends(start, repository, busy):
    onnx_models.put(repository, "busy", busy)
    server = start(repository)
    tensor = tritonclient.grpc.InferInput("x", [768, 768], "FP32")
    tensor.set_data_from_numpy(np.zeros((768, 768), np.float32))
    answers = []
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        client.async_infer("busy", [tensor], lambda result, error: answers.append((result, error)))
        time.sleep(0.2)
        server.terminate()
        assert server.wait_exit(30) == 0
        for _ in range(100):
            if answers:
                break
            time.sleep(0.05)
    assert answers and answers[0][1] is None, answers


def test_idle_grpc_connections_do_not_hold_up_the_end(start, repository):
    server = start(repository)
    with stub_of(server) as stub:
        assert stub.ServerLive(pb.ServerLiveRequest()).live
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 3


def test_one_port_serves_rest_and_grpc(one_port):
    with tritonclient.grpc.InferenceServerClient(one_port) as client:
        assert client.is_server_live()
        assert client.get_model_metadata("m").name == "m"
    with tritonclient.http.InferenceServerClient(one_port) as client:
        assert client.is_server_ready() and client.get_model_metadata("m")["name"] == "m"
