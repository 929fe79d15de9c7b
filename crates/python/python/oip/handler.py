"""The class that users derive from."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Any

from .errors import NotFound
from .types import (
    InferenceRequest,
    InferenceResponse,
    ModelMetadataResponse,
    ModelReadyResponse,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
)

__all__ = ["DataplaneHandler", "DefaultModelHandler", "ModelHandler"]


class ModelHandler:
    """Answers for models. Implement what you need; the rest says "not implemented" (501).

    Every method may be ``async def``: those run on one asyncio loop. Others run on a pool of
    threads, several at once.
    """

    checks_metadata: bool = True
    """Whether requests and answers are held to what ``model_metadata`` declares."""

    max_batch_size: int | None = None
    """Rows that one call may have: requests that wait at the same time are stacked along their
    first dimension, and each gets its rows of the answer. ``None``: each request alone."""

    max_batch_delay: float = 0.0
    """Seconds that a request may wait for others. Without one, only requests that wait anyhow,
    as the handler is busy, are stacked."""

    def infer(
        self,
        payload: InferenceRequest,
        model_name: str,
        model_version: str | None = None,
    ) -> InferenceResponse | Awaitable[InferenceResponse] | Any:
        """Answers one request, after it was checked.

        Returns an ``InferenceResponse``; or a dictionary of outputs by name; or, where the
        model declares one output, its data.
        """
        raise NotImplementedError

    def model_metadata(
        self, model_name: str, model_version: str | None = None
    ) -> ModelMetadataResponse | Awaitable[ModelMetadataResponse]:
        """What a model declares. Asked at most once a second for each model."""
        raise NotImplementedError

    def model_load(self, model_name: str) -> bool | Awaitable[bool]:
        """Makes a model ready; ``False`` when that failed. Runs at start for each name that
        the server was given, and when a caller asks for it."""
        raise NotImplementedError

    def model_unload(self, model_name: str) -> bool | None | Awaitable[bool | None]:
        """Lets go of a model, when a caller asks for it."""
        raise NotImplementedError

    def model_ready(
        self, model_name: str, model_version: str | None = None
    ) -> ModelReadyResponse | bool | Awaitable[ModelReadyResponse | bool]:
        """Whether a model can answer now."""
        return ModelReadyResponse(name=model_name, ready=True)


class DefaultModelHandler(ModelHandler):
    """The handler that implements nothing."""


class _Standing(DefaultModelHandler):
    """What stands in for methods that an object does not have."""

    def model_unload(self, model_name: str) -> None:
        """There is nothing to let go of."""


_standing = _Standing()


def method_of(handler: Any, name: str) -> Any:
    """A method of a handler; where it has none, one that says "not implemented", is ready, or has
    nothing to let go of."""
    found = getattr(handler, name, None)
    return getattr(_standing, name) if found is None else found


def says_when_ready(handler: Any) -> bool:
    """Whether a handler is to be asked if its models are ready: where it has no word of its own on
    that, they are."""
    function = getattr(method_of(handler, "model_ready"), "__func__", None)
    return function is not ModelHandler.model_ready


METHODS = ("infer", "model_metadata", "model_load", "model_unload", "model_ready")
_WISHES = ("model_names", "max_batch_size", "max_batch_delay", "checks_metadata")


def wishes_of(handler: Any, other: Any) -> None:
    """Has another one be called as this handler wants to be."""
    for name in _WISHES:
        if (value := getattr(handler, name, None)) is not None:
            setattr(other, name, value)


def members_of(handler: Any) -> dict[str, Any] | None:
    """Where a handler stands for several, each of them by its name: so each is called as it wants
    to be."""
    members: Any = getattr(handler, "_oip_members", None)
    return None if members is None or isinstance(handler, type) else members()


class Several(ModelHandler):
    """Several models of one name each, as one handler."""

    def __init__(self, models: Iterable[Any]) -> None:
        self._models: dict[str, Any] = {}
        for model in models:
            for name in model.model_names:
                if name in self._models:
                    raise ValueError(f"two models are called '{name}'")
                self._models[name] = model
        self.model_names = list(self._models)

    def _oip_members(self) -> dict[str, Any]:
        return self._models

    def _model(self, name: str) -> Any:
        try:
            return self._models[name]
        except KeyError:
            raise NotFound(f"model '{name}' is not found") from None

    def infer(
        self, payload: InferenceRequest, model_name: str, model_version: str | None = None
    ) -> Any:
        """Asks the model of this name."""
        return method_of(self._model(model_name), "infer")(payload, model_name, model_version)

    def model_metadata(self, model_name: str, model_version: str | None = None) -> Any:
        """Asks the model of this name."""
        return method_of(self._model(model_name), "model_metadata")(model_name, model_version)

    def model_load(self, model_name: str) -> Any:
        """Asks the model of this name."""
        return method_of(self._model(model_name), "model_load")(model_name)

    def model_unload(self, model_name: str) -> Any:
        """Asks the model of this name."""
        return method_of(self._model(model_name), "model_unload")(model_name)

    def model_ready(self, model_name: str, model_version: str | None = None) -> Any:
        """Asks the model of this name."""
        return method_of(self._model(model_name), "model_ready")(model_name, model_version)


class DataplaneHandler:
    """A handler with its requests and answers checked, to be called in this process or served. As
    with the original, a class of your own may derive from it and override what it implements."""

    model_handler: Any = DefaultModelHandler()

    def __init__(self, model_handler: ModelHandler | None = None) -> None:
        self.model_handler = model_handler or DefaultModelHandler()

    def __getattr__(self, name: str) -> Any:
        # How the handler wants to be called, where this class says nothing of it.
        if name in _WISHES:
            return getattr(self.model_handler, name)
        raise AttributeError(f"'{type(self).__name__}' has no attribute '{name}'")

    def infer(
        self,
        payload: InferenceRequest,
        model_name: str,
        model_version: str | None = None,
    ) -> Any:
        """Checks the request, calls the handler, checks the answer."""
        payload.validate_oip()
        response = self.model_handler.infer(payload, model_name, model_version)
        if isinstance(response, InferenceResponse):
            response.validate_oip()
        return response

    def model_metadata(self, model_name: str, model_version: str | None = None) -> Any:
        """What the handler says of a model."""
        return self.model_handler.model_metadata(model_name, model_version)

    def model_load(self, model_name: str) -> Any:
        """Has the handler load a model."""
        return self.model_handler.model_load(model_name)

    def model_ready(self, model_name: str, model_version: str | None = None) -> Any:
        """Whether the handler says that a model is ready."""
        return self.model_handler.model_ready(model_name, model_version)

    def server_ready(self) -> ServerReadyResponse:
        """Always ready."""
        return ServerReadyResponse(live=True)

    def server_live(self) -> ServerLiveResponse:
        """Always live."""
        return ServerLiveResponse(live=True)

    def server_metadata(self) -> ServerMetadataResponse:
        """What a server says of itself."""
        from . import __version__

        return ServerMetadataResponse(name="oip", version=__version__, extensions=[])
