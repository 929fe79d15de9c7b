"""gRPC messages by hand: typed and raw contents, and what is wrong with them."""

import struct

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb

from stubs import TYPED_FIELD, UNLIMITED, refused, request, stub_of

INVALID = grpc.StatusCode.INVALID_ARGUMENT
VALUES = {
    "BOOL": [True, False], "INT8": [-128, 127], "INT16": [-(2**15), 2**15 - 1], "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1], "UINT8": [0, 255], "UINT16": [0, 2**16 - 1], "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1], "FP32": [0.5, -1.25], "FP64": [0.1, 1e300], "BYTES": [b"\xff\x00", b""],
}
TWO_FLOATS = struct.pack("<2f", 0.5, -1.25)


@pytest.fixture(scope="module")
def stub(server):
    with stub_of(server) as stub:
        yield stub


def vector(datatype, shape, contents):
    return ("IN", datatype, shape, contents)


@pytest.mark.parametrize("datatype", VALUES)
def test_typed_contents_are_answered_typed(stub, datatype):
    field = TYPED_FIELD[datatype]
    answer = stub.ModelInfer(request(f"vector_{datatype.lower()}", vector(datatype, [2], {field: VALUES[datatype]}), id="7"))
    assert (answer.id, answer.model_version, len(answer.raw_output_contents)) == ("7", "1", 0)
    assert (answer.outputs[0].datatype, list(answer.outputs[0].shape)) == (datatype, [2])
    assert list(getattr(answer.outputs[0].contents, field)) == VALUES[datatype]


@pytest.mark.parametrize(
    "datatype, raw",
    [("FP32", TWO_FLOATS), ("FP16", b"\x00\x3e\x00\xbc"), ("BF16", b"\xc0\x3f\x80\xbf"), ("BOOL", b"\1\0"),
     ("BYTES", b"\2\0\0\0\xff\0\0\0\0\0"), ("UINT64", b"\xff" * 16)],
)
def test_raw_contents_are_answered_raw(stub, datatype, raw):
    answer = stub.ModelInfer(request(f"vector_{datatype.lower()}", vector(datatype, [2], {}), raw=[raw]))
    assert list(answer.raw_output_contents) == [raw]
    assert not answer.outputs[0].HasField("contents")


@pytest.mark.parametrize(
    "contents, raw",
    [
        ({"fp32_contents": [0.5, 1]}, [TWO_FLOATS]), ({"fp64_contents": [0.5, 1]}, []), ({"int_contents": [1, 2]}, []),
        ({"fp32_contents": [0.5]}, []), ({"fp32_contents": [0.5, 1, 2]}, []), ({"fp32_contents": [0.5, 1], "int_contents": [1]}, []),
        ({}, []), ({}, [TWO_FLOATS[:-1]]), ({}, [TWO_FLOATS + b"\0"]), ({}, [b""]), ({}, [TWO_FLOATS, TWO_FLOATS]),
    ],
    ids=["typed-and-raw", "wrong-field", "wrong-field-int", "too-few", "too-many", "two-fields", "neither",
         "raw-short", "raw-long", "raw-empty", "raw-twice"],
)
def test_contents_that_do_not_fit_are_invalid(stub, contents, raw):
    refused(INVALID, lambda: stub.ModelInfer(request("vector_fp32", vector("FP32", [2], contents), raw=raw)))


@pytest.mark.parametrize(
    "datatype, value",
    [("INT8", 128), ("INT8", -129), ("INT16", 2**15), ("UINT8", 256), ("UINT16", 2**16)],
)
def test_a_typed_value_out_of_range_is_invalid_and_named(stub, datatype, value):
    message = request(f"vector_{datatype.lower()}", vector(datatype, [2], {TYPED_FIELD[datatype]: [0, value]}))
    refused(INVALID, lambda: stub.ModelInfer(message), "IN", "1", value)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
@pytest.mark.parametrize("field", ["fp32_contents", "bytes_contents"])
def test_half_floats_travel_raw_only(stub, datatype, field):
    values = [0.5, 1] if field.startswith("fp32") else [b"\0\0", b"\0\0"]
    message = request(f"vector_{datatype.lower()}", vector(datatype, [2], {field: values}))
    refused(INVALID, lambda: stub.ModelInfer(message))


@pytest.mark.parametrize("shape", [[-1], [-2], [2, -1], [-(2**63)], [2**32, 2**32], [2**62, 2**62], [2**40], [1, 2], []])
def test_a_shape_that_does_not_fit_is_invalid_without_memory(stub, server, shape):
    before = server.resident_mib()
    refused(INVALID, lambda: stub.ModelInfer(request("vector_fp32", vector("FP32", shape, {"fp32_contents": [1, 2]}))))
    refused(INVALID, lambda: stub.ModelInfer(request("vector_fp32", vector("FP32", shape, {}), raw=[TWO_FLOATS])))
    assert server.resident_mib() - before < 64


