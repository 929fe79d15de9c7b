"""``workers=N``: the same handler in several processes, for pure Python that keeps a processor
busy.

Each process answers one request at a time. Small tensors travel with the message, large ones
in anonymous shared memory (``memfd``), of which nothing is left behind whatever happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import mmap
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import DupFd
from typing import Any

from . import _errors, _oip, errors
from ._results import to_response
from .handler import ModelHandler
from .types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput

_log = logging.getLogger("oip.workers")
_spawn = multiprocessing.get_context("spawn")
_INLINE = 16 * 1024
_ENDED = "the process that ran this request ended before it answered; others go on"

Part = tuple[str, str, Sequence[int], int, Any, int, "bytes | int"]
"""Name, datatype, shape, how it was written, parameters, length, bytes or their place."""


class BadAnswer(errors.OipError):
    """An answer that is none; its process has logged why."""

    told = True


class Arena:
    """Shared memory for the tensors of one message. It grows and never shrinks."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map: mmap.mmap | None = None

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
        """Lets go of the memory."""
        if self._map is not None:
            self._map.close()
        os.close(self.descriptor)


def _room(buffer: Any) -> int:
    """How much of an arena a tensor takes, from one cache line to the next; none if small."""
    length = len(memoryview(buffer))
    return 0 if length <= _INLINE else -(-length // 64) * 64


class _Worker:
    """One process, as its parent sees it."""

    def __init__(self, handler: object, number: int) -> None:
        self.requests, self.answers = Arena.anonymous(), Arena.anonymous()
        self.connection, other = _spawn.Pipe()
        memory = _Descriptor(self.requests.descriptor), _Descriptor(self.answers.descriptor)
        self.process: SpawnProcess = _spawn.Process(
            target=_work, args=(handler, other, *memory), daemon=True
        )
        self.process.name = f"oip-worker-{number}"
        self._ended = False
        self.started = time.monotonic()
        self.process.start()
        other.close()

    def call(self, method: str, *arguments: Any) -> Any:
        """Has the process do something and waits for it."""
        try:
            self.connection.send((method, arguments))
            outcome, value = self.connection.recv()
        except (EOFError, OSError):
            self._ended = True
            raise errors.WorkerDied(_ENDED) from None
        if outcome == "raised":
            raise value
        return value

    def serves(self) -> bool:
        """Whether it can be asked. A process that is killed closes its end of the connection a
        moment before the system calls it dead."""
        return not self._ended and self.process.is_alive()

    def close(self) -> None:
        """Ends the process when it has answered."""
        self.connection.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.requests.close()
        self.answers.close()


class _Descriptor:
    """A file descriptor that survives being handed to a new process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __getstate__(self) -> Any:
        return DupFd(self.number)

    def __setstate__(self, state: Any) -> None:
        self.number = state.detach()


class Processes(ModelHandler):
    """A handler that has others do the work."""

    def __init__(self, handler: object, count: int) -> None:
        if not hasattr(os, "memfd_create"):
            raise errors.StartError("workers need Linux")
        self._handler = handler
        self._loaded: list[str] = []
        self._closing = False
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._all: set[_Worker] = set()
        self._watcher: threading.Thread | None = None
        for name in ("model_names", "max_batch_size", "max_batch_delay", "checks_metadata"):
            if (value := getattr(handler, name, None)) is not None:
                setattr(self, name, value)
        begun = [_Worker(handler, number) for number in range(count)]
        self._all.update(begun)
        try:
            for worker in begun:
                worker.call("")
                self._idle.put(worker)
        except errors.WorkerDied:
            self.close()
            raise errors.StartError("a worker ended before it could answer") from None
        watcher = threading.Thread(target=self._watch, name="oip-workers", daemon=True)
        watcher.start()
        self._watcher = watcher

    def _begin(self, number: int) -> None:
        worker = _Worker(self._handler, number)
        with self._lock:
            self._all.add(worker)
        worker.call("")
        for name in self._loaded:
            worker.call("model_load", name)
        self._idle.put(worker)

    def _watch(self) -> None:
        """Begins a process anew where one has ended."""
        number = len(self._all)
        pause = 0.1
        while not self._closing:
            with self._lock:
                sentinels = {worker.process.sentinel: worker for worker in self._all}
            ended = wait(list(sentinels), timeout=0.5)
            for sentinel in ended:
                worker = sentinels[sentinel]  # type: ignore[index]
                with self._lock:
                    known = worker in self._all
                    self._all.discard(worker)
                if not known or self._closing:
                    continue
                worker.process.join()
                code = worker.process.exitcode
                _log.error("a worker ended with %s; another one begins", code)
                # One that ends at once would end at once again.
                early = time.monotonic() - worker.started < 5
                pause = min(pause * 2, 10.0) if early else 0.1
                time.sleep(pause)
                number += 1
                with contextlib.suppress(errors.OipError):
                    self._begin(number)

    @contextlib.contextmanager
    def _one(self) -> Iterator[_Worker]:
        """A process that has nothing to do; it goes back unless it has ended."""
        while True:
            try:
                worker = self._idle.get(timeout=60)
            except queue.Empty:
                raise errors.Unavailable("no worker is there", retry_after=1) from None
            if worker.serves():
                break
        try:
            yield worker
        finally:
            if worker.serves():
                self._idle.put(worker)

    def infer(
        self, payload: InferenceRequest, model_name: str, model_version: str | None = None
    ) -> InferenceResponse:
        """Has a process answer."""
        with self._one() as worker:
            members = (payload.id, payload.parameters, payload.outputs, payload._context)
            inputs = worker.requests.pack("input", payload.inputs)
            members, outputs = worker.call("infer", members, inputs, model_name, model_version)
            name, version, parameters = members
            made = worker.answers.unpack(ResponseOutput, outputs)
            return InferenceResponse(name, version, None, parameters, made)

    def model_metadata(self, model_name: str, model_version: str | None = None) -> Any:
        """Asks a process."""
        with self._one() as worker:
            return worker.call("model_metadata", model_name, model_version)

    def model_ready(self, model_name: str, model_version: str | None = None) -> Any:
        """Asks a process."""
        with self._one() as worker:
            return worker.call("model_ready", model_name, model_version)

    def model_load(self, model_name: str) -> bool:
        """Has every process load a model; those that begin later load it too."""
        done = self._each("model_load", model_name)
        self._loaded.append(model_name)
        return done

    def model_unload(self, model_name: str) -> bool:
        """Has every process let go of a model."""
        if model_name in self._loaded:
            self._loaded.remove(model_name)
        return self._each("model_unload", model_name)

    def _each(self, method: str, name: str) -> bool:
        with self._lock:
            count = len(self._all)
        held = []
        try:
            for _ in range(count):
                held.append(self._idle.get(timeout=60))
            results = [worker.call(method, name) for worker in held]
        finally:
            for worker in held:
                self._idle.put(worker)
        return all(result is None or result for result in results)

    def close(self) -> None:
        """Ends the processes."""
        self._closing = True
        if self._watcher is not None:
            self._watcher.join(15)
        with self._lock:
            workers, self._all = self._all, set()
        for worker in workers:
            worker.close()


def _work(
    handler: Any, connection: Connection, requests: _Descriptor, answers: _Descriptor
) -> None:
    """What a process does until its parent hangs up."""
    # Ctrl-C reaches the whole group; the parent says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if isinstance(handler, type):
        handler = handler()
    loop = asyncio.new_event_loop()
    memory = Arena(requests.number), Arena(answers.number)
    while True:
        try:
            method, arguments = connection.recv()
        except (EOFError, OSError):
            return
        reply = _answer(handler, loop, memory, method, arguments)
        try:
            connection.send(reply)
        except (BrokenPipeError, OSError):
            return


def _answer(
    handler: Any,
    loop: asyncio.AbstractEventLoop,
    memory: tuple[Arena, Arena],
    method: str,
    arguments: Any,
) -> tuple[str, Any]:
    requests, answers = memory
    if not method:
        # The parent asks whether this process has begun.
        return "returned", None
    try:
        if method == "infer":
            (id, parameters, outputs, context), inputs, model, version = arguments
            payload = InferenceRequest(requests.unpack(RequestInput, inputs), outputs, id, parameters)
            payload._context = context
            arguments = payload, model, version
        result = getattr(handler, method)(*arguments)
        if inspect.isawaitable(result):
            result = loop.run_until_complete(_await(result))
    except Exception as error:
        return "raised", _portable(error, method)
    if method != "infer":
        return "returned", result
    try:
        if not isinstance(result, InferenceResponse):
            result = to_response(result, _declared(handler, *arguments[1:]))
        members = (result.model_name, result.model_version, result.parameters)
        return "returned", (members, answers.pack("output", result.outputs))
    except Exception as error:
        _errors.log("error", "the answer of infer", str(arguments[1]), error)
        return "raised", BadAnswer("the model's answer does not fit what it declares")


async def _await(result: Any) -> Any:
    return await result


def _declared(handler: Any, model: str, version: str | None) -> list[tuple[str, str]]:
    try:
        metadata = handler.model_metadata(model, version)
        return [(tensor.name, str(tensor.datatype)) for tensor in metadata.outputs]
    except Exception:
        return []


def _portable(error: Exception, method: str) -> Exception:
    """An exception that can be sent and that means the same on the other side."""
    if isinstance(error, errors.OipError):
        made = type(error)(error.message, retry_after=error.retry_after)
        return made if type(error).__module__ == errors.__name__ else errors.OipError(str(error))
    for kind in (NotImplementedError, ValueError, TypeError):
        if isinstance(error, kind):
            return kind(str(error))
    _errors.log("error", method, "a worker", error)
    return errors.HandlerFailed(f"{type(error).__name__}: {error}")
