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
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from . import _errors, errors
from ._arena import Arena, Descriptor
from ._results import to_response
from .handler import ModelHandler, method_of
from .types import InferenceRequest, InferenceResponse, RequestInput, ResponseOutput

_log = logging.getLogger("oip.workers")
_spawn = multiprocessing.get_context("spawn")
_ENDED = "the process that ran this request ended before it answered; others go on"
_HUNG = "the process that ran this request did not answer in time and was ended; others go on"
_SILENT = "the worker that was asked does not answer"
_PATIENCE = 60.0
"""Seconds to wait for a process that can be asked."""

class BadAnswer(errors.OipError):
    """An answer that is none; its process has logged why."""

    told = True


class _Line:
    """A connection to a process; one question at a time."""

    def __init__(self) -> None:
        self._ours, self.theirs = _spawn.Pipe()
        self._lock = threading.Lock()

    def ask(self, method: str, arguments: Sequence[Any], within: float | None) -> Any:
        """Sends a question and waits for the answer, for so many seconds at most.

        Raises ``TimeoutError``, or ``EOFError`` and ``OSError`` where the process has ended.
        """
        with self._lock:
            self._ours.send((method, arguments))
            if within is not None and not self._ours.poll(within):
                raise TimeoutError
            outcome, value = self._ours.recv()
        if outcome == "raised":
            raise value
        return value

    def close(self) -> None:
        """Hangs up."""
        self._ours.close()


class _Worker:
    """One process, as its parent sees it."""

    def __init__(self, handler: object, number: int) -> None:
        self.requests, self.answers = Arena.anonymous(), Arena.anonymous()
        self.work, self.control = _Line(), _Line()
        memory = Descriptor(self.requests.descriptor), Descriptor(self.answers.descriptor)
        self.process: SpawnProcess = _spawn.Process(
            target=_work, args=(handler, self.work.theirs, self.control.theirs, *memory), daemon=True
        )
        self.process.name = f"oip-worker-{number}"
        self._ended = False
        self.started = time.monotonic()
        try:
            self.process.start()
        except BaseException:
            self.let_go()
            raise
        finally:
            self.work.theirs.close()
            self.control.theirs.close()

    def call(self, method: str, *arguments: Any, within: float | None = None) -> Any:
        """Has the process do something and waits for it. One that takes longer than ``within``
        seconds is killed, as nothing else can stop it."""
        try:
            return self.work.ask(method, arguments, within)
        except TimeoutError:
            self._ended = True
            self.process.kill()
            raise errors.TimedOut(_HUNG) from None
        except (EOFError, OSError):
            self._ended = True
            raise errors.WorkerDied(_ENDED) from None

    def tell(self, method: str, *arguments: Any) -> Any:
        """Asks the process something that it answers while it is at work."""
        try:
            return self.control.ask(method, arguments, _PATIENCE)
        except TimeoutError:
            raise errors.Unavailable(_SILENT, retry_after=1) from None
        except (EOFError, OSError):
            raise errors.WorkerDied(_ENDED) from None

    def serves(self) -> bool:
        """Whether it can be asked. A process that is killed closes its end of the connection a
        moment before the system calls it dead."""
        return not self._ended and self.process.is_alive()

    def kill(self) -> None:
        """Ends the process at once."""
        self._ended = True
        self.process.kill()
        self.process.join()
        self.let_go()

    def close(self) -> None:
        """Ends the process when it has answered."""
        self.work.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.let_go()

    def let_go(self) -> None:
        """Lets go of what only whoever has this worker uses. (Somebody else may be asking it
        something, and learns by the connection that it has ended.)"""
        self.work.close()
        self.requests.close()
        self.answers.close()


