"""Asks servers the same gRPC calls and writes what they answered, one column a server.

    python compare_grpc.py --url oip=127.0.0.1:8081 --url original=127.0.0.1:8184/GrpcInferenceService \\
        --json answers-grpc.json --markdown ../../docs/compatibility.md

Runs in the environment of `clients/tritonclient`. What follows the slash is the service's name, where it is not the
protocol's.
"""

import argparse
import json
import pathlib
import struct
import sys

import grpc
from tritonclient.grpc import service_pb2 as pb

from compare import markdown, write_between_marks

FLOATS = struct.pack("<2f", 1.5, 2.5)
TIME_LIMIT_S = 20


def infer(datatype="FP32", shape=(2,), raw=(), model=None, outputs=(), inputs=1, ident="7", **contents):
    """An inference request; the keywords left over are typed contents, field by field."""
    message = pb.ModelInferRequest(model_name=model or f"vector_{datatype.lower()}", id=ident, raw_input_contents=raw)
    for _ in range(inputs):
        tensor = message.inputs.add(name="IN", datatype=datatype, shape=shape)
        for field, values in contents.items():
            getattr(tensor.contents, field).extend(values)
    for name in outputs:
        message.outputs.add(name=name)
    return message


BOTH = "Typed and raw contents together leave open which holds."
MISFIT = "The client's fault: INVALID_ARGUMENT, with the tensor, what was declared and what was found."
# (section, name, method, message, the promised code or "OK", why)
CALLS = [
    ("gRPC", "live", "ServerLive", pb.ServerLiveRequest(), "OK", ""),
    ("gRPC", "ready, unknown model", "ModelReady", pb.ModelReadyRequest(name="nope"), "OK", "Not ready is an answer, not a failure."),
    ("gRPC", "ready, unknown version", "ModelReady", pb.ModelReadyRequest(name="vector_fp32", version="9"), "OK", "Not ready is an answer, not a failure."),
    ("gRPC", "metadata", "ModelMetadata", pb.ModelMetadataRequest(name="vector_fp32"), "OK", ""),
    ("gRPC", "metadata, unknown model", "ModelMetadata", pb.ModelMetadataRequest(name="nope"), "NOT_FOUND", ""),
    ("gRPC", "typed contents", "ModelInfer", infer(fp32_contents=[1.5, 2.5]), "OK", "Typed in, typed out."),
    ("gRPC", "raw contents", "ModelInfer", infer(raw=[FLOATS]), "OK", "Raw in, raw out."),
    ("gRPC", "infer, unknown model", "ModelInfer", infer(model="nope", fp32_contents=[1.5, 2.5]), "NOT_FOUND", ""),
    ("gRPC", "raw and typed together", "ModelInfer", infer(raw=[FLOATS], fp32_contents=[1.5, 2.5]), "INVALID_ARGUMENT", BOTH),
    ("gRPC", "neither", "ModelInfer", infer(), "INVALID_ARGUMENT", MISFIT),
    ("gRPC", "raw contents too short", "ModelInfer", infer(raw=[FLOATS[:-1]]), "INVALID_ARGUMENT", MISFIT),
    ("gRPC", "typed contents too few", "ModelInfer", infer(fp32_contents=[1.5]), "INVALID_ARGUMENT", MISFIT),
    ("gRPC", "data in another datatype's field", "ModelInfer", infer("INT32", int64_contents=[1, 2]), "INVALID_ARGUMENT", MISFIT),
    ("gRPC", "UINT8 300", "ModelInfer", infer("UINT8", uint_contents=[300, 1]), "INVALID_ARGUMENT", "Nothing wraps."),
    ("gRPC", "-1 in the shape", "ModelInfer", infer(shape=[-1], raw=[FLOATS]), "INVALID_ARGUMENT", "Dimensions of a request are counts."),
    ("gRPC", "shape 2^32 x 2^32", "ModelInfer", infer(shape=[2**32, 2**32], model="matrix_fp32", raw=[b""]), "INVALID_ARGUMENT", "The product is checked before anything is allocated."),
    ("gRPC", "an empty tensor", "ModelInfer", infer(shape=[0], raw=[b""]), "OK", "Zero rows are a batch too."),
    ("gRPC", "FP16, raw", "ModelInfer", infer("FP16", raw=[b"\x00\x3e\x00\x41"]), "OK", ""),
    ("gRPC", "BF16, raw", "ModelInfer", infer("BF16", raw=[b"\xc0\x3f\x20\x40"]), "OK", "The fourteenth datatype, everywhere."),
    ("gRPC", "BYTES, raw", "ModelInfer", infer("BYTES", raw=[b"\1\0\0\0a\0\0\0\0"]), "OK", ""),
    ("gRPC", "BYTES, raw, broken framing", "ModelInfer", infer("BYTES", raw=[b"\xff\xff\xff\xffa"]), "INVALID_ARGUMENT", MISFIT),
    ("gRPC", "unknown requested output", "ModelInfer", infer(fp32_contents=[1.5, 2.5], outputs=["ZZZ"]), "INVALID_ARGUMENT", "A misspelt name is told."),
    ("gRPC", "the same input twice", "ModelInfer", infer(fp32_contents=[1.5, 2.5], inputs=2), "INVALID_ARGUMENT", "A request is held to what the model declares."),
    ("gRPC", "no inputs", "ModelInfer", infer(inputs=0), "INVALID_ARGUMENT", "A request is held to what the model declares."),
    ("gRPC", "repository index", "RepositoryIndex", pb.RepositoryIndexRequest(), "OK", "Model repository extension."),
    ("gRPC", "statistics", "ModelStatistics", pb.ModelStatisticsRequest(name="vector_fp32"), "OK", "Statistics extension."),
    ("gRPC", "model configuration", "ModelConfig", pb.ModelConfigRequest(name="vector_fp32"), "OK", "Model configuration extension."),
]
PROMISED = {name: (code, why) for _, name, _, _, code, why in CALLS}


