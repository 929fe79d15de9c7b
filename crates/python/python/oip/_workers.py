"""Where handlers run: threads for blocking ones, one asyncio loop for the others."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from typing import Any

from . import _oip

__all__ = ["Threads", "default_threads"]


def default_threads() -> int:
    """As many as Python's own pool of threads has."""
    return min(32, (os.cpu_count() or 1) + 4)


class Threads:
    """A pool of threads and a loop. Both begin when they are made and end with ``close``."""

    def __init__(
        self, count: int | None = None, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self.pool = _oip.Pool()
        self.bridge = _oip.Bridge()
        self._tasks: dict[int, asyncio.Future[Any]] = {}
        self._own = loop is None
        self._loop = loop or asyncio.new_event_loop()
        self._threads = [
            threading.Thread(target=self.pool.work, name=f"oip-handler-{i}", daemon=True)
            for i in range(count or default_threads())
        ]
        if self._own:
            run = threading.Thread(target=self._run, name="oip-asyncio", daemon=True)
            self._threads.append(run)
        else:
            self._loop.add_reader(self.bridge.fileno(), self._look)
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.add_reader(self.bridge.fileno(), self._look)
        try:
            self._loop.run_forever()
        finally:
            for task in self._tasks.values():
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _look(self) -> None:
        begun, cancelled = self.bridge.take()
        for number, coroutine, done in begun:
            task = asyncio.ensure_future(coroutine, loop=self._loop)
            self._tasks[number] = task
            task.add_done_callback(functools.partial(self._forget, number))
            task.add_done_callback(done)
        for number in cancelled:
            if (running := self._tasks.get(number)) is not None:
                running.cancel()

    def _forget(self, number: int, _: asyncio.Future[Any]) -> None:
        self._tasks.pop(number, None)

    def close(self) -> None:
        """Ends the threads and the loop; what runs on the threads is finished first."""
        self.pool.close()
        self.bridge.close()
        if not self._own:
            self._loop.remove_reader(self.bridge.fileno())
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=5)
