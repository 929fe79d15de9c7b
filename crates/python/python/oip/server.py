"""A server around a handler."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self, Unpack

from . import _ending, _logging, _oip
from ._processes import Processes
from ._settings import Settings
from ._workers import Threads
from .errors import StartError
from .handler import DefaultModelHandler, Several

__all__ = ["Server", "Settings"]

_STEP = 0.2
"""Seconds after which a wait looks whether a signal has come."""


class Server:
    """All doors around one handler: REST and gRPC, checks, security, limits, metrics.

    Settings are the keys of ``docs/configuration.md`` as keyword arguments; they win over the
    environment and ``oip.properties``, and the command line of ``oip serve`` wins over them.
    ``threads`` is how many blocking calls run side by side (the key ``threads`` of the
    configuration is another thing: threads within one inference of an ONNX model); ``workers`` how
    many processes share the work, each with a handler of its own (then hand over the class rather
    than an object). Authentication is on unless ``auth_enabled=False`` is said somewhere.

        Server(MyHandler(), rest_port=8080, auth_enabled=False).serve()

        with Server(MyHandler(), rest_port=0, auth_enabled=False) as server:
            print(server.url)
    """

    def __init__(
        self,
        handler: object = None,
        *,
        threads: int | None = None,
        workers: int | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads is {threads}, but a server has one at least")
        self._class = handler if isinstance(handler, type) else None
        if workers and self._class is not None:
            self.handler: object = self._class
        else:
            self.handler = DefaultModelHandler() if handler is None else _instance(handler)
        self._threads = threads
        self._settings = {key: _texts(value) for key, value in settings.items() if value is not None}
        if workers is not None:
            self._settings["workers"] = [str(workers)]
        names = getattr(self.handler, "model_names", None)
        if names and "model_name" not in self._settings:
            self._settings["model_name"] = list(names)
        self._running: _oip.Running | None = None
        self._workers: Threads | None = None
        self._processes: Processes | None = None
        self._stop_asked = False
        self._serving: tuple[asyncio.Event, asyncio.Future[None]] | None = None

    def __repr__(self) -> str:
        kind = self.handler if isinstance(self.handler, type) else type(self.handler)
        handler = kind.__name__
        if self._running is None:
            return f"<Server of {handler}, not started>"
        return f"<Server of {handler}, REST {self.url}, gRPC {self.grpc_target}>"

    def start(self, *, wait: float = 30.0, loop: asyncio.AbstractEventLoop | None = None) -> Self:
        """Serves in the background. Returns when the doors are open and the models were loaded,
        which is waited for ``wait`` seconds at most.

        Raises ``StartError`` where a setting makes no sense or a port is taken.
        """
        if self._running is not None:
            raise StartError("this server was started already")
        level, form, latencies, wanted = _oip.before_start(self._settings)
        _logging.begin(level, form, latencies)
        handler, threads = self.resolve(wanted)
        workers = Threads(threads, loop, isinstance(handler, Processes))
        try:
            pool, bridge = workers.pool, workers.bridge
            self._running = _oip.start(handler, pool, bridge, self._settings)
        except BaseException:
            workers.close()
            self._end_processes()
            raise
        self._workers = workers
        _ending.servers.add(self)
        if wait > 0 and loop is None:
            self._running.wait_until_loaded(wait)
        return self

    def resolve(self, workers: int = 0) -> tuple[object, int | None]:
        """The handler that is put behind the doors, and on how many threads. ``workers`` is how
        many processes there are to be."""
        handler = self._class if workers and self._class is not None else self.handler
        handler, threads = shared(handler, self._threads, workers)
        if isinstance(handler, Processes):
            self._processes = handler
        return handler, threads

    def _end_processes(self, patience: float = 5.0) -> None:
        processes, self._processes = self._processes, None
        if processes is not None:
            processes.close(patience)

    def stop(self) -> None:
        """Drains and stops: readiness turns false, what is in flight is answered. Ctrl-C cuts off
        what still runs."""
        running = self._running
        if running is None:
            return
        running.stop()
        try:
            while not running.wait(_STEP):
                pass
        except BaseException:
            self._end(patience=0)
            raise
        self._end()

    def _end(self, patience: float = 5.0) -> None:
        """Lets go of everything; what runs on threads may take so many seconds."""
        running, self._running = self._running, None
        workers, self._workers = self._workers, None
        if running is not None:
            running.close()
        if workers is not None:
            workers.close(patience)
        self._end_processes(patience)
        _oip.flush_log()

    def _close(self) -> None:
        """Cuts off what runs, where nobody has stopped the server."""
        if self._running is not None:
            self._end(patience=0)

    def _forget(self) -> None:
        """Leaves everything to the parent, in a child after ``fork``."""
        if self._running is not None:
            self._running.forget()
        if self._processes is not None:
            self._processes.forget()
        self._running = self._workers = self._processes = None

    def serve(self) -> None:
        """Serves until SIGTERM or Ctrl-C, then drains. A second Ctrl-C does not wait."""
        with self._signals():
            self.start(wait=0)
            running = self._running
            assert running is not None
            if self._stop_asked:
                running.stop()
            try:
                _logging.announce(self)
                while not running.wait(_STEP):
                    pass
            except BaseException:
                self._end(patience=0)
                raise
            self.stop()

    async def serve_async(self) -> None:
        """Serves until this is cancelled, or until SIGTERM or Ctrl-C, on the running loop:
        ``async`` handlers run on it."""
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        ended = loop.create_future()
        with contextlib.ExitStack() as signals:
            signals.enter_context(_handled_on(loop, stopped.set))
            self.start(wait=0, loop=loop)
            self._serving = stopped, ended
            try:
                _logging.announce(self)
                await stopped.wait()
            finally:
                self._serving = None
                # One that comes while it drains is the program's.
                signals.close()
                try:
                    await self._drained()
                finally:
                    self.stop()
                    ended.set_result(None)

    async def _drained(self) -> None:
        """Drains while the loop goes on: handlers that run on it must be able to answer. Whoever
        cancels this does not wait."""
        running = self._running
        if running is None:
            return
        running.stop()
        try:
            while not await asyncio.to_thread(running.wait, _STEP):
                pass
        except asyncio.CancelledError:
            self._end(patience=0)
            raise

    async def stop_async(self) -> None:
        """Drains and stops, from the loop that ``serve_async`` runs on."""
        if self._serving is None:
            await asyncio.to_thread(self.stop)
            return
        stopped, ended = self._serving
        stopped.set()
        await asyncio.shield(ended)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(number: int, frame: FrameType | None) -> None:
            # No lock of Python's is taken here: the thread that is interrupted may hold it.
            if self._stop_asked:
                raise KeyboardInterrupt
            self._stop_asked = True
            if self._running is not None:
                self._running.stop()

        self._stop_asked = False
        with _handled_by(stop):
            yield

    @property
    def rest_address(self) -> tuple[str, int] | None:
        """Where the REST door listens, once the server was started."""
        return None if self._running is None else self._running.rest_address

    @property
    def grpc_address(self) -> tuple[str, int] | None:
        """Where the gRPC door listens, once the server was started."""
        return None if self._running is None else self._running.grpc_address

    @property
    def url(self) -> str:
        """The REST door as a client on this machine writes it: ``http://127.0.0.1:8082``."""
        return f"http://{_reachable(self.rest_address)}"

    @property
    def grpc_target(self) -> str:
        """The gRPC door as a client on this machine writes it: ``127.0.0.1:8081``."""
        return _reachable(self.grpc_address)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


