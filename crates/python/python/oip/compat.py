"""The names of the Python original, so that a migration is one import line.

Each is a ``Server`` with both doors: what was a REST server answers gRPC too. Settings are
taken from the environment and ``oip.properties`` by the original's keys (``FASTAPI_PORT``,
``grpc_port``, ``auth_secret``, ...), and may be keyword arguments as well.
"""

from __future__ import annotations

from typing import Any

from .handler import DataplaneHandler, DefaultModelHandler
from .server import Server

__all__ = ["AissembleOIPFastAPI", "AissembleOIPGrpc", "AissembleOIPKServe", "AissembleOIPgRPC"]

_ADAPTER = (
    "an adapter is not called here: who may do what is decided by the settings pdp, pdp_url and "
    "policy_file (docs/security.md)"
)


class _Service:
    def __init__(self, model_handler: object = None, adapter: Any = None, **settings: Any):
        if adapter is not None:
            raise TypeError(_ADAPTER)
        self.model_handler = DefaultModelHandler() if model_handler is None else model_handler
        self.dataplane_handler = DataplaneHandler(self.model_handler)  # type: ignore[arg-type]
        self.server = Server(self.model_handler, **settings)

    def model_load(self, model_name: str) -> Any:
        """Has the handler load a model."""
        return self.dataplane_handler.model_load(model_name)

    async def start_server(self) -> None:
        """Serves until it is cancelled, or until SIGTERM or Ctrl-C."""
        await self.server.serve_async()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.server!r})"


class AissembleOIPFastAPI(_Service):
    """``AissembleOIPFastAPI(MyHandler()).server``: ``oip serve main.py`` finds it."""


class AissembleOIPgRPC(_Service):
    """``asyncio.run(AissembleOIPgRPC(MyHandler()).start_server())``."""


AissembleOIPGrpc = AissembleOIPgRPC


class AissembleOIPKServe(_Service):
    """``AissembleOIPKServe("name", MyHandler())``: the handler answers for one name."""

    def __init__(
        self,
        name: str,
        model_handler: object = None,
        adapter: Any = None,
        **settings: Any,
    ):
        self.name = name
        settings.setdefault("model_name", name)
        super().__init__(model_handler, adapter, **settings)
        self.ready = False

    def load(self) -> bool:
        """Has the handler load the model."""
        self.ready = bool(self.model_load(self.name))
        return self.ready
