"""The names of the Python original, so that a migration is one import line.

Each is a ``Server`` with both doors: what was a REST server answers gRPC too. Settings are
taken from the environment and ``oip.properties`` by the original's keys (``FASTAPI_PORT``,
``grpc_port``, ``auth_secret``, ...), and may be keyword arguments as well.
"""

from __future__ import annotations

from typing import Any, Unpack

from . import _oip
from ._settings import Settings
from .handler import DataplaneHandler, DefaultModelHandler
from .server import Server

__all__ = [
    "AissembleOIPFastAPI",
    "AissembleOIPGrpc",
    "AissembleOIPKServe",
    "AissembleOIPgRPC",
    "AuthzforceAdapter",
    "Config",
    "DefaultAdapter",
]


class DefaultAdapter:
    """Stands for no adapter: the policy of the settings decides. The original's lets everybody in
    who has a token."""


class AuthzforceAdapter:
    """Stands for the setting ``pdp=xacml``: whoever listens at ``pdp_url`` decides."""


_ADAPTER = (
    "an adapter of your own is not called here: who may do what is decided by the settings pdp, "
    "pdp_url and policy_file (docs/security.md); AuthzforceAdapter and DefaultAdapter are taken"
)


def _of_adapter(adapter: object) -> Settings:
    if adapter is None or type(adapter) is DefaultAdapter:
        return {}
    if type(adapter) is AuthzforceAdapter:
        return {"pdp": "xacml"}
    raise TypeError(_ADAPTER)


class Config:
    """The settings in force as attributes, by our keys and the original's: ``config.grpc_port``.
    Secrets are ``***``."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    def __repr__(self) -> str:
        return f"<{len(self.__dict__)} settings>"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"'{name}' is not a setting; docs/configuration.md lists them all")


class _Service:
    def __init__(
        self,
        model_handler: object = None,
        adapter: object = None,
        *,
        threads: int | None = None,
        workers: int | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        given: Settings = {**_of_adapter(adapter), **settings}
        self.adapter = adapter
        self.model_handler = DefaultModelHandler() if model_handler is None else model_handler
        self.dataplane_handler = DataplaneHandler(self.model_handler)  # type: ignore[arg-type]
        self.server = Server(self.model_handler, threads=threads, workers=workers, **given)

    @property
    def config(self) -> Config:
        """The settings in force."""
        return Config(_oip.in_force(self.server._settings))

    def model_load(self, model_name: str) -> Any:
        """Has the handler load a model."""
        return self.dataplane_handler.model_load(model_name)

    def create_server(self) -> Server:
        """The server, as it was made already."""
        return self.server

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.server!r})"


class _Async(_Service):
    async def start_server(self) -> None:
        """Serves until it is cancelled or stopped, or until SIGTERM or Ctrl-C."""
        await self.server.serve_async()

    async def stop(self) -> None:
        """Drains and stops."""
        await self.server.stop_async()


class AissembleOIPFastAPI(_Async):
    """``AissembleOIPFastAPI(MyHandler()).server``: ``oip serve main.py`` finds it."""


class AissembleOIPgRPC(_Async):
    """``asyncio.run(AissembleOIPgRPC(MyHandler()).start_server())``."""


AissembleOIPGrpc = AissembleOIPgRPC


class AissembleOIPKServe(_Service):
    """``AissembleOIPKServe("name", MyHandler())``: the handler answers for one name."""

    def __init__(
        self,
        name: str,
        model_handler: object = None,
        adapter: object = None,
        *,
        threads: int | None = None,
        workers: int | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        self.name = name
        settings.setdefault("model_name", name)
        super().__init__(model_handler, adapter, threads=threads, workers=workers, **settings)
        self.ready = False

    def load(self) -> bool:
        """Has the handler load the model."""
        self.ready = bool(self.model_load(self.name))
        return self.ready

    def start_server(self) -> None:
        """Serves until SIGTERM or Ctrl-C. As the original's, it is no coroutine."""
        self.server.serve()

    def stop(self) -> None:
        """Drains and stops, from another thread."""
        self.server.stop()
