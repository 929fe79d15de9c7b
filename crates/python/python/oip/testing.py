"""For your own tests: a handler behind the whole pipeline, without a network.

    from oip.testing import client

    def test_doubles():
        with client(Doubler()) as double:
            answer = double.infer("double", {"x": np.array([1.0, 2.0], dtype=np.float32)})
            assert answer.output("output").numpy().tolist() == [2.0, 4.0]
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from . import _oip
from ._oip import Context
from ._results import _output
from ._workers import Threads
from .errors import NotFound, NotImplemented
from .server import _instance
from .types import (
    InferenceRequest,
    InferenceResponse,
    ModelMetadataResponse,
    RequestInput,
    RequestOutput,
)

__all__ = ["Client", "client"]


def client(
    handler: object, *, threads: int = 2, model_name: str | Sequence[str] = ()
) -> Client:
    """A client of this handler. What a caller of the server would be told is raised as the
    exception of ``oip.errors`` with that status.

    ``model_load`` runs for each ``model_name``, as at the start of a server that was given these
    names; a model that cannot be loaded is an exception here. Without names nothing is loaded
    until ``load`` is called. A name that is neither one of these nor of the handler's own
    ``model_names`` is not found.
    """
    names = [model_name] if isinstance(model_name, str) else list(model_name)
    made = Client(handler, threads, names)
    try:
        for name in names:
            with contextlib.suppress(NotImplemented):
                made.load(name)
    except BaseException:
        made.close()
        raise
    return made


class Client:
    """Asks a handler in this process. A context manager; ``close`` ends its threads."""

    def __init__(self, handler: object, threads: int, names: Sequence[str] = ()) -> None:
        self._workers = Threads(threads)
        handler = _instance(handler)
        self._names = names or list(getattr(handler, "model_names", None) or ())
        self._client = _oip.InProcess(handler, self._workers.pool, self._workers.bridge)

    def infer(
        self,
        model_name: str,
        request: InferenceRequest | Mapping[str, Any],
        model_version: str | None = None,
        *,
        id: str | None = None,
        outputs: Sequence[str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        context: Context | None = None,
    ) -> InferenceResponse:
        """Runs a model. ``request`` is a request, or the inputs by name; ``context`` says who
        asks, and how much time it gives: ``Context(subject="alice", remaining=0.5)``."""
        if not isinstance(request, InferenceRequest):
            request = _request(request, id, outputs, parameters)
        asked = self._asked(model_name, model_version)
        context = request.context if context is None else context
        answer: InferenceResponse = self._client.infer(asked, request, context)
        return answer

    def metadata(self, model_name: str, model_version: str | None = None) -> ModelMetadataResponse:
        """What a model declares."""
        metadata: ModelMetadataResponse = self._client.metadata(self._asked(model_name, model_version))
        return metadata

    def ready(self, model_name: str, model_version: str | None = None) -> bool:
        """Whether a model can answer now."""
        return self._client.ready(self._asked(model_name, model_version))

    def load(self, model_name: str) -> None:
        """Has the handler load a model."""
        self._client.load(self._asked(model_name, None))

    def unload(self, model_name: str) -> None:
        """Has the handler let go of a model."""
        self._client.unload(self._asked(model_name, None))

    def _asked(self, name: str, version: str | None) -> tuple[str, str | None]:
        if self._names and name not in self._names:
            which = "" if version is None else f" version '{version}'"
            raise NotFound(f"model '{name}'{which} is not found")
        return name, version

    def close(self) -> None:
        """Ends the threads."""
        self._workers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _request(
    inputs: Mapping[str, Any],
    id: str | None,
    outputs: Sequence[str] | None,
    parameters: Mapping[str, Any] | None,
) -> InferenceRequest:
    tensors = []
    for name, data in inputs.items():
        if isinstance(data, RequestInput):
            tensors.append(data)
            continue
        made = _output(name, data, {})
        tensors.append(RequestInput(name, made.shape, made.datatype, None, made.data))
    asked = None if outputs is None else [RequestOutput(name) for name in outputs]
    return InferenceRequest(tensors, asked, id, parameters)