@contextlib.contextmanager
def _handled_by(stop: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Has SIGTERM and Ctrl-C call that; before and after it they are the program's own. Only its
    main thread can take them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _handled_on(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Iterator[None]:
    """The same on a loop, which may have handlers of the program itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # asyncio has no other way to ask for them.
    own: dict[int, asyncio.Handle] = getattr(loop, "_signal_handlers", {})
    before = {
        number: (signal.getsignal(number), own.get(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    for number in before:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number, (handler, handle) in before.items():
            loop.remove_signal_handler(number)
            if handle is not None:
                loop.add_signal_handler(number, handle._callback, *handle._args)  # type: ignore[attr-defined]
            else:
                signal.signal(number, handler or signal.SIG_DFL)


def shared(handler: object, threads: int | None, workers: int) -> tuple[object, int | None]:
    """A handler, or so many processes that have it each, and on how many threads it runs."""
    if not workers:
        return _instance(handler), threads
    # A thread waits for each process; two more answer what needs none.
    return Processes(handler, workers), threads or workers + 2


def _instance(handler: object) -> object:
    """A handler of a class, of an object, or of several models."""
    if isinstance(handler, type):
        return handler()
    if isinstance(handler, (list, tuple)):
        return Several(handler)
    return handler


def _texts(value: Any) -> list[str]:
    """A setting as it would stand on the command line."""
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [str(item) for item in value]
    return [str(value)]


def _reachable(address: tuple[str, int] | None) -> str:
    if address is None:
        raise StartError("this server is not started")
    host, port = address
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