def shown(answer):
    """The part of an answer that a table has room for."""
    if isinstance(answer, pb.ModelReadyResponse):
        return f"ready={str(answer.ready).lower()}"
    if isinstance(answer, pb.ModelInferResponse):
        if answer.raw_output_contents:
            return "raw"
        fields = [f.name for o in answer.outputs for f, _ in o.contents.ListFields()]
        return f"typed, datatype {answer.outputs[0].datatype}" if fields else "no data"
    return ""


def ask(channel, service, method, message):
    request_type = type(message)
    answer_type = getattr(pb, request_type.__name__.replace("Request", "Response"))
    call = channel.unary_unary(f"/inference.{service}/{method}", request_type.SerializeToString, answer_type.FromString)
    try:
        answer = call(message, timeout=TIME_LIMIT_S)
    except grpc.RpcError as error:
        return {"code": error.code().name, "text": error.details()[:400]}
    return {"code": "OK", "text": shown(answer), "id": getattr(answer, "id", "")}


def ask_all(address):
    address, _, service = address.partition("/")
    with grpc.insecure_channel(address) as channel:
        return {
            f"{section} / {name}": ask(channel, service or "GRPCInferenceService", method, message)
            for section, name, method, message, *_ in CALLS
        }


def cell(answer):
    if answer is None:
        return ""
    return f"OK `{answer['text']}`" if answer["code"] == "OK" and answer["text"] else answer["code"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", action="append", default=[], metavar="NAME=HOST:PORT[/SERVICE]", help="a server to ask")
    parser.add_argument("--json", type=pathlib.Path, required=True, help="where the full answers go")
    parser.add_argument("--markdown", type=pathlib.Path, help="a document whose marked part becomes the table")
    parser.add_argument("--keep", action="store_true", help="keep the columns that the JSON file has")
    parser.add_argument("--check", metavar="NAME", help="fail when this column's codes are not the promised ones")
    arguments = parser.parse_args()
    columns = json.loads(arguments.json.read_text()) if arguments.keep and arguments.json.exists() else {}
    for url in arguments.url:
        name, address = url.split("=", 1)
        columns[name] = ask_all(address)
        print(f"{name}: {len(columns[name])} calls")
    arguments.json.write_text(json.dumps(columns, indent=1, ensure_ascii=False) + "\n")
    if arguments.markdown:
        write_between_marks(arguments.markdown, markdown(columns, CALLS, PROMISED, cell), "grpc answers")
    answers = columns.get(arguments.check, {})
    broken = [f"{n}: promised {PROMISED[n][0]}, answered {answers[f'{s} / {n}']}" for s, n, *_ in CALLS
              if answers and answers[f"{s} / {n}"]["code"] != PROMISED[n][0]]
    print("\n".join(broken))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
