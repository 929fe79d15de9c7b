"""Writes the files of this folder with Python's protobuf and the messages of `tritonclient`,
so that they stand for what others send. Run in a virtual environment with `tritonclient[grpc]`."""

import pathlib
import struct

from tritonclient.grpc import service_pb2 as pb

FOLDER = pathlib.Path(__file__).parent
TYPED = {
    "BOOL": ("bool_contents", [False, True]),
    "UINT8": ("uint_contents", [0, 255]),
    "UINT16": ("uint_contents", [0, 65535]),
    "UINT32": ("uint_contents", [0, 2**32 - 1]),
    "UINT64": ("uint64_contents", [0, 2**64 - 1]),
    "INT8": ("int_contents", [-128, 127]),
    "INT16": ("int_contents", [-32768, 32767]),
    "INT32": ("int_contents", [-(2**31), 2**31 - 1]),
    "INT64": ("int64_contents", [-(2**63), 2**63 - 1]),
    "FP32": ("fp32_contents", [-1.5, float("inf")]),
    "FP64": ("fp64_contents", [0.1, -0.0]),
    "BYTES": ("bytes_contents", [b"", b"\xff\x00"]),
}
RAW = {
    "BOOL": "<2?", "UINT8": "<2B", "UINT16": "<2H", "UINT32": "<2I", "UINT64": "<2Q", "INT8": "<2b",
    "INT16": "<2h", "INT32": "<2i", "INT64": "<2q", "FP32": "<2f", "FP64": "<2d",
}


def head():
    request = pb.ModelInferRequest(model_name="m", model_version="3", id="7")
    request.parameters["timeout"].int64_param = -1
    output = request.outputs.add(name="y")
    output.parameters["classification"].int64_param = 2
    return request


def write(name, message):
    (FOLDER / name).write_bytes(message.SerializeToString(deterministic=True))


typed, raw = head(), head()
for datatype, (field, values) in TYPED.items():
    tensor = typed.inputs.add(name=datatype, datatype=datatype, shape=[2, 1])
    getattr(tensor.contents, field).extend(values)
    raw.inputs.add(name=datatype, datatype=datatype, shape=[2, 1])
    if datatype == "BYTES":
        buffer = b"".join(struct.pack("<I", len(value)) + value for value in values)
    else:
        buffer = struct.pack(RAW[datatype], *values)
    raw.raw_input_contents.append(buffer)
for datatype, buffer in {"FP16": struct.pack("<2e", 1, -2), "BF16": b"\x80\x3f\x00\xc0"}.items():
    raw.inputs.add(name=datatype, datatype=datatype, shape=[2, 1])
    raw.raw_input_contents.append(buffer)
write("typed.bin", typed)
write("raw.bin", raw)

parameters = head()
parameters.inputs.add(name="x", datatype="UINT8", shape=[0])
parameters.parameters["bool"].bool_param = False
parameters.parameters["double"].double_param = 0.5
parameters.parameters["string"].string_param = ""
parameters.parameters["uint64"].uint64_param = 2**64 - 1
write("parameters.bin", parameters)

response = pb.ModelInferResponse(model_name="m", model_version="3", id="7")
response.outputs.add(name="y", datatype="FP16", shape=[])
response.raw_output_contents.append(struct.pack("<e", 1))
write("response.bin", response)
