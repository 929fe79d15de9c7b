"""Content types: what the elements of a tensor mean beyond their datatype.

A codec is a view that a handler chooses: it changes neither datatype nor shape of what is sent.
Names and methods are those of the Python original and of MLServer.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from . import _arrays
from ._registry import (
    CodecRegistry,
    codec_registry,
    find_input_codec,
    find_input_codec_by_payload,
    find_request_codec,
    find_request_codec_by_payload,
    register_input_codec,
    register_request_codec,
)
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
    "CodecRegistry",
    "InputCodec",
    "NumpyArrayCodec",
    "NumpyArrayRequestCodec",
    "PandasCodec",
    "RequestCodec",
    "SingleTensorRequestCodec",
    "StringCodec",
    "StringRequestCodec",
    "codec_registry",
    "decode",
    "decode_inference_request",
    "find_input_codec",
    "find_input_codec_by_payload",
    "find_request_codec",
    "find_request_codec_by_payload",
    "get_decoded_or_raw",
    "register_input_codec",
    "register_request_codec",
]


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


def decode(tensor: _Tensor, default: type[InputCodec] | None = None) -> Any:
    """What a tensor means by its own ``content_type``, else by the default codec, else its
    array."""
    named = None if tensor.parameters is None else tensor.parameters.content_type
    codec = (find_input_codec(named) if named else None) or default or NumpyArrayCodec
    return codec.decode(tensor)


def get_decoded_or_raw(tensor: _Tensor) -> Any:
    """What a tensor means by its ``content_type``; its data where it has none, or none that is
    known."""
    named = None if tensor.parameters is None else tensor.parameters.content_type
    codec = find_input_codec(named) if named else None
    return tensor.data if codec is None else codec.decode(tensor)


@register_input_codec
class NumpyArrayCodec(InputCodec):
    """Arrays of NumPy. One of one dimension is sent as one row, ``[1, N]``, as the original has
    it."""

    ContentType = "numpy"
    Names = ("np",)

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        array = _arrays.as_array(payload)
        return array is not None and array.ndim >= 1

    @classmethod
    def decode(cls, tensor: _Tensor) -> np.ndarray[Any, Any]:
        return tensor.numpy()

    @classmethod
    def encode(cls, payload: Any) -> tuple[list[int], Datatype, Any]:
        import numpy as np

        array = _arrays.as_array(payload)
        made = ResponseOutput("", data=np.asarray(payload) if array is None else array)
        shape = [1, *made.shape] if len(made.shape) == 1 else made.shape
        return shape, made.datatype, made.data


@register_input_codec
class StringCodec(InputCodec):
    """Lists of text, as BYTES of UTF-8 in one column, ``[N, 1]``, as the original has it."""

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
        return [len(texts), 1], Datatype.BYTES, texts


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

    @classmethod
    def encode_input(cls, name: str, payload: Any, **others: Any) -> RequestInput:
        """An input tensor of that: base64, as a caller sends it."""
        texts = [base64.b64encode(item).decode() for item in payload]
        return super().encode_input(name, texts, **others)


class RequestCodec:
    """Turns whole requests and responses into something of Python's, and back."""

    ContentType: ClassVar[str] = ""

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        """Whether this codec can make a request of that."""
        return False

    @classmethod
    def encode_request(cls, payload: Any, **_: Any) -> InferenceRequest:
        """A request of that."""
        raise NotImplementedError

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        """What a request means."""
        raise NotImplementedError

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **_: Any
    ) -> InferenceResponse:
        """A response of that."""
        raise NotImplementedError

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        """What a response means."""
        raise NotImplementedError


