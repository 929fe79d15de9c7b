"""The end of the process. A thread that wants the GIL while the interpreter is taken down brings the
process down with it, so what still runs then is cut off before.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import weakref
from typing import TYPE_CHECKING

from . import _oip
from ._workers import Threads

if TYPE_CHECKING:
    from .server import Server

__all__ = ["servers"]

servers: weakref.WeakSet[Server] = weakref.WeakSet()
"""Those that were started in this process."""
exit_code: int | None = None
"""What this process ends with, where that is known."""


def _end() -> None:
    """Closes servers that nobody has stopped, and ends their threads. Registered when the package is
    imported, it comes after nearly everything else that is done at the end."""
    for server in list(servers):
        server._close()
    ended = [threads.cut_off() for threads in Threads.begun()]
    if all(ended) or exit_code is None:
        return
    # Something that nothing in Python can stop.
    _oip.flush_log()
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(exit_code)


def _after_fork() -> None:
    """None of the threads is in a child: they are its parent's, and so is the server."""
    for server in list(servers):
        server._forget()
    Threads.forget()


atexit.register(_end)
os.register_at_fork(after_in_child=_after_fork)
