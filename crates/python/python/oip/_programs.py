"""``oip serve main.py``: which object of a program is served, and beginning again when it
changes."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
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

from . import _errors, _logging, _oip
from ._processes import Processes
from ._workers import Threads
from ._beside import Afresh, Beside
from .compat import _Service
from .decorator import Model
from .errors import StartError
from .handler import DataplaneHandler, DefaultModelHandler, ModelHandler, Several, method_of
from .server import Server, shared

_HANDLERS = (ModelHandler, DataplaneHandler)

_NAMES = ("fastapi_server", "server", "grpc", "grpc_server", "kserve", "app", "handler")
_SUPERVISED = "OIP_SUPERVISED_BY"
"""A descriptor that is closed when the supervisor ends."""
_supervised: list[Path] = []
"""What this process was begun for, where it has a supervisor."""


_found: dict[Path, object] = {}
"""What was found in a program: it is run once."""


def settings(path: Path) -> list[tuple[str, str]]:
    """What the server in a program says of itself, by key; nothing where there is none."""
    found = _once(path)
    if not isinstance(found, Server):
        return []
    return [(key, value) for key, values in found._settings.items() for value in values]


def open(path: Path, workers: int) -> tuple[object, _oip.Pool, _oip.Bridge, list[str]]:
    """The handler of a program, where it runs, and the names it answers for."""
    found = _once(path)
    # Its processes take over how the log is.
    _logging.for_everybody()
    handler, threads = resolve(found, workers)
    where = Threads(threads, None, isinstance(handler, Processes))
    names = [str(name) for name in getattr(handler, "model_names", ())]
    if isinstance(handler, Processes):
        _processes.append(handler)
    return handler, where.pool, where.bridge, names


_processes: list[Processes] = []


def close() -> None:
    """Ends the processes of programs, once the server has ended."""
    while _processes:
        _processes.pop().close(patience=0)


def _once(path: Path) -> object:
    path = path.resolve()
    if path not in _found:
        _found[path] = find(load(path))
    return _found[path]


_shared: list[Threads] = []
_MOST = 512
"""Threads of all models in a folder together."""
_lock = threading.Lock()


def open_model(
    path: Path, name: str, version: str
) -> tuple[object, _oip.Pool, _oip.Bridge, ModuleType]:
    """The handler of a ``model.py`` in a folder of models, where all of them run, and its module."""
    with _lock:
        if not _shared:
            # How many are busy at once is bounded for each model by itself.
            _shared.append(Threads(most=_MOST))
    beside = Beside(path.resolve().parent)
    # Read anew each time: a module of this version that was loaded before is forgotten.
    module = load(path, f"oip_models.{name}.v{version}", beside)
    _logging.for_everybody()
    workers = _shared[0]
    found = [value for value in vars(module).values() if isinstance(value, _HANDLERS)]
    with beside:
        handler = found[0] if len(found) == 1 else handler_class(module)()
    return beside.loading(handler), workers.pool, workers.bridge, module


def close_model(handler: object, module: ModuleType, name: str) -> None:
    """Has a handler of a folder let go of its model, and forgets its module."""
    try:
        result = method_of(handler, "model_unload")(name)
        if inspect.isawaitable(result):
            _shared[0].wait_for(result)
    except NotImplementedError:
        pass
    except Exception as error:
        _errors.log("error", "model unload", name, error)
    with _lock:
        if sys.modules.get(module.__name__) is module:
            _forget(module.__name__)


def load(path: Path, name: str | None = None, beside: Beside | None = None) -> ModuleType:
    """Runs a program as a module of this name, by default its own. ``beside`` is what lies beside
    it, where that is its own."""
    path = path.resolve()
    name = name or path.stem
    if not path.is_file():
        raise StartError(f"{path} is not there")
    folder = str(path.parent)
    if beside is None and folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(
        name,
        path,
        loader=Afresh(name, str(path)),
        submodule_search_locations=None if beside is None else [folder],
    )
    if spec is None or spec.loader is None:
        raise StartError(f"{path} cannot be imported")
    if beside is not None:
        _forget(name)
        _make_packages_of(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with contextlib.nullcontext() if beside is None else beside:
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _make_packages_of(name: str) -> None:
    """``from . import other`` asks for all packages that a module is in."""
    parts = name.split(".")
    for length in range(1, len(parts)):
        package = ModuleType(".".join(parts[:length]))
        package.__path__ = []
        sys.modules.setdefault(package.__name__, package)


def _forget(name: str) -> None:
    """Forgets a module, and what it imported from beside it."""
    for known in [known for known in sys.modules if f"{known}.".startswith(f"{name}.")]:
        del sys.modules[known]


def find(module: ModuleType) -> object:
    """What a program wants served: a ``Server``, or a handler or its class.

    First an object of one of the names ``fastapi_server``, ``server``, ``grpc``, ``handler``, ...;
    then any server, any models, any handler, and last a class derived from ``ModelHandler``.
    """
    members = vars(module)
    for name in _NAMES:
        if name in members and _is_served(members[name]):
            return _server(members[name])
    for value in members.values():
        if isinstance(value, (Server, _Service)):
            return _server(value)
    return _handler(module)


def resolve(found: object, workers: int) -> tuple[object, int | None]:
    """The handler to serve, in so many processes, and how many threads were wished for it."""
    if isinstance(found, Server):
        return found.resolve(workers)
    return shared(found, None, workers)


def _handler(module: ModuleType) -> object:
    members = vars(module).values()
    models = [value for value in members if isinstance(value, Model)]
    if models:
        return models[0] if len(models) == 1 else Several(models)
    handlers = (value for value in members if isinstance(value, _HANDLERS))
    return next(handlers, None) or handler_class(module)


def handler_class(module: ModuleType) -> type[Any]:
    """The one class of a module that derives from ``ModelHandler`` or ``DataplaneHandler``."""
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, _HANDLERS)
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


def _server(value: object) -> object:
    return value.server if isinstance(value, _Service) else value


def _is_served(value: Any) -> bool:
    """Whether an object of one of the names is meant: a server, or whatever can infer."""
    if isinstance(value, (Server, _Service)):
        return True
    return type(value) is not DefaultModelHandler and callable(getattr(value, "infer", None))


def supervise(path: Path) -> int | None:
    """Runs the same command in a process of its own, and again whenever a ``.py`` file in the
    program's folder changes. ``None`` in that process."""
    if (supervisor := os.environ.pop(_SUPERVISED, None)) is not None:
        _end_with(int(supervisor))
        _supervised.append(path)
    if _supervised:
        return None
    log = logging.getLogger("oip.reload")
    stopping: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        stopping.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    folder = path.resolve().parent
    # Nothing is ever written: whoever reads learns that this process has ended, however that was.
    reader, _writer = os.pipe()
    child = _begin(reader)
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
        child = _begin(reader)
    _end(child)
    return 0


_PASSED_OVER = {"node_modules", "__pycache__"}


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    """The ``.py`` files below a folder and when each was changed; not those of environments,
    installed packages and hidden folders, which are many and somebody else's."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _is_passed_over(place, name)]
        for name in names:
            if name.endswith(".py"):
                file = Path(place, name)
                with contextlib.suppress(OSError):
                    yield file, file.stat().st_mtime_ns


def _is_passed_over(place: str, name: str) -> bool:
    if name.startswith(".") or name in _PASSED_OVER:
        return True
    return os.path.exists(os.path.join(place, name, "pyvenv.cfg"))


def _begin(reader: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "oip.cli", *sys.argv[1:]]
    environment = {**os.environ, _SUPERVISED: str(reader)}
    return subprocess.Popen(command, env=environment, pass_fds=[reader])


def _end_with(supervisor: int) -> None:
    """Has this process end as by SIGTERM when its supervisor has gone, be it by SIGKILL."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            os.read(supervisor, 1)
            os.kill(os.getpid(), signal.SIGTERM)

    with contextlib.suppress(OSError):
        os.set_inheritable(supervisor, False)
    threading.Thread(target=watch, name="oip-supervised", daemon=True).start()


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
    child.wait()