class Processes(ModelHandler):
    """A handler that has others do the work."""

    grace: float = 5.0
    """Seconds that a process may be at work after its caller has stopped waiting. Then it hangs,
    and is killed."""

    def __init__(self, handler: object, count: int) -> None:
        if not hasattr(os, "memfd_create"):
            raise errors.StartError("workers need Linux")
        self._handler = handler
        self._loaded: list[str] = []
        self._closing = threading.Event()
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._all: set[_Worker] = set()
        self._turn = 0
        # Two that gather all processes at once would wait for each other.
        self._gathering = threading.Lock()
        self._count = count
        self._watcher: threading.Thread | None = None
        for name in ("model_names", "max_batch_size", "max_batch_delay", "checks_metadata"):
            if (value := getattr(handler, name, None)) is not None:
                setattr(self, name, value)
        try:
            for number in range(count):
                self._all.add(_Worker(handler, number))
            for worker in self._all:
                worker.call("")
                self._idle.put(worker)
        except errors.WorkerDied:
            self.close()
            raise errors.StartError("a worker ended before it could answer") from None
        except BaseException:
            self.close()
            raise
        watcher = threading.Thread(target=self._watch, name="oip-workers", daemon=True)
        watcher.start()
        self._watcher = watcher

    def _begin(self, number: int) -> None:
        """A new process with everything loaded. Where that fails it is killed."""
        worker = _Worker(self._handler, number)
        try:
            worker.call("")
            for name in list(self._loaded):
                if worker.call("model_load", name) is False:
                    raise errors.HandlerFailed(f"model '{name}' could not be loaded")
        except BaseException:
            worker.kill()
            raise
        with self._lock:
            self._all.add(worker)
        self._idle.put(worker)

    def _watch(self) -> None:
        """Begins a process anew where one has ended, and again where that fails."""
        number = self._count
        pause = 0.1
        while not self._closing.is_set():
            if self._reap():
                pause = 0.1
            while len(self._all) < self._count and not self._closing.wait(pause):
                # One that ends at once would end at once again.
                pause = min(pause * 2, 10.0)
                number += 1
                try:
                    self._begin(number)
                except Exception as error:
                    why = f"{type(error).__name__}: {error}"
                    _log.error("a new worker could not begin: %s; it is tried again", why)

    def _reap(self) -> bool:
        """Waits a moment for processes that end, and forgets them. Whether one of them had been
        at work for a while."""
        with self._lock:
            sentinels = {worker.process.sentinel: worker for worker in self._all}
        lasted = False
        for sentinel in wait(list(sentinels), timeout=0.5):
            worker = sentinels[sentinel]  # type: ignore[index]
            with self._lock:
                known = worker in self._all
                self._all.discard(worker)
            if known and not self._closing.is_set():
                worker.process.join()
                code = worker.process.exitcode
                _log.error("a worker ended with %s; another one begins", code)
                lasted |= time.monotonic() - worker.started >= 5
        return lasted

    def _take(self, until: float) -> _Worker:
        """A process that has nothing to do. One that has ended meanwhile is passed over."""
        while True:
            try:
                worker = self._idle.get(timeout=max(until - time.monotonic(), 0))
            except queue.Empty:
                raise errors.Unavailable("no worker is there", retry_after=1) from None
            if worker.serves():
                return worker
            worker.let_go()

    def _give_back(self, worker: _Worker) -> None:
        if worker.serves():
            self._idle.put(worker)
        else:
            worker.let_go()

    @contextlib.contextmanager
    def _one(self) -> Iterator[_Worker]:
        """A process that has nothing to do; it goes back unless it has ended."""
        worker = self._take(time.monotonic() + _PATIENCE)
        try:
            yield worker
        finally:
            self._give_back(worker)

    def infer(
        self, payload: InferenceRequest, model_name: str, model_version: str | None = None
    ) -> InferenceResponse:
        """Has a process answer. One that is at work long after its caller has left is killed."""
        with self._one() as worker:
            context = payload._context
            members = (payload.id, payload.parameters, payload.outputs, context)
            inputs = worker.requests.pack("input", payload.inputs)
            left = None if context is None else context.remaining
            within = None if left is None else left + self.grace
            members, outputs = worker.call(
                "infer", members, inputs, model_name, model_version, within=within
            )
            name, version, parameters = members
            made = worker.answers.unpack(ResponseOutput, outputs)
            return InferenceResponse(name, version, None, parameters, made)

    def model_metadata(self, model_name: str, model_version: str | None = None) -> Any:
        """Asks a process, whether or not it is at work."""
        return self._any().tell("model_metadata", model_name, model_version)

    def model_ready(self, model_name: str, model_version: str | None = None) -> Any:
        """Asks a process, whether or not it is at work."""
        return self._any().tell("model_ready", model_name, model_version)

    def _any(self) -> _Worker:
        """One process after the other."""
        with self._lock:
            serving = [worker for worker in self._all if worker.serves()]
            self._turn += 1
        if not serving:
            raise errors.Unavailable("no worker is there", retry_after=1)
        return serving[self._turn % len(serving)]

    def model_load(self, model_name: str) -> bool:
        """Has every process load a model; those that begin later load it too."""
        done = self._each("model_load", model_name)
        if done and model_name not in self._loaded:
            self._loaded.append(model_name)
        return done

    def model_unload(self, model_name: str) -> bool:
        """Has every process let go of a model."""
        if model_name in self._loaded:
            self._loaded.remove(model_name)
        return self._each("model_unload", model_name)

    def _each(self, method: str, name: str) -> bool:
        held: list[_Worker] = []
        with self._gathering:
            try:
                until = time.monotonic() + _PATIENCE
                while len(held) < self._count:
                    held.append(self._take(until))
                results = [worker.call(method, name) for worker in held]
            finally:
                for worker in held:
                    self._give_back(worker)
        return all(result is None or result for result in results)

    def close(self) -> None:
        """Ends the processes."""
        self._closing.set()
        if self._watcher is not None:
            self._watcher.join(15)
        with self._lock:
            workers, self._all = self._all, set()
        for worker in workers:
            worker.close()


