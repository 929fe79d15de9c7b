"""A function as a model."""

from __future__ import annotations

import importlib
import inspect
import types
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Generic, ParamSpec, TypeVar

from . import _arrays, _checks, codecs
from ._oip import Context
from ._results import to_response
from .errors import HandlerFailed, InvalidRequest, NotFound
from .handler import ModelHandler
from .types import (
    Datatype,
    InferenceRequest,
    InferenceResponse,
    MetadataTensor,
    ModelMetadataResponse,
    RequestInput,
)

__all__ = ["Model", "Spec", "model"]

P = ParamSpec("P")
R = TypeVar("R")
Declared = MetadataTensor | tuple[str, str, Sequence[int]] | Mapping[str, Any]


class Spec:
    """Datatype and shape of a tensor, in an annotation:
    ``x: Annotated[np.ndarray, Spec("FP32", [-1, 4])]``. Where the annotation says the datatype,
    ``NDArray[np.float32]``, the shape is enough: ``Spec(shape=[-1, 4])``."""

    def __init__(
        self,
        datatype: Datatype | str | None = None,
        shape: Sequence[int] = (-1,),
        name: str | None = None,
    ) -> None:
        self.datatype = None if datatype is None else Datatype(datatype)
        self.shape = list(shape)
        self.name = name

    def __repr__(self) -> str:
        return f"Spec({self.datatype!s}, {self.shape})"


def model(
    name: str,
    *,
    inputs: Sequence[Declared] | None = None,
    outputs: Sequence[Declared] | None = None,
    version: str | None = None,
    platform: str = "python",
    max_batch_size: int | None = None,
    max_batch_delay: float = 0.0,
) -> Callable[[Callable[P, R]], Model[P, R]]:
    """Makes a model of a function. Its parameters are the inputs, by name; what it returns are
    the outputs: one array or list, a dictionary by name, or a tuple in the declared order.

        @oip.model("iris", inputs=[("x", "FP32", [-1, 4])], outputs=[("label", "INT64", [-1])])
        def predict(x):
            return classifier.predict(x)

    Inputs come as read-only NumPy arrays; parameters annotated ``list[str]`` as text,
    ``RequestInput`` as it is, ``InferenceRequest`` as the whole request, ``pandas.DataFrame`` as the
    whole request with a column an input, ``Context`` as who asks. One without an annotation comes
    as what its ``content_type`` says, where the caller gave one. ``**others`` has the inputs that no
    parameter is for. A parameter with a default may be left out, whether it is declared or not; ``X | None``
    is what ``X`` is. Without ``inputs`` and ``outputs`` the annotations say what there is:
    ``Annotated[np.ndarray, Spec("FP32", [-1, 4])]``, ``NDArray[np.float32]`` of one dimension, and
    ``list[str]``. The function itself stays callable. It may be ``async``.
    """

    def decorate(function: Callable[P, R]) -> Model[P, R]:
        made = Model(function, name, inputs, outputs, version, platform)
        made.max_batch_size = max_batch_size
        made.max_batch_delay = max_batch_delay
        return made

    return decorate


