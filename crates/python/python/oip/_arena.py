"""Anonymous shared memory (``memfd``) for tensors on their way to another process."""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections.abc import Sequence
from multiprocessing.reduction import DupFd
from typing import Any

from . import _oip

__all__ = ["Arena", "Descriptor", "Part"]

_INLINE = 16 * 1024

Part = tuple[str, str, Sequence[int], int, Any, int, "bytes | int"]
"""Name, datatype, shape, how it was written, parameters, length, bytes or their place."""



class Arena:
    """Shared memory for the tensors of one message. It grows and never shrinks."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map: mmap.mmap | None = None
        self._closing = threading.Lock()

    @classmethod
    def anonymous(cls) -> Arena:
        """A new one, without a name."""
        return cls(os.memfd_create("oip", os.MFD_CLOEXEC))

    def pack(self, side: str, tensors: Sequence[object]) -> list[Part]:
        """Puts large tensors here and returns what goes into the message."""
        parts = _oip.pack(side, tensors)
        size = sum(_room(part[5]) for part in parts)
        if size:
            self._reach(size)
        packed: list[Part] = []
        end = 0
        for *members, buffer in parts:
            view = memoryview(buffer)
            length, place = len(view), end
            if _room(buffer) and self._map is not None:
                self._map[place : place + length] = view
                end += _room(buffer)
                packed.append((*members, length, place))
            else:
                packed.append((*members, length, bytes(view)))
        return packed

    def unpack(self, kind: Any, parts: Sequence[Part]) -> list[Any]:
        """The tensors of a message. Their bytes are copied, so that this can be used again."""
        tensors = []
        for name, datatype, shape, written, parameters, length, held in parts:
            if isinstance(held, int):
                self._reach(held + length)
                assert self._map is not None
                view = memoryview(self._map)
                data = _oip.unpack(datatype, shape, written, view[held : held + length])
                view.release()
            else:
                data = _oip.unpack(datatype, shape, written, held)
            tensors.append(kind(name, shape, datatype, parameters, data))
        return tensors

    def _reach(self, size: int) -> None:
        if self._map is not None and len(self._map) >= size:
            return
        if os.fstat(self.descriptor).st_size < size:
            os.ftruncate(self.descriptor, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        if self._map is not None:
            self._map.close()
        self._map = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)

    def close(self) -> None:
        """Lets go of the memory. At a stop two threads may at once: who ends the process, and who
        was waiting for its answer. A descriptor that is closed twice may be another file by then."""
        with self._closing:
            mapped, self._map = self._map, None
            descriptor, self.descriptor = self.descriptor, -1
        if mapped is not None:
            # Whoever reads it just now has the last word: with its view the memory goes.
            with contextlib.suppress(BufferError):
                mapped.close()
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def _room(buffer: Any) -> int:
    """How much of an arena a tensor takes, from one cache line to the next; none if small."""
    length = len(memoryview(buffer))
    return 0 if length <= _INLINE else -(-length // 64) * 64


class Descriptor:
    """A file descriptor that survives being handed to a new process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __getstate__(self) -> Any:
        return DupFd(self.number)

    def __setstate__(self, state: Any) -> None:
        self.number = state.detach()
