"""Writes small ONNX models by hand, so that the tests need no `onnx` package.

Only the protobuf fields that the models below use are known here.
"""

import pathlib
import struct

ELEMENT_TYPES = {
    "FP32": 1, "UINT8": 2, "INT8": 3, "UINT16": 4, "INT16": 5, "INT32": 6, "INT64": 7, "BYTES": 8,
    "BOOL": 9, "FP16": 10, "FP64": 11, "UINT32": 12, "UINT64": 13, "BF16": 16,
}
DATATYPES = tuple(ELEMENT_TYPES)
OPSET, IR_VERSION = 13, 8


def _varint(number):
    out = bytearray()
    number &= (1 << 64) - 1
    while True:
        low, number = number & 0x7F, number >> 7
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def _field(number, value):
    """One protobuf field: int as a varint, str and bytes length-delimited."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _value_info(name, datatype, dims):
    """A tensor's declaration; a dimension that is a str is open (-1 in the metadata)."""
    shape = b"".join(
        _field(1, _field(1, d) if isinstance(d, int) else _field(2, d)) for d in dims
    )
    tensor = _field(1, ELEMENT_TYPES[datatype]) + _field(2, shape)
    return _field(1, name) + _field(2, _field(1, tensor))


def _node(op, inputs, outputs):
    parts = [_field(1, i) for i in inputs] + [_field(2, o) for o in outputs]
    return b"".join(parts) + _field(3, f"{op}_{outputs[0]}") + _field(4, op)


def _initializer(name, datatype, raw):
    return _field(2, ELEMENT_TYPES[datatype]) + _field(8, name) + _field(9, raw)


def model(nodes, inputs, outputs, initializers=()):
    """A model file's bytes; inputs and outputs are (name, datatype, dims)."""
    graph = b"".join(_field(1, n) for n in nodes) + _field(2, "graph")
    graph += b"".join(_field(5, i) for i in initializers)
    graph += b"".join(_field(11, _value_info(*i)) for i in inputs)
    graph += b"".join(_field(12, _value_info(*o)) for o in outputs)
    opset = _field(1, "") + _field(2, OPSET)
    return _field(1, IR_VERSION) + _field(2, "oip-tests") + _field(7, graph) + _field(8, opset)


def identity(datatype, dims=("n",)):
    """IN -> OUT, unchanged."""
    return model([_node("Identity", ["IN"], ["OUT"])], [("IN", datatype, dims)], [("OUT", datatype, dims)])


def add(constant):
    """IN (FP32, any length) -> OUT = IN + constant: the answer tells which file is served."""
    return model(
        [_node("Add", ["IN", "C"], ["OUT"])],
        [("IN", "FP32", ("n",))], [("OUT", "FP32", ("n",))],
        [_initializer("C", "FP32", struct.pack("<f", constant))],
    )


def sum_and_difference(datatype="INT32", dims=(4,)):
    """A, B -> SUM, DIFF."""
    return model(
        [_node("Add", ["A", "B"], ["SUM"]), _node("Sub", ["A", "B"], ["DIFF"])],
        [("A", datatype, dims), ("B", datatype, dims)],
        [("SUM", datatype, dims), ("DIFF", datatype, dims)],
    )


def unknown_operator():
    """A well-formed file with an operator that no engine has."""
    return model([_node("NoSuchOperator", ["IN"], ["OUT"])], [("IN", "FP32", (1,))], [("OUT", "FP32", (1,))])


def put(repository, name, content, version=1):
    """Places `content` as `<name>/<version>/model.onnx`, by a rename as deployments do."""
    folder = pathlib.Path(repository) / name / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / ".model.onnx.new"
    fresh.write_bytes(content)
    fresh.rename(folder / "model.onnx")
    return folder / "model.onnx"