class Model(ModelHandler, Generic[P, R]):
    """A function that is served as a model."""

    def __init__(
        self,
        function: Callable[P, R],
        name: str,
        inputs: Sequence[Declared] | None = None,
        outputs: Sequence[Declared] | None = None,
        version: str | None = None,
        platform: str = "python",
    ) -> None:
        self.function = function
        self.name = name
        self.model_names = [name]
        self.version = version
        self.platform = platform
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        hints = _hints(name, function)
        signature = inspect.signature(function)
        self._parameters: dict[str, Callable[[RequestInput], Any]] = {}
        self._others: Callable[[RequestInput], Any] | None = None
        for parameter in signature.parameters.values():
            take = _take(hints.get(parameter.name))
            if parameter.kind is parameter.VAR_KEYWORD:
                self._others = take
            elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
                raise TypeError(
                    f"model '{name}': inputs are handed over by name, which '{parameter}' is not for"
                )
            else:
                self._parameters[parameter.name] = take
        self._optional = {
            parameter.name
            for parameter in signature.parameters.values()
            if parameter.default is not inspect.Parameter.empty
        }
        self.inputs = _declared(inputs) if inputs is not None else _from_hints(signature, hints)
        self.outputs = _declared(outputs) if outputs is not None else _from_return(hints)
        self._outputs = [(t.name, str(t.datatype)) for t in self.outputs or ()]
        if inputs is not None:
            self._refuse_strangers()
        # The server would ask for every input that is declared.
        self._checks = any(one.name in self._optional for one in self.inputs or ())
        self.checks_metadata = not self._checks
        if inspect.iscoroutinefunction(function):
            self.infer = self._infer_async  # type: ignore[method-assign, assignment]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __reduce__(self) -> Any:
        # To another process it goes by name, as its function does: that module is run there.
        return _by_name, (self.function.__module__, self.function.__qualname__)

    def __repr__(self) -> str:
        return f"<model '{self.name}': inputs {self.inputs}, outputs {self.outputs}>"

    def infer(
        self, payload: InferenceRequest, model_name: str, model_version: str | None = None
    ) -> InferenceResponse:
        """Calls the function with the inputs."""
        return self._response(self.function(**self._arguments(payload)))  # type: ignore[call-arg]

    async def _infer_async(
        self, payload: InferenceRequest, model_name: str, model_version: str | None = None
    ) -> InferenceResponse:
        result = await self.function(**self._arguments(payload))  # type: ignore[call-arg, misc]
        return self._response(result)

    def _refuse_strangers(self) -> None:
        """Where inputs are declared, each parameter that has no default is one of them."""
        declared = [one.name for one in self.inputs or ()]
        for name, take in self._parameters.items():
            if take not in _WHOLE and name not in self._optional and name not in declared:
                names = ", ".join(f"'{one}'" for one in declared) or "none"
                raise TypeError(
                    f"model '{self.name}': the parameter '{name}' is none of the declared inputs "
                    f"({names})"
                )

    def _check(self, payload: InferenceRequest) -> None:
        wrong = _checks.mismatch("input", self.inputs or (), payload.inputs, self._optional)
        for asked in payload.outputs or ():
            if self.outputs and all(asked.name != one.name for one in self.outputs):
                wrong = wrong or _checks.unknown("output", asked.name, self.outputs)
        if wrong is not None:
            raise InvalidRequest(wrong)

    def _response(self, result: Any) -> InferenceResponse:
        response = to_response(result, self._outputs)
        if self._checks and self.outputs:
            # As the server has it: an output is due only where it is asked for.
            names = [output.name for output in self.outputs]
            wrong = _checks.mismatch("output", self.outputs, response.outputs, names)
            if wrong is not None:
                raise HandlerFailed(wrong)
        return response

    def _arguments(self, payload: InferenceRequest) -> dict[str, Any]:
        if self._checks:
            self._check(payload)
        arguments: dict[str, Any] = {}
        sent = {tensor.name: tensor for tensor in payload.inputs}
        for name, take in self._parameters.items():
            if take is _request:
                arguments[name] = payload
            elif take is _frame:
                arguments[name] = codecs.PandasCodec.decode_request(payload)
            elif take is _context:
                arguments[name] = payload.context
            elif name in sent:
                arguments[name] = take(sent[name])
            elif name not in self._optional:
                raise InvalidRequest(f"input '{name}' is missing")
        if self._others is not None:
            for name, tensor in sent.items():
                arguments.setdefault(name, self._others(tensor))
        return arguments

    def model_metadata(
        self, model_name: str, model_version: str | None = None
    ) -> ModelMetadataResponse:
        """What was declared, where everything was."""
        if self.version is not None and model_version not in (None, self.version):
            raise NotFound(f"model '{model_name}' has no version '{model_version}'")
        if self.inputs is None or self.outputs is None:
            raise NotImplementedError
        versions = [self.version] if self.version is not None else None
        return ModelMetadataResponse(
            model_name, versions, self.platform, self.inputs, self.outputs
        )

    def model_load(self, model_name: str) -> bool:
        """There is nothing to load."""
        return True


def _hints(model: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"model '{model}': the annotations say what its inputs are, but {error}: what stands "
            "below 'if TYPE_CHECKING' is not imported when the program runs"
        ) from error


def _by_name(module: str, path: str) -> Any:
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found


def _declared(tensors: Sequence[Declared]) -> list[MetadataTensor]:
    made = []
    for tensor in tensors:
        if isinstance(tensor, MetadataTensor):
            made.append(tensor)
        elif isinstance(tensor, Mapping):
            made.append(MetadataTensor(**tensor))
        else:
            made.append(MetadataTensor(*tensor))
    return made


