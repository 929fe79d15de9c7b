"""Answers in short: a dictionary of outputs, or the data of the one output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import _arrays
from .types import InferenceResponse, ResponseOutput, TensorData

Declared = Sequence[tuple[str, str]]
"""Name and datatype of each output that the model declares."""


def to_response(result: Any, declared: Declared) -> InferenceResponse:
    """The response that a handler meant."""
    if isinstance(result, InferenceResponse):
        return result
    datatypes = dict(declared)
    if isinstance(result, Mapping):
        outputs = [_output(name, data, datatypes) for name, data in result.items()]
        return InferenceResponse(outputs=outputs)
    if isinstance(result, ResponseOutput):
        return InferenceResponse(outputs=[result])
    if type(result).__name__ == "DataFrame":
        from .codecs import PandasCodec

        if PandasCodec.can_encode(result):
            return PandasCodec.encode_response("", result)
    several = isinstance(result, (list, tuple)) and bool(result)
    if several and all(isinstance(item, ResponseOutput) for item in result):
        return InferenceResponse(outputs=result)
    if isinstance(result, tuple) and len(result) == len(declared) > 1:
        named = zip((name for name, _ in declared), result, strict=True)
        outputs = [_output(name, data, datatypes) for name, data in named]
        return InferenceResponse(outputs=outputs)
    if result is None or isinstance(result, (str, bytes)) and len(declared) != 1:
        kind = type(result).__name__
        raise TypeError(f"infer returned {kind}, but an InferenceResponse is due")
    if len(declared) > 1:
        raise TypeError(f"infer returned one result, but {len(declared)} outputs are declared")
    name = declared[0][0] if declared else "output"
    return InferenceResponse(outputs=[_output(name, result, datatypes)])


def _output(name: str, data: Any, datatypes: Mapping[str, str]) -> ResponseOutput:
    if isinstance(data, ResponseOutput):
        return data
    if isinstance(data, TensorData):
        data = data.root
    array = _arrays.as_array(_gathered(data))
    datatype = datatypes.get(name)
    if array is not None:
        return ResponseOutput(name, list(array.shape), datatype, data=array)
    if datatype is None:
        datatype = _datatype(name, data)
    return ResponseOutput(name, _shape(data), datatype, data=data)


def _gathered(data: Any) -> Any:
    """An array of what is a list of arrays, or of numbers, of NumPy; anything else as it is."""
    first = data
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if first is data or isinstance(first, (str, bytes)) or not hasattr(first, "dtype"):
        return data
    import numpy as np

    return np.asarray(data)


def _shape(data: Any) -> list[int]:
    shape = []
    while isinstance(data, (list, tuple)):
        shape.append(len(data))
        if not data:
            break
        data = data[0]
    return shape


def _datatype(name: str, data: Any) -> str:
    """The datatype of lists that nothing was declared for, by their first element."""
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    for kind, datatype in ((bool, "BOOL"), (int, "INT64"), (float, "FP64"), (str, "BYTES")):
        if isinstance(data, kind):
            return datatype
    if isinstance(data, bytes):
        return "BYTES"
    raise TypeError(f"output '{name}': no datatype is declared, and the data has none")