def _work(
    handler: Any,
    work: Connection,
    control: Connection,
    requests: Descriptor,
    answers: Descriptor,
) -> None:
    """What a process does until its parent hangs up."""
    # Ctrl-C reaches the whole group; the parent says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if isinstance(handler, type):
        handler = handler()
    memory = Arena(requests.number), Arena(answers.number)
    threading.Thread(target=_converse, args=(handler, control, None), daemon=True).start()
    _converse(handler, work, memory)


def _converse(
    handler: Any, connection: Connection, memory: tuple[Arena, Arena] | None
) -> None:
    """Answers until the other side hangs up."""
    loop = asyncio.new_event_loop()
    while True:
        try:
            method, arguments = connection.recv()
        except (EOFError, OSError):
            return
        reply = _answer(handler, loop, memory, method, arguments)
        try:
            connection.send(reply)
        except OSError:
            return
        except Exception as error:
            # What a method returned cannot be sent.
            connection.send(("raised", _portable(error, method)))


def _answer(
    handler: Any,
    loop: asyncio.AbstractEventLoop,
    memory: tuple[Arena, Arena] | None,
    method: str,
    arguments: Any,
) -> tuple[str, Any]:
    if not method:
        # The parent asks whether this process has begun.
        return "returned", None
    try:
        if method == "infer":
            assert memory is not None
            (id, parameters, outputs, context), inputs, model, version = arguments
            tensors = memory[0].unpack(RequestInput, inputs)
            payload = InferenceRequest(tensors, outputs, id, parameters)
            payload._context = context
            arguments = payload, model, version
        result = method_of(handler, method)(*arguments)
        if inspect.isawaitable(result):
            result = loop.run_until_complete(_await(result))
    except Exception as error:
        return "raised", _portable(error, method)
    if method != "infer" or memory is None:
        return "returned", result
    try:
        if not isinstance(result, InferenceResponse):
            result = to_response(result, _declared(handler, *arguments[1:]))
        members = (result.model_name, result.model_version, result.parameters)
        return "returned", (members, memory[1].pack("output", result.outputs))
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
    if isinstance(error, NotImplementedError):
        return NotImplementedError(str(error))
    fits_not = method == "infer" and isinstance(error, (ValueError, TypeError))
    if fits_not and _errors.about_request(error.__traceback__):
        return errors.InvalidRequest(str(error))
    _errors.log("error", method, "a worker", error)
    where = error.__traceback__
    place = "" if where is None else f" ({_errors.place(where)})"
    return errors.HandlerFailed(f"{type(error).__name__}: {error}{place}")
