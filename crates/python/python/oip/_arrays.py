"""NumPy at the edge: views of request buffers, and outputs that are arrays.

NumPy is imported when it is first needed, so that ``import oip`` stays light.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ._oip import TensorData
from .types import Datatype

if TYPE_CHECKING:
    import numpy as np

    from .types import _Tensor

_NAMES = {
    Datatype.BOOL: "bool",
    Datatype.UINT8: "uint8",
    Datatype.UINT16: "uint16",
    Datatype.UINT32: "uint32",
    Datatype.UINT64: "uint64",
    Datatype.INT8: "int8",
    Datatype.INT16: "int16",
    Datatype.INT32: "int32",
    Datatype.INT64: "int64",
    Datatype.FP16: "float16",
    Datatype.FP32: "float32",
    Datatype.FP64: "float64",
}
DATATYPES = {name: datatype for datatype, name in _NAMES.items()} | {"bfloat16": Datatype.BF16}
_dtypes: dict[str, Any] = {}


def dtype(datatype: Datatype | str) -> np.dtype[Any]:
    """The dtype of NumPy for a datatype; ``object`` for BYTES."""
    found = _dtypes.get(datatype)
    if found is None:
        import numpy as np

        datatype = Datatype(datatype)
        if datatype is Datatype.BYTES:
            found = np.dtype(object)
        elif datatype is Datatype.BF16:
            found = _bfloat16() or np.dtype(np.uint16)
        else:
            found = np.dtype(_NAMES[datatype])
        _dtypes[datatype] = found
    return found


def _bfloat16() -> Any:
    """NumPy has no BF16 of its own."""
    import numpy as np

    try:
        import ml_dtypes
    except ImportError:
        return None
    return np.dtype(ml_dtypes.bfloat16)


def view(data: TensorData, datatype: Datatype, shape: list[int]) -> np.ndarray[Any, Any]:
    """A tensor's data as an array; over the request's own buffer where there is one."""
    import numpy as np

    if data.is_buffer:
        array = np.frombuffer(data._buffer(), dtype=dtype(datatype))
        # Reshaping takes longer than all the rest, and most arrays have one dimension.
        return array if len(shape) == 1 else array.reshape(shape)
    if datatype is Datatype.BYTES:
        elements = data._byte_strings()
        if elements is None:
            elements = [_encoded(element) for element in _flat(data.root)]
        array = np.empty(len(elements), dtype=object)
        array[:] = elements
        return array.reshape(shape)
    root = data.root
    if isinstance(root, np.ndarray):
        return root.reshape(shape)
    return np.asarray(root, dtype=dtype(datatype)).reshape(shape)


def to_numpy(
    data: TensorData,
    datatype: str | None,
    shape: list[int] | None,
    wanted: Any = None,
    copy: bool | None = None,
) -> np.ndarray[Any, Any]:
    """``TensorData.__array__``: what NumPy would make of the lists."""
    import numpy as np

    if data.is_buffer and datatype is not None:
        array = np.frombuffer(data._buffer(), dtype=dtype(datatype))
        array = array if shape is None else array.reshape(shape)
        array = array if wanted is None else array.astype(wanted, copy=False)
    else:
        array = np.asarray(data.root, dtype=wanted)
    return array.copy() if copy else array


def _encoded(element: Any) -> bytes:
    return element.encode() if isinstance(element, str) else bytes(element)


def strings(tensor: _Tensor) -> list[str]:
    """The elements of a BYTES tensor as text."""
    if tensor.datatype != Datatype.BYTES:
        raise ValueError(f"tensor '{tensor.name}': expected BYTES, but it is {tensor.datatype}")
    texts = []
    for index, element in enumerate(_flat(tensor.data.root)):
        if isinstance(element, str):
            texts.append(element)
            continue
        try:
            texts.append(bytes(element).decode())
        except UnicodeDecodeError:
            raise ValueError(
                f"tensor '{tensor.name}': BYTES element at index {index} is not UTF-8 text"
            ) from None
    return texts


def _flat(value: Any) -> list[Any]:
    if hasattr(value, "ravel"):
        return list(value.ravel().tolist())
    if not isinstance(value, (list, tuple)):
        return [value]
    flat: list[Any] = []
    for item in value:
        if isinstance(item, (list, tuple)):
            flat.extend(_flat(item))
        else:
            flat.append(item)
    return flat


def as_array(value: Any) -> np.ndarray[Any, Any] | None:
    """An array of NumPy over what is one already in another library; ``None`` for lists."""
    if isinstance(value, (list, tuple, str, bytes, int, float)) or value is None:
        return None
    import numpy as np

    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    if hasattr(value, "__dlpack__"):
        if hasattr(value, "detach"):
            value = value.detach()
        # A tensor on another device is refused by NumPy with a sentence that says so.
        return np.from_dlpack(value)
    if hasattr(value, "__array__"):
        return np.asarray(value)
    try:
        return np.asarray(memoryview(value))
    except TypeError:
        return None


def describe(data: TensorData) -> tuple[list[int], Datatype] | None:
    """Shape and datatype of data that is an array."""
    array = as_array(data.root)
    if array is None:
        return None
    if array.dtype.kind in "OSU":
        return list(array.shape), Datatype.BYTES
    datatype = DATATYPES.get(array.dtype.name)
    if datatype is None:
        raise TypeError(f"an array of {array.dtype} is none of the protocol's datatypes")
    return list(array.shape), datatype


def prepare(value: Any, name: str) -> Any:
    """Data of an output that is neither a list nor a buffer as it is needed.

    Returns a contiguous array of bytes in the protocol's form, or a list for BYTES.
    """
    array = as_array(value)
    if array is None:
        raise TypeError(f"data is a {type(value).__name__}, but a list or an array is due")
    if name == "BYTES":
        if array.dtype.kind not in "OSU":
            raise TypeError(f"data is an array of {array.dtype}, but BYTES are declared")
        return list(array.ravel().tolist())
    return cast(array, name)


def cast(array: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """The array in the declared datatype, as bytes, if none of its values is changed beyond
    rounding."""
    import numpy as np

    wanted = dtype(Datatype(name))
    bits_of_bf16 = name == "BF16" and array.dtype == np.uint16
    if array.dtype != wanted and not bits_of_bf16:
        array = _converted(array, wanted, name)
    array = np.ascontiguousarray(array)
    if sys.byteorder == "big" or array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return array.reshape(-1).view(np.uint8)


def _converted(array: np.ndarray[Any, Any], wanted: Any, name: str) -> np.ndarray[Any, Any]:
    import numpy as np

    found = array.dtype
    if wanted.kind in "iu" and found.kind in "iu":
        limits = np.iinfo(wanted)
        if array.size and (int(array.min()) < limits.min or int(array.max()) > limits.max):
            raise ValueError(f"an array of {found} has values beyond {name}")
        return array.astype(wanted)
    floats = wanted.kind == "f" or name == "BF16"
    if floats and (found.kind in "fiu" or found.name == "bfloat16"):
        with np.errstate(over="ignore"):
            made = array.astype(wanted)
        if not np.array_equal(np.isinf(made), np.isinf(array)):
            raise ValueError(f"an array of {found} has values beyond {name}")
        return made
    if found.kind == "b" and wanted.kind in "iu":
        return array.astype(wanted)
    raise TypeError(f"data is an array of {found}, but {name} is declared")
