"""Content types: what the elements of a tensor mean beyond their datatype.

A codec is a view that a handler chooses: it changes neither datatype nor shape of what is sent.
Names and methods are those of the Python original and of MLServer.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from . import _arrays
from .types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    Parameters,
    RequestInput,
    ResponseOutput,
    _Tensor,
)

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "Base64Codec",
    "InputCodec",
    "NumpyArrayCodec",
    "PandasCodec",
    "StringCodec",
    "decode",
    "find_input_codec",
    "get_decoded_or_raw",
    "register_input_codec",
]

_codecs: dict[str, type[InputCodec]] = {}


class InputCodec:
    """Turns tensors into something of Python's, and back."""

    ContentType: ClassVar[str] = ""
    Names: ClassVar[Sequence[str]] = ()

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether this codec can make a tensor of that."""
        return False

    @classmethod
    def decode(cls, tensor: _Tensor) -> Any:
        """What the tensor means."""
        raise NotImplementedError

    @classmethod
    def encode(cls, payload: Any) -> tuple[list[int], Datatype, Any]:
        """Shape, datatype and data."""
        raise NotImplementedError

    @classmethod
    def decode_input(cls, request_input: RequestInput) -> Any:
        """What an input means."""
        return cls.decode(request_input)

    @classmethod
    def decode_output(cls, response_output: ResponseOutput) -> Any:
        """What an output means."""
        return cls.decode(response_output)

    @classmethod
    def encode_input(cls, name: str, payload: Any, **_: Any) -> RequestInput:
        """An input tensor of that."""
        parameters = Parameters(content_type=cls.ContentType)
        shape, datatype, data = cls.encode(payload)
        return RequestInput(name, shape, datatype, parameters, data)

    @classmethod
    def encode_output(cls, name: str, payload: Any, **_: Any) -> ResponseOutput:
        """An output tensor of that."""
        parameters = Parameters(content_type=cls.ContentType)
        shape, datatype, data = cls.encode(payload)
        return ResponseOutput(name, shape, datatype, parameters, data)


def register_input_codec(codec: type[InputCodec]) -> type[InputCodec]:
    """Adds a codec under its content type; a decorator of its class."""
    for name in (codec.ContentType, *codec.Names):
        _codecs[name] = codec
    return codec


def find_input_codec(content_type: str) -> type[InputCodec] | None:
    """The codec of this content type."""
    return _codecs.get(content_type)


def decode(tensor: _Tensor, default: type[InputCodec] | None = None) -> Any:
    """What a tensor means by its own ``content_type``, else by the default codec, else its
    array."""
    named = None if tensor.parameters is None else tensor.parameters.content_type
    codec = (find_input_codec(named) if named else None) or default or NumpyArrayCodec
    return codec.decode(tensor)


def get_decoded_or_raw(tensor: _Tensor) -> Any:
    """What a tensor means by its ``content_type``; its data as lists where it has none."""
    named = None if tensor.parameters is None else tensor.parameters.content_type
    codec = find_input_codec(named) if named else None
    return tensor.data.root if codec is None else codec.decode(tensor)


@register_input_codec
class NumpyArrayCodec(InputCodec):
    """Arrays of NumPy."""

    ContentType = "numpy"
    Names = ("np",)

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return _arrays.as_array(payload) is not None

    @classmethod
    def decode(cls, tensor: _Tensor) -> np.ndarray[Any, Any]:
        return tensor.numpy()

    @classmethod
    def encode(cls, payload: Any) -> tuple[list[int], Datatype, Any]:
        import numpy as np

        array = _arrays.as_array(payload)
        made = ResponseOutput("", data=np.asarray(payload) if array is None else array)
        return made.shape, made.datatype, made.data


@register_input_codec
class StringCodec(InputCodec):
    """Lists of text, as BYTES of UTF-8."""

    ContentType = "str"

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, list) and all(isinstance(item, str) for item in payload)

    @classmethod
    def decode(cls, tensor: _Tensor) -> list[str]:
        return tensor.strings()

    @classmethod
    def encode(cls, payload: Any) -> tuple[list[int], Datatype, Any]:
        texts = [payload] if isinstance(payload, str) else list(payload)
        return [len(texts)], Datatype.BYTES, texts


@register_input_codec
class Base64Codec(InputCodec):
    """Lists of bytes, which travel as base64 in JSON. The server decodes and encodes them on
    the way, so a handler has bytes on both sides."""

    ContentType = "base64"

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return isinstance(payload, list) and all(isinstance(item, bytes) for item in payload)

    @classmethod
    def decode(cls, tensor: _Tensor) -> list[bytes]:
        elements = tensor.data._byte_strings()
        if elements is not None:
            return elements
        raw = tensor.data.root
        return [base64.b64decode(item) if isinstance(item, str) else bytes(item) for item in raw]

    @classmethod
    def encode(cls, payload: Any) -> tuple[list[int], Datatype, Any]:
        return [len(payload)], Datatype.BYTES, list(payload)


class PandasCodec:
    """A whole request as a data frame, one column an input, and back. Needs pandas."""

    ContentType: ClassVar[str] = "pd"

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        """A data frame with one column an input."""
        import pandas as pd

        return pd.DataFrame({tensor.name: cls._column(tensor) for tensor in request.inputs})

    @classmethod
    def encode_response(cls, model_name: str, payload: Any, **_: Any) -> InferenceResponse:
        """An output for each column."""
        return InferenceResponse(model_name=model_name, outputs=cls.encode_outputs(payload))

    @classmethod
    def encode_outputs(cls, payload: Any) -> list[ResponseOutput]:
        """An output for each column."""
        outputs = []
        for name, column in payload.items():
            array = column.to_numpy()
            data = list(array) if array.dtype.kind == "O" else array
            if isinstance(data, list):
                outputs.append(ResponseOutput(str(name), [len(data)], Datatype.BYTES, data=data))
            else:
                outputs.append(ResponseOutput(str(name), data=data))
        return outputs

    @staticmethod
    def _column(tensor: RequestInput) -> Any:
        named = None if tensor.parameters is None else tensor.parameters.content_type
        if tensor.datatype == Datatype.BYTES and named in (None, "str"):
            return tensor.strings()
        array = tensor.numpy()
        columns = int(array.size // max(len(array), 1)) if array.ndim else 1
        return array.reshape(-1) if columns == 1 else list(array)