def _without_none(hint: Any) -> Any:
    """``X`` of ``X | None``."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        others = [one for one in typing.get_args(hint) if one is not type(None)]
        return others[0] if len(others) == 1 else hint
    return hint


def _bare(hint: Any) -> Any:
    """The type alone, without what is said beside it, and without ``None``."""
    plain = hint.__origin__ if typing.get_origin(hint) is Annotated else _without_none(hint)
    return hint if plain is hint else _bare(plain)


def _spec(hint: Any) -> Spec | None:
    """What an annotation says of datatype and shape."""
    hint = _without_none(hint)
    if typing.get_origin(hint) is Annotated:
        known = _spec(hint.__origin__)
        for extra in hint.__metadata__:
            if isinstance(extra, Spec):
                if extra.datatype is None:
                    datatype = None if known is None else known.datatype
                    return Spec(datatype, extra.shape, extra.name) if datatype else None
                return extra
        return known
    if typing.get_origin(hint) is not None and hint not in _SPECS:
        return _of_array(hint)
    return _SPECS.get(hint)


def _of_array(hint: Any) -> Spec | None:
    """What ``NDArray[np.float32]`` says: the datatype, and one dimension for want of a shape."""
    origin = typing.get_origin(hint)
    if getattr(origin, "__name__", "") != "ndarray":
        return None
    scalars = typing.get_args(typing.get_args(hint)[-1])
    name = getattr(scalars[0], "__name__", "") if scalars else ""
    datatype = _arrays.DATATYPES.get(name.rstrip("_"))
    return None if datatype is None else Spec(datatype)


def _from_hints(
    signature: inspect.Signature, hints: Mapping[str, Any]
) -> list[MetadataTensor] | None:
    made = []
    for name, parameter in signature.parameters.items():
        if _take(hints.get(name)) in (_request, _context):
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            # Whatever comes.
            return None
        spec = _spec(hints.get(name))
        if spec is None or spec.datatype is None:
            _warn_of(name, hints.get(name))
            return None
        made.append(MetadataTensor(name, spec.datatype, spec.shape))
    return made or None


def _warn_of(name: str, hint: Any) -> None:
    """An annotation that was meant to declare something, and does not."""
    plain = _bare(hint)
    if "ndarray" in (getattr(typing.get_origin(plain) or plain, "__name__", "")):
        warnings.warn(
            f"'{name}' is annotated as an array without a datatype of the protocol, so nothing is "
            'declared and nothing checked: write NDArray[np.float32] or Spec("FP32", [-1, 4])',
            stacklevel=5,
        )


def _from_return(hints: Mapping[str, Any]) -> list[MetadataTensor] | None:
    hint = hints.get("return")
    several = typing.get_args(hint) if typing.get_origin(hint) is tuple else [hint]
    made = []
    for index, one in enumerate(several):
        spec = _spec(one)
        if spec is None or spec.datatype is None:
            _warn_of("return", one)
            return None
        name = spec.name or ("output" if len(several) == 1 else f"output_{index}")
        made.append(MetadataTensor(name, spec.datatype, spec.shape))
    return made


def _numpy(tensor: RequestInput) -> Any:
    return tensor.numpy()


def _list(tensor: RequestInput) -> Any:
    return tensor.numpy().ravel().tolist()


def _itself(tensor: RequestInput) -> Any:
    return tensor


def _strings(tensor: RequestInput) -> Any:
    return tensor.strings()


def _one(tensor: RequestInput) -> Any:
    values = tensor.strings() if tensor.datatype == "BYTES" else _list(tensor)
    if len(values) != 1:
        raise InvalidRequest(f"input '{tensor.name}': one element is due, but got {len(values)}")
    return values[0]


def _request(tensor: RequestInput) -> Any:
    raise AssertionError("stands for the whole request")


def _context(tensor: RequestInput) -> Any:
    raise AssertionError("stands for the context of the request")


def _frame(tensor: RequestInput) -> Any:
    raise AssertionError("stands for the whole request as a data frame")


_WHOLE = (_request, _context, _frame)
"""What is made of the request itself."""
_TAKES: dict[Any, Callable[[RequestInput], Any]] = {
    InferenceRequest: _request,
    Context: _context,
    RequestInput: _itself,
    list[str]: _strings,
    list[bytes]: _list,
    list[int]: _list,
    list[float]: _list,
    list[bool]: _list,
    str: _one,
    int: _one,
    float: _one,
    bool: _one,
}
_SPECS = {
    list[str]: Spec("BYTES", [-1]),
    list[bytes]: Spec("BYTES", [-1]),
    list[int]: Spec("INT64", [-1]),
    list[float]: Spec("FP64", [-1]),
    list[bool]: Spec("BOOL", [-1]),
    str: Spec("BYTES", [1]),
    int: Spec("INT64", [1]),
    float: Spec("FP64", [1]),
    bool: Spec("BOOL", [1]),
}


def _take(hint: Any) -> Callable[[RequestInput], Any]:
    """How an input is handed over."""
    hint = _bare(hint)
    if hint is None or hint is Any:
        return codecs.decode
    if isinstance(hint, type) and hint.__name__ == "DataFrame":
        return _frame
    return _TAKES.get(hint, _numpy)
