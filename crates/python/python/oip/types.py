"""The words of the protocol: requests, responses, tensors, metadata.

Names, constructor arguments and attributes are those of the Python original
(aissemble-open-inference-protocol), so that its handlers run unchanged.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Never, Self, TypeVar

from . import _oip
from ._dataplane import flatten, get_actual_shape, validate_datatype, validate_shape
from ._oip import Context, TensorData
from ._parameters import Parameters, parameters_of
from ._show import short

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "Datatype",
    "InferenceRequest",
    "InferenceResponse",
    "Message",
    "MetadataTensor",
    "ModelMetadataErrorResponse",
    "ModelMetadataResponse",
    "ModelReadyResponse",
    "Parameters",
    "RequestInput",
    "RequestOutput",
    "ResponseOutput",
    "ServerLiveResponse",
    "ServerMetadataErrorResponse",
    "ServerMetadataResponse",
    "ServerReadyResponse",
    "TensorData",
    "flatten",
    "get_actual_shape",
    "validate_datatype",
    "validate_shape",
]

M = TypeVar("M", bound="Message")


class Datatype(StrEnum):
    """What the elements of a tensor are. Equal to its name: ``Datatype.FP32 == "FP32"``."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BF16 = "BF16"
    BYTES = "BYTES"

    @classmethod
    def _missing_(cls, value: object) -> Datatype:
        known = ", ".join(cls.__members__)
        raise ValueError(f"unknown datatype {value!r}; known are {known}")


