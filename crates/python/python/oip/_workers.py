"""Where handlers run: threads for blocking ones, one asyncio loop for the others."""

from __future__ import annotations

import asyncio
import ctypes
import inspect
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from . import _oip

__all__ = ["Threads", "default_threads"]

_log = logging.getLogger("oip.handler")


def default_threads() -> int:
    """As many as Python's own pool of threads has."""
    return min(32, (os.cpu_count() or 1) + 4)


class CutOff(SystemExit):
    """Is raised in what still runs on a thread when the process ends."""

    def __str__(self) -> str:
        return "the process ended while this ran"


class Threads:
    """A pool of threads and a loop. Both begin when they are made and end with ``close``."""

    _begun: ClassVar[set[Threads]] = set()

    def __init__(
        self,
        count: int | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        attended: bool = False,
        most: int = 0,
    ) -> None:
        """``attended``: metadata and readiness are asked on a thread of their own. Where work waits
        and all threads are busy there are more of them, up to ``most``."""
        self.pool = _oip.Pool(attended)
        self.bridge = _oip.Bridge()
        self._tasks: dict[int, tuple[asyncio.Task[None], Any]] = {}
        self._own = loop is None
        self._closing = False
        self._loop = loop or asyncio.new_event_loop()
        self._threads = [self._handler(i) for i in range(count or default_threads())]
        if attended:
            attend = threading.Thread(target=self.pool.attend, name="oip-control", daemon=True)
            self._threads.append(attend)
        if most:
            grow = threading.Thread(target=self._grow, args=(most,), name="oip-threads", daemon=True)
            self._threads.append(grow)
        if self._own:
            run = threading.Thread(target=self._run, name="oip-asyncio", daemon=True)
            self._threads.append(run)
        else:
            self._loop.add_reader(self.bridge.fileno(), self._look)
        for thread in self._threads:
            thread.start()
        self._begun.add(self)

    def _handler(self, number: int) -> threading.Thread:
        name = f"oip-handler-{number}"
        return threading.Thread(target=self.pool.work, name=name, daemon=True)

    def _grow(self, most: int) -> None:
        while len(self._threads) < most and self.pool.is_short():
            thread = self._handler(len(self._threads))
            thread.start()
            self._threads.append(thread)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.add_reader(self.bridge.fileno(), self._look)
        try:
            while not self._closing and not self._loop.is_closed():
                self._run_on()
        finally:
            # Whoever asks now is told that nobody answers.
            self.bridge.close()
            if self._loop.is_closed():
                return
            for running in list(self._tasks.values()):
                _cancel(*running)
            # A few rounds for those that were cancelled. The call that stops the loop may come now.
            for _ in range(3):
                self._loop.call_soon(self._loop.stop)
                self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _run_on(self) -> None:
        """Runs the loop until it is to end. A callback or a task of the handler's own may stop it,
        by ``sys.exit`` or ``loop.stop()``: others wait for it, so it goes on."""
        try:
            self._loop.run_forever()
        except BaseException as error:
            _log.error("the asyncio loop goes on after %s", type(error).__name__, exc_info=error)
        else:
            if not self._closing:
                _log.error("the asyncio loop goes on: a handler has stopped it")

    def _look(self) -> None:
        begun, cancelled = self.bridge.take()
        for number, coroutine, done in begun:
            task = self._loop.create_task(self._run_one(number, coroutine, done))
            self._tasks[number] = task, coroutine
        for number in cancelled:
            if (running := self._tasks.pop(number, None)) is not None:
                _cancel(*running)

    async def _run_one(
        self, number: int, coroutine: Awaitable[Any], done: Callable[..., None]
    ) -> None:
        # What is called when a task is done would need another round of the loop.
        try:
            result = await coroutine
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            # The latter two would end the loop, and with it every request of others.
            done(None, error)
        except BaseException as error:
            done(None, error)
            raise
        else:
            done(result)
        finally:
            self._tasks.pop(number, None)

    def wait_for(self, awaitable: Awaitable[Any]) -> Any:
        """What comes of something that is awaited on the loop, for a thread that may wait."""
        return asyncio.run_coroutine_threadsafe(_await(awaitable), self._loop).result()

    def close(self, patience: float = 5.0) -> None:
        """Ends the threads and the loop; what runs on the threads is finished first, unless it
        takes more than so many seconds."""
        begun, self._closing = self._closing, True
        self.pool.close()
        self.bridge.close()
        if begun or self._loop.is_closed():
            pass
        elif self._own:
            self._loop.call_soon_threadsafe(self._loop.stop)
        else:
            self._loop.remove_reader(self.bridge.fileno())
        if self._ended(patience):
            self._begun.discard(self)

    def _ended(self, within: float) -> bool:
        """Whether all threads end within so many seconds."""
        until = time.monotonic() + within
        others = [one for one in self._threads if one is not threading.current_thread()]
        for thread in others:
            thread.join(max(until - time.monotonic(), 0))
        return not any(thread.is_alive() for thread in others)

    @classmethod
    def begun(cls) -> list[Threads]:
        """Those that may have threads still."""
        return list(cls._begun)

    @classmethod
    def forget(cls) -> None:
        """After ``fork`` none of the threads is there."""
        cls._begun.clear()

    def cut_off(self) -> bool:
        """Ends what still runs on the threads, by a ``CutOff`` where Python runs; whether all
        of them have ended."""
        self.close(patience=0.3)
        for _ in range(4):
            running = [one.ident for one in self._threads if one.is_alive()]
            if not running:
                return True
            for ident in running:
                number, kind = ctypes.c_ulong(ident or 0), ctypes.py_object(CutOff)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(number, kind)
            self._ended(within=0.3)
        return not any(one.is_alive() for one in self._threads)


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _cancel(task: asyncio.Task[None], coroutine: Any) -> None:
    task.cancel()
    if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == "CORO_CREATED":
        # It never begins: Python would warn of it.
        coroutine.close()