class SingleTensorRequestCodec(RequestCodec):
    """Requests and responses of one tensor, which another codec is for."""

    InputCodec: ClassVar[type[InputCodec]]

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return cls.InputCodec.can_encode(payload)

    @classmethod
    def encode_request(cls, payload: Any, **others: Any) -> InferenceRequest:
        tensor = cls.InputCodec.encode_input("input-0", payload, **others)
        return InferenceRequest([tensor], parameters=Parameters(content_type=cls.ContentType))

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        if len(request.inputs) != 1:
            raise ValueError(f"one input is due, but the request has {len(request.inputs)}")
        return cls.InputCodec.decode_input(request.inputs[0])

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **others: Any
    ) -> InferenceResponse:
        tensor = cls.InputCodec.encode_output("output-0", payload, **others)
        parameters = Parameters(content_type=cls.ContentType)
        return InferenceResponse(model_name, model_version, None, parameters, [tensor])

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        if len(response.outputs) != 1:
            raise ValueError(f"one output is due, but the response has {len(response.outputs)}")
        return cls.InputCodec.decode_output(response.outputs[0])


def decode_inference_request(request: InferenceRequest) -> Any:
    """What a request means by its own ``content_type``; the request itself where it has none, or
    none that is known."""
    named = None if request.parameters is None else request.parameters.content_type
    codec = find_request_codec(named) if named else None
    return request if codec is None else codec.decode_request(request)


@register_request_codec
class NumpyArrayRequestCodec(SingleTensorRequestCodec):
    """A request of one array."""

    InputCodec = NumpyArrayCodec
    ContentType = NumpyArrayCodec.ContentType

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        # A data frame is several, for ``PandasCodec``.
        return not is_frame(payload) and super().can_encode(payload)


@register_request_codec
class StringRequestCodec(SingleTensorRequestCodec):
    """A request of one list of text."""

    InputCodec = StringCodec
    ContentType = StringCodec.ContentType


def is_frame(value: Any) -> bool:
    """Whether this is a data frame of pandas, without importing it."""
    kind = type(value)
    return kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] == "pandas"


@register_request_codec
class PandasCodec(RequestCodec):
    """A whole request as a data frame, one column an input, and back. Needs pandas."""

    ContentType = "pd"

    @classmethod
    def can_encode(cls, payload: Any) -> bool:
        return is_frame(payload)

    @classmethod
    def decode_request(cls, request: InferenceRequest) -> Any:
        """A data frame with one column an input; a ``ValueError`` (400) where they have not the
        same number of rows."""
        return cls._frame("input", request.inputs)

    @classmethod
    def encode_request(cls, payload: Any, **_: Any) -> InferenceRequest:
        """An input for each column."""
        outputs = cls.encode_outputs(payload)
        inputs = [RequestInput(o.name, o.shape, o.datatype, None, o.data) for o in outputs]
        return InferenceRequest(inputs, parameters=Parameters(content_type=cls.ContentType))

    @classmethod
    def encode_response(
        cls, model_name: str, payload: Any, model_version: str | None = None, **_: Any
    ) -> InferenceResponse:
        """An output for each column."""
        return InferenceResponse(model_name, model_version, outputs=cls.encode_outputs(payload))

    @classmethod
    def decode_response(cls, response: InferenceResponse) -> Any:
        """A data frame with one column an output."""
        return cls._frame("output", response.outputs)

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

    @classmethod
    def _frame(cls, side: str, tensors: Sequence[_Tensor]) -> Any:
        import pandas as pd

        columns = {tensor.name: cls._column(tensor) for tensor in tensors}
        for name, column in columns.items():
            first = next(iter(columns))
            if len(column) != len(columns[first]):
                raise ValueError(
                    f"{side} '{name}' has {len(column)} rows, but '{first}' has "
                    f"{len(columns[first])}: a data frame has as many in every column"
                )
        return pd.DataFrame(columns)

    @staticmethod
    def _column(tensor: _Tensor) -> Any:
        named = None if tensor.parameters is None else tensor.parameters.content_type
        if tensor.datatype == Datatype.BYTES and named in (None, "str"):
            return tensor.strings()
        array = tensor.numpy()
        columns = int(array.size // max(len(array), 1)) if array.ndim else 1
        return array.reshape(-1) if columns == 1 else list(array)