class Message:
    """What requests, responses, tensors and metadata have in common. As with the original,
    members that are not known are passed over; type checkers name them."""

    __slots__ = ()
    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        own = cls.__dict__.get("__slots__", ())
        cls._fields = cls._fields + tuple(name for name in own if not name.startswith("_"))

    @classmethod
    def model_validate(cls, value: Any) -> Self:
        """A message of this kind from itself or from a mapping of its members."""
        if isinstance(value, cls):
            return value
        if isinstance(value, Mapping):
            return cls(**value)
        raise TypeError(f"expected {cls.__name__} or a mapping, not {type(value).__name__}")

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> Self:
        """A message of this kind from JSON."""
        return cls.model_validate(json.loads(text))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, with other members in it where they are given; what it holds is the same, or
        copied too."""
        made = copy.deepcopy(self) if deep else copy.copy(self)
        for name, value in (update or {}).items():
            setattr(made, name, value)
        return made

    def model_dump(
        self, *, mode: Literal["python", "json"] = "python", exclude_none: bool = False
    ) -> dict[str, Any]:
        """The message as dictionaries and lists; with ``json`` of nothing but what JSON knows."""
        if mode == "json":
            made: dict[str, Any] = json.loads(self.model_dump_json(exclude_none=exclude_none))
            return made
        dumped = {name: _dump(getattr(self, name), exclude_none) for name in self._fields}
        return {k: v for k, v in dumped.items() if not (exclude_none and v is None)}

    def model_dump_json(self, *, indent: int | None = None, exclude_none: bool = False) -> str:
        """The message as JSON."""
        dumped = self.model_dump(exclude_none=exclude_none)
        separators = (",", ":") if indent is None else None
        return json.dumps(dumped, indent=indent, separators=separators, default=_text)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._fields)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        given = ((name, getattr(self, name)) for name in self._fields)
        inner = ", ".join(f"{name}={_show(value)}" for name, value in given if value is not None)
        return f"{type(self).__name__}({inner})"


def _dump(value: Any, exclude_none: bool) -> Any:
    if isinstance(value, (Message, Parameters)):
        return value.model_dump(exclude_none=exclude_none)
    if isinstance(value, TensorData):
        return value.tolist()
    if isinstance(value, list):
        return [_dump(item, exclude_none) for item in value]
    return value


def _text(value: Any) -> Any:
    """What JSON does not know: bytes, as text; arrays and numbers of NumPy."""
    if isinstance(value, bytes):
        return value.decode()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _show(value: Any) -> str:
    return str(value) if isinstance(value, Datatype) else short(value)


def _each(kind: type[M], values: Sequence[Any] | None, name: str) -> list[M]:
    if values is None or isinstance(values, (str, bytes, Mapping)):
        raise TypeError(f"{name} must be a list of {kind.__name__}, not {type(values).__name__}")
    return [v if isinstance(v, kind) else kind.model_validate(v) for v in values]


def _datatype(value: Datatype | str) -> Datatype:
    return value if type(value) is Datatype else Datatype(value)


class _WithParameters(Message):
    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def parameters(self) -> Parameters | None:
            """What stands beside; ``None`` where nothing does. A dictionary may be set too."""

        @parameters.setter
        def parameters(self, parameters: Parameters | Mapping[str, Any] | None) -> None: ...


class RequestOutput(_WithParameters):
    """An output that the caller asks for."""

    __slots__ = ("name", "parameters")
    name: str

    def __init__(
        self, name: str, parameters: Parameters | Mapping[str, Any] | None = None,
        **_: Never,
    ) -> None:
        self.name = name
        self.parameters = parameters_of(parameters)


class _Tensor(_WithParameters):
    __slots__ = ("name", "shape", "datatype", "parameters", "data")
    name: str
    shape: list[int]
    datatype: Datatype
    data: TensorData

    def __init__(
        self,
        name: str,
        shape: Sequence[int] | None = None,
        datatype: Datatype | str | None = None,
        parameters: Parameters | Mapping[str, Any] | None = None,
        data: Any = None,
        **_: Never,
    ) -> None:
        self.name = name
        self.parameters = parameters_of(parameters)
        if type(data) is not TensorData:
            data = TensorData(data)
        self.data = data
        if shape is not None and datatype is not None:
            self.shape = shape if type(shape) is list else list(shape)
            self.datatype = datatype if type(datatype) is Datatype else Datatype(datatype)
        else:
            self._derive(shape, datatype)

    def _derive(self, shape: Sequence[int] | None, datatype: Datatype | str | None) -> None:
        """Shape and datatype where they were not given: an array knows its own."""
        from . import _arrays

        known = _arrays.describe(self.data)
        if known is None:
            lacking = "shape" if shape is None else "datatype"
            raise TypeError(f"tensor {self.name!r}: {lacking} is needed, as data is no array")
        self.shape = list(known[0] if shape is None else shape)
        self.datatype = known[1] if datatype is None else _datatype(datatype)

    def validate_oip(self) -> None:
        """Checks the data against datatype and shape.

        Raises ``ValueError`` or ``TypeError`` with what was declared and what was found.
        """
        _oip.check_tensor(self)

    def numpy(self) -> np.ndarray[Any, Any]:
        """The data as a NumPy array of this shape: a read-only view of the request's buffer.

        BYTES are an object array of ``bytes``; BF16 is ``ml_dtypes.bfloat16`` where that is
        installed, else its bits as ``uint16``.
        """
        from . import _arrays

        return _arrays.view(self.data, self.datatype, self.shape)

    def strings(self) -> list[str]:
        """The elements of a BYTES tensor as text (UTF-8), flat."""
        from . import _arrays

        return _arrays.strings(self)


class RequestInput(_Tensor):
    """An input tensor of a request."""

    __slots__ = ()


class ResponseOutput(_Tensor):
    """An output tensor of a response.

    ``data`` is a list (flat, or nested as ``shape``), an array of NumPy, or anything with the
    buffer protocol or ``__dlpack__``. An array brings its ``shape`` and ``datatype`` along.
    Large arrays are sent as they lie in memory: do not write to one after you returned it.
    """

    __slots__ = ()


class InferenceRequest(_WithParameters):
    """What a caller sends."""

    __slots__ = ("id", "parameters", "inputs", "outputs", "_context")
    id: str | None
    inputs: list[RequestInput]
    outputs: list[RequestOutput] | None
    _context: Context | None

    def __init__(
        self,
        inputs: Sequence[RequestInput | Mapping[str, Any]],
        outputs: Sequence[RequestOutput | Mapping[str, Any]] | None = None,
        id: str | None = None,
        parameters: Parameters | Mapping[str, Any] | None = None,
        **_: Never,
    ) -> None:
        self.id = id
        self.parameters = parameters_of(parameters)
        self.inputs = _each(RequestInput, inputs, "inputs")
        self.outputs = None if outputs is None else _each(RequestOutput, outputs, "outputs")
        self._context = Context()

    @property
    def context(self) -> Context:
        """Who asks: subject, roles, headers, the request's name, and the time that is left.

        A ``RuntimeError`` where no single caller is known: in a handler with ``max_batch_size``,
        and in a ``model.py`` whose ``model.toml`` has it batched or its answers kept.
        """
        if self._context is None:
            raise RuntimeError(
                "this request has no context: a handler with max_batch_size answers several "
                "callers at once, as a model.py does with [batching] or [cache] in its model.toml"
            )
        return self._context

    @context.setter
    def context(self, context: Context) -> None:
        self._context = context

    def input(self, name: str) -> RequestInput:
        """The input of this name; a ``ValueError`` (400) where the caller sent none."""
        for tensor in self.inputs:
            if tensor.name == name:
                return tensor
        sent = ", ".join(f"'{tensor.name}'" for tensor in self.inputs)
        raise ValueError(f"input '{name}' is missing; the request has {sent or 'none'}")

    def validate_oip(self) -> None:
        """Checks every input's data against its datatype and shape."""
        if not self.inputs:
            raise ValueError("the request has no inputs")
        for tensor in self.inputs:
            tensor.validate_oip()


