"""The protocol's own messages, sent without a client library between."""

import contextlib

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
TYPED_FIELD = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}


@contextlib.contextmanager
def stub_of(server):
    with grpc.insecure_channel(server.grpc, options=UNLIMITED) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def request(model, *inputs, raw=(), outputs=(), **members):
    """An inference request; an input is (name, datatype, shape, {contents field: values})."""
    message = pb.ModelInferRequest(model_name=model, **members)
    for name, datatype, shape, contents in inputs:
        tensor = message.inputs.add(name=name, datatype=datatype, shape=shape)
        for field, values in contents.items():
            tensor.contents.SetInParent()
            getattr(tensor.contents, field).extend(values)
    for name in outputs:
        message.outputs.add(name=name)
    message.raw_input_contents.extend(raw)
    return message


def refused(code, call, *needles):
    """The call must fail with this code and a sentence that holds every needle."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code, (caught.value.code(), caught.value.details())
    for needle in needles:
        assert str(needle).lower() in caught.value.details().lower(), caught.value.details()