@pytest.mark.parametrize(
    "datatype, raw",
    [("BOOL", b"\1\2"), ("BYTES", b"\xff\xff\xff\xffab"), ("BYTES", b"\1\0\0\0a"), ("BYTES", b"\1\0\0\0a\1\0\0\0b\0\0\0\0"), ("BYTES", b"\1\0")],
)
def test_broken_raw_contents_are_invalid(stub, datatype, raw):
    refused(INVALID, lambda: stub.ModelInfer(request(f"vector_{datatype.lower()}", vector(datatype, [2], {}), raw=[raw])), "IN")


@pytest.mark.parametrize("raw", [[], [b""]])
def test_an_empty_tensor_needs_no_contents(stub, raw):
    answer = stub.ModelInfer(request("vector_fp32", vector("FP32", [0], {}), raw=raw))
    assert list(answer.outputs[0].shape) == [0]


@pytest.mark.parametrize("datatype", ["", "fp32", "FLOAT", "TYPE_FP32"])
def test_an_unknown_datatype_is_invalid(stub, datatype):
    refused(INVALID, lambda: stub.ModelInfer(request("vector_fp32", vector(datatype, [2], {"fp32_contents": [1, 2]}))))


def test_no_inputs_are_invalid(stub):
    refused(INVALID, lambda: stub.ModelInfer(request("vector_fp32")))


def test_one_raw_and_one_typed_input_are_invalid(stub):
    a = ("A", "INT32", [4], {"int_contents": [1, 2, 3, 4]})
    b = ("B", "INT32", [4], {})
    refused(INVALID, lambda: stub.ModelInfer(request("pair_int32", a, b, raw=[struct.pack("<4i", 1, 2, 3, 4)])))


def test_non_finite_floats_travel_typed(stub):
    values = [float("inf"), float("-inf")]
    answer = stub.ModelInfer(request("vector_fp32", vector("FP32", [2], {"fp32_contents": values})))
    assert list(answer.outputs[0].contents.fp32_contents) == values


def test_a_parameter_of_every_kind_is_accepted(stub):
    message = request("vector_fp32", vector("FP32", [1], {"fp32_contents": [1]}))
    for name, value in [("bool_param", True), ("int64_param", 1), ("string_param", "x"), ("double_param", 0.5), ("uint64_param", 2)]:
        setattr(message.parameters[name], name, value)
    assert stub.ModelInfer(message).outputs[0].contents.fp32_contents[0] == 1


def test_a_parameter_without_a_value_does_not_break_the_server(stub):
    message = request("vector_fp32", vector("FP32", [1], {"fp32_contents": [1]}))
    message.parameters["nothing"].SetInParent()
    try:
        stub.ModelInfer(message)
    except grpc.RpcError as error:
        assert error.code() == INVALID


def test_ready_of_an_unknown_model_is_an_answer(stub):
    assert not stub.ModelReady(pb.ModelReadyRequest(name="nope")).ready
    assert not stub.ModelReady(pb.ModelReadyRequest(name="versions", version="3")).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name="versions", version="2")).ready


@pytest.mark.parametrize("name", ["", "..", "../versions", "a/b", "\0", "x" * 10_000])
def test_a_strange_model_name_is_not_found(stub, name):
    def infer():
        return stub.ModelInfer(request(name, vector("FP32", [1], {"fp32_contents": [1]})))

    with pytest.raises(grpc.RpcError) as caught:
        infer()
    allowed = {grpc.StatusCode.NOT_FOUND} | ({INVALID} if name == "" else set())
    assert caught.value.code() in allowed


def test_a_message_over_64_mib_is_resource_exhausted(server):
    with stub_of(server) as stub:
        message = request("vector_fp32", vector("FP32", [1], {}), raw=[bytes(65 << 20)])
        refused(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: stub.ModelInfer(message))
        assert stub.ServerLive(pb.ServerLiveRequest()).live


def test_a_message_of_60_mib_is_served(stub):
    count = 15 << 20
    answer = stub.ModelInfer(request("vector_fp32", vector("FP32", [count], {}), raw=[bytes(count * 4)]))
    assert len(answer.raw_output_contents[0]) == count * 4


def unary(server, method, message, answer_type):
    with grpc.insecure_channel(server.grpc, options=UNLIMITED) as channel:
        call = channel.unary_unary(method, type(message).SerializeToString, answer_type.FromString)
        return call(message, timeout=10)


def test_an_unknown_method_or_service_is_unimplemented(server):
    for method in ("/inference.GRPCInferenceService/Nope", "/inference.Nope/ServerLive", "/nope"):
        refused(grpc.StatusCode.UNIMPLEMENTED, lambda: unary(server, method, pb.ServerLiveRequest(), pb.ServerLiveResponse))


def test_the_originals_service_name_is_served(server):
    service = "/inference.GrpcInferenceService"
    assert unary(server, f"{service}/ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse).live
    message = request("vector_fp32", vector("FP32", [1], {"fp32_contents": [1]}))
    assert unary(server, f"{service}/ModelInfer", message, pb.ModelInferResponse).outputs[0].name == "OUT"


def test_bytes_that_are_no_message_are_refused(server):
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", lambda b: b, lambda b: b)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff" * 50, timeout=10)
    assert caught.value.code() in (INVALID, grpc.StatusCode.INTERNAL)