class InferenceResponse(_WithParameters):
    """A handler's answer. Name, version and id are filled in from the request."""

    __slots__ = ("model_name", "model_version", "id", "parameters", "outputs")
    model_name: str
    model_version: str | None
    id: str | None
    outputs: list[ResponseOutput]

    def __init__(
        self,
        model_name: str = "",
        model_version: str | None = None,
        id: str | None = None,
        parameters: Parameters | Mapping[str, Any] | None = None,
        outputs: Sequence[ResponseOutput | Mapping[str, Any]] = (),
        **_: Never,
    ) -> None:
        self.model_name = model_name
        self.model_version = model_version
        self.id = id
        self.parameters = parameters_of(parameters)
        self.outputs = _each(ResponseOutput, outputs, "outputs")

    def output(self, name: str) -> ResponseOutput:
        """The output of this name; a ``KeyError`` where there is none."""
        for tensor in self.outputs:
            if tensor.name == name:
                return tensor
        raise KeyError(name)

    def validate_oip(self) -> None:
        """Checks every output's data against its datatype and shape."""
        for tensor in self.outputs:
            tensor.validate_oip()


class MetadataTensor(Message):
    """A tensor that a model declares; -1 in its shape is open."""

    __slots__ = ("name", "datatype", "shape")
    name: str
    datatype: Datatype
    shape: list[int]

    def __init__(
        self, name: str, datatype: Datatype | str, shape: Sequence[int], **_: Never
    ) -> None:
        self.name = name
        self.datatype = _datatype(datatype)
        self.shape = list(shape)


class ModelMetadataResponse(Message):
    """What a model declares. Requests and answers are held to it."""

    __slots__ = ("name", "versions", "platform", "inputs", "outputs")
    name: str
    versions: list[str] | None
    platform: str
    inputs: list[MetadataTensor]
    outputs: list[MetadataTensor]

    def __init__(
        self,
        name: str = "",
        versions: Sequence[str] | None = None,
        platform: str = "python",
        inputs: Sequence[MetadataTensor | Mapping[str, Any]] = (),
        outputs: Sequence[MetadataTensor | Mapping[str, Any]] = (),
        **_: Never,
    ) -> None:
        self.name = name
        self.versions = None if versions is None else list(versions)
        self.platform = platform
        self.inputs = _each(MetadataTensor, inputs, "inputs")
        self.outputs = _each(MetadataTensor, outputs, "outputs")


class ModelReadyResponse(Message):
    """Whether a model can answer now."""

    __slots__ = ("name", "ready")
    name: str
    ready: bool

    def __init__(self, name: str, ready: bool, **_: Never) -> None:
        self.name = name
        self.ready = ready


class _Live(Message):
    __slots__ = ("live",)
    live: bool

    def __init__(self, live: bool, **_: Never) -> None:
        self.live = live


class ServerReadyResponse(_Live):
    """Whether the server is ready."""

    __slots__ = ()


class ServerLiveResponse(_Live):
    """Whether the server lives."""

    __slots__ = ()


class ServerMetadataResponse(Message):
    """What a server says of itself."""

    __slots__ = ("name", "version", "extensions")
    name: str
    version: str
    extensions: list[str]

    def __init__(
        self, name: str, version: str, extensions: Sequence[str], **_: Never
    ) -> None:
        self.name = name
        self.version = version
        self.extensions = list(extensions)


class _Failed(Message):
    __slots__ = ("error",)
    error: str

    def __init__(self, error: str, **_: Never) -> None:
        self.error = error


class ModelMetadataErrorResponse(_Failed):
    """The body of a refused metadata request."""

    __slots__ = ()


class ServerMetadataErrorResponse(_Failed):
    """The body of a refused server metadata request."""

    __slots__ = ()
