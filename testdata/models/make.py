"""Write the small ONNX models that the engine tests load, one file each.

    python3 -m venv .venv-models && .venv-models/bin/pip install -r testdata/models/requirements.txt
    .venv-models/bin/python testdata/models/make.py

README.md says what each shows. The files are kept in the repository; run this
only after changing it. Running it twice writes the same bytes.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent

# OIP name of each datatype → ONNX element type.
DATATYPES = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "fp16": TensorProto.FLOAT16,
    "fp32": TensorProto.FLOAT,
    "fp64": TensorProto.DOUBLE,
    "bf16": TensorProto.BFLOAT16,
    "bytes": TensorProto.STRING,
}

FP32, BF16 = TensorProto.FLOAT, TensorProto.BFLOAT16
INT32, INT64 = TensorProto.INT32, TensorProto.INT64
ML, OWN = "ai.onnx.ml", "com.example"


def tensor(name, element, *dims):
    """A graph input or output. A dimension is a size; open: a symbol, or None without a name."""
    return helper.make_tensor_value_info(name, element, dims)


def constant(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def save(name, nodes, inputs, outputs, constants=(), domain=None, valid=True, between=()):
    opsets = [helper.make_opsetid("", 17)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 3 if domain == ML else 1))
    graph = helper.make_graph(nodes, name, inputs, outputs, constants, value_info=between)
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="oip-testdata")
    if valid:
        onnx.checker.check_model(model, full_check=True)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def datatypes():
    for name, element in DATATYPES.items():
        save(
            f"identity_{name}",
            [node("Identity", "INPUT0", "OUTPUT0")],
            [tensor("INPUT0", element, "rows", "columns")],
            [tensor("OUTPUT0", element, "rows", "columns")],
        )


def shapes():
    save(
        "add_sub",
        [node("Add", "INPUT0 INPUT1", "OUTPUT0"), node("Sub", "INPUT0 INPUT1", "OUTPUT1")],
        [tensor("INPUT0", INT32, "batch", 16), tensor("INPUT1", INT32, "batch", 16)],
        [tensor("OUTPUT0", INT32, "batch", 16), tensor("OUTPUT1", INT32, "batch", 16)],
    )
    save(
        "scalar",
        [node("Add", "x x", "y")],
        [tensor("x", FP32)],
        [tensor("y", FP32)],
    )
    save(
        "fixed",
        [node("Transpose", "x", "y", perm=[1, 0])],
        [tensor("x", FP32, 2, 3)],
        [tensor("y", FP32, 3, 2)],
    )
    save(
        "unnamed_batch",
        [node("Neg", "x", "y")],
        [tensor("x", FP32, None, 4)],
        [tensor("y", FP32, None, 4)],
    )
    save(
        "shape_of",
        [node("Shape", "x", "y")],
        [tensor("x", FP32, "rows", "columns")],
        [tensor("y", INT64, 2)],
    )
    save(
        "nonzero",
        [node("NonZero", "x", "y")],
        [tensor("x", FP32, "rows", "columns")],
        [tensor("y", INT64, 2, "found")],
    )
    save(
        "overridable_weight",
        [node("Add", "x bias", "y")],
        [tensor("x", FP32, "batch"), tensor("bias", FP32, 1)],
        [tensor("y", FP32, "batch")],
        [constant("bias", np.array([10], np.float32))],
    )
    save(
        "passed_through",
        [node("Neg", "x", "negated")],
        [tensor("x", FP32, "batch"), tensor("unused", FP32, "batch")],
        [tensor("x", FP32, "batch"), tensor("negated", FP32, "batch")],
    )


def bfloats():
    """Computing in BF16; its constants in each of the places where a file can keep them."""
    # 1 + 2^-8 is no BF16; the two terms are: 1.0 raw, 2^-8 as 16-bit patterns in int32_data.
    one = helper.make_tensor("one", BF16, [1], bytes([0x80, 0x3F]), raw=True)
    save(
        "add_bf16",
        [
            node("Constant", "", "tiny", value=patterns(0x3B80)),
            node("Add", "x one", "more"),
            node("Add", "more tiny", "y"),
        ],
        [tensor("x", BF16, "n")],
        [tensor("y", BF16, "n")],
        [one],
    )
    branches = {}
    for branch, pattern in (("then", 0x3F80), ("else", 0xBF80)):
        branches[f"{branch}_branch"] = helper.make_graph(
            [
                node("Constant", "", f"{branch}_term", value=patterns(pattern)),
                node("Add", f"scaled {branch}_term", f"{branch}_y"),
            ],
            branch,
            [],
            [tensor(f"{branch}_y", BF16, "n")],
        )
    save(
        "mixed_bf16",
        [
            node("Cast", "x", "narrow", to=BF16),
            node("Constant", "", "factor", value=patterns(0x4020)),
            node("Mul", "narrow factor", "scaled"),
            node("If", "flag", "y", **branches),
        ],
        [tensor("x", FP32, "n"), tensor("flag", TensorProto.BOOL, 1)],
        [tensor("y", BF16, "n")],
        between=[tensor("scaled", BF16, "n")],
    )


def patterns(*bits):
    """A BF16 constant that keeps its elements in int32_data."""
    constant = TensorProto(data_type=BF16, dims=[len(bits)], name="value")
    constant.int32_data.extend(bits)
    return constant


def output_without_shape():
    """What older exporters write: an output that says its element type and nothing more."""
    save(
        "no_output_shape",
        [node("Neg", "x", "y")],
        [tensor("x", FP32, "batch", 4)],
        [helper.make_tensor_value_info("y", FP32, None)],
        valid=False,
    )


def external_data():
    """Weights in a file of their own beside the model, `external_data.weights`."""
    weights = np.array([1, 2, 3, 4], dtype=np.float32)
    (HERE / "external_data.weights").write_bytes(weights.tobytes())
    outside = helper.make_tensor("w", FP32, [4], weights.tobytes(), raw=True)
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="external_data.weights")
    outside.external_data.add(key="length", value=str(weights.nbytes))
    save(
        "external_data",
        [node("Add", "x w", "y")],
        [tensor("x", FP32, "batch", 4)],
        [tensor("y", FP32, "batch", 4)],
        [outside],
        valid=False,
    )


def run_time():
    save(
        "gather",
        [node("Gather", "table index", "y")],
        [tensor("index", INT64, "batch")],
        [tensor("y", FP32, "batch")],
        [constant("table", np.array([10, 20, 30], np.float32))],
    )
    save(
        "divide",
        [node("Div", "x y", "z")],
        [tensor("x", INT32, "batch"), tensor("y", INT32, "batch")],
        [tensor("z", INT32, "batch")],
    )
    # Eight products of an n by n matrix with itself: the client's n chooses how long
    # it takes. Tanh keeps the values finite.
    chain = []
    for step in range(8):
        before, after = "x" if step == 0 else f"t{step}", "y" if step == 7 else f"t{step + 1}"
        chain += [node("MatMul", f"{before} x", f"m{step}"), node("Tanh", f"m{step}", after)]
    save("busy", chain, [tensor("x", FP32, "n", "n")], [tensor("y", FP32, "n", "n")])


def lacking():
    sequence = helper.make_tensor_sequence_value_info("y", FP32, ["batch"])
    save(
        "sequence_op",
        [node("SequenceConstruct", "x x", "y")],
        [tensor("x", FP32, "batch")],
        [sequence],
    )
    row = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FP32, []))
    save(
        "map_output",
        [node("ZipMap", "x", "y", domain=ML, classlabels_int64s=[0, 1, 2])],
        [tensor("x", FP32, "batch", 3)],
        [helper.make_value_info("y", helper.make_sequence_type_proto(row))],
        domain=ML,
    )
    save(
        "string_op",
        [node("StringNormalizer", "x", "y", is_case_sensitive=1, stopwords=["the"])],
        [tensor("x", TensorProto.STRING, "batch")],
        [tensor("y", TensorProto.STRING, "kept")],
    )
    save(
        "unknown_op",
        [node("Frobnicate", "x", "y", domain=OWN)],
        [tensor("x", FP32, "batch")],
        [tensor("y", FP32, "batch")],
        domain=OWN,
        valid=False,
    )
    save(
        "foreign_domain",
        [node("Abs", "x", "y", domain=OWN)],
        [tensor("x", FP32, "batch")],
        [tensor("y", FP32, "batch")],
        domain=OWN,
        valid=False,
    )


def broken():
    save(
        "unknown_rank",
        [node("Neg", "x", "y")],
        [helper.make_tensor_value_info("x", FP32, None)],
        [helper.make_tensor_value_info("y", FP32, None)],
        valid=False,
    )
    save(
        "dangling_output",
        [node("Neg", "x", "y")],
        [tensor("x", FP32, "batch")],
        [tensor("elsewhere", FP32, "batch")],
        valid=False,
    )
    (HERE / "not_onnx.onnx").write_text("This is a text file.\n")
    whole = (HERE / "add_sub.onnx").read_bytes()
    (HERE / "truncated.onnx").write_bytes(whole[: len(whole) // 2])


if __name__ == "__main__":
    for group in (datatypes, shapes, bfloats, output_without_shape, external_data, run_time, lacking, broken):
        group()
    files = sorted(HERE.glob("*.onnx"))
    print(f"{len(files)} models, {sum(file.stat().st_size for file in files):,} bytes")
