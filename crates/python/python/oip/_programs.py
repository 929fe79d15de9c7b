"""``oip serve main.py``: which object of a program is served, and beginning again when it
changes."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from . import _oip
from ._workers import Threads
from .compat import _Service
from .decorator import Model
from .errors import StartError
from .handler import DefaultModelHandler, ModelHandler, Several
from .server import Server, shared

_NAMES = ("fastapi_server", "server", "grpc", "grpc_server", "kserve", "app", "handler")
_SUPERVISED = "OIP_SUPERVISED_BY"


def open(path: Path, workers: int) -> tuple[object, _oip.Pool, _oip.Bridge, list[str]]:
    """The handler of a program, where it runs, and the names it answers for."""
    handler, threads = find(load(path), workers)
    where = Threads(threads)
    names = [str(name) for name in getattr(handler, "model_names", ())]
    return handler, where.pool, where.bridge, names


_shared: list[Threads] = []
_lock = threading.Lock()


def open_model(
    path: Path, name: str, version: str
) -> tuple[object, _oip.Pool, _oip.Bridge]:
    """The handler of a ``model.py`` in a folder of models, and where all of them run."""
    with _lock:
        if not _shared:
            _shared.append(Threads())
        # Read anew each time: a module of this version that was loaded before is forgotten.
        module = load(path, f"oip_models.{name}.v{version}", search=False)
    workers = _shared[0]
    found = [value for value in vars(module).values() if isinstance(value, (Model, ModelHandler))]
    handler = found[0] if len(found) == 1 else handler_class(module)()
    return handler, workers.pool, workers.bridge


def load(path: Path, name: str | None = None, search: bool = True) -> ModuleType:
    """Runs a program as a module of this name, by default its own."""
    path = path.resolve()
    name = name or path.stem
    if not path.is_file():
        raise StartError(f"{path} is not there")
    if search and str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise StartError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def find(module: ModuleType, workers: int = 0) -> tuple[object, int | None]:
    """The handler to serve, and how many threads were wished for it. ``workers`` processes share
    it, unless it is a server's that says their number itself.

    First an object of one of the names ``fastapi_server``, ``server``, ``grpc``, ``handler``, ...;
    then any server, any models, any handler, and last a class derived from ``ModelHandler``.
    """
    members = vars(module)
    for name in _NAMES:
        if name in members and (found := _served(members[name], workers)) is not None:
            return found
    for value in members.values():
        if isinstance(value, (Server, _Service)):
            return _server(value).resolve(workers)
    return shared(_handler(module), None, workers)


def _handler(module: ModuleType) -> object:
    members = vars(module).values()
    models = [value for value in members if isinstance(value, Model)]
    if models:
        return models[0] if len(models) == 1 else Several(models)
    handlers = (value for value in members if isinstance(value, ModelHandler))
    return next(handlers, None) or handler_class(module)


def handler_class(module: ModuleType) -> type[ModelHandler]:
    """The one class of a module that derives from ``ModelHandler``."""
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, ModelHandler)
        and value.__module__ == module.__name__
    ]
    # A class that another one derives from is no handler of its own.
    leaves = [one for one in own if not any(one in other.__mro__[1:] for other in own)]
    if len(leaves) == 1:
        return leaves[0]
    where = getattr(module, "__file__", module.__name__)
    if not leaves:
        raise StartError(
            f"{where} has nothing to serve: expected a class derived from oip.ModelHandler, a "
            "function with @oip.model, or an oip.Server"
        )
    names = ", ".join(one.__name__ for one in leaves)
    raise StartError(f"{where} has several handlers ({names}): call the one to serve 'handler'")


def _server(value: Server | _Service) -> Server:
    return value.server if isinstance(value, _Service) else value


def _served(value: Any, workers: int) -> tuple[object, int | None] | None:
    if isinstance(value, (Server, _Service)):
        return _server(value).resolve(workers)
    is_class = isinstance(value, type) and issubclass(value, ModelHandler)
    if is_class or isinstance(value, ModelHandler) and type(value) is not DefaultModelHandler:
        return shared(value, None, workers)
    return None


def supervise(path: Path) -> int | None:
    """Runs the same command in a process of its own, and again whenever a ``.py`` file in the
    program's folder changes. ``None`` in that process."""
    if _SUPERVISED in os.environ:
        return None
    log = logging.getLogger("oip.reload")
    stopping: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        stopping.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    folder = path.resolve().parent
    child = _begin()
    seen = dict(_files(folder))
    while not stopping:
        time.sleep(0.25)
        now = dict(_files(folder))
        if now == seen:
            if child.poll() is not None and child.returncode == 0:
                return 0
            continue
        changed = sorted(str(file.relative_to(folder)) for file, _ in now.items() ^ seen.items())
        log.info("changed: %s; beginning again", ", ".join(dict.fromkeys(changed)))
        seen = now
        _end(child)
        child = _begin()
    _end(child)
    return 0


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    for file in folder.rglob("*.py"):
        try:
            yield file, file.stat().st_mtime_ns
        except OSError:
            continue


def _begin() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "oip.cli", *sys.argv[1:]]
    return subprocess.Popen(command, env={**os.environ, _SUPERVISED: str(os.getpid())})


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
    child.wait()
