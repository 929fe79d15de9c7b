"""``workers=N``: the same handler in several processes, for pure Python that keeps a processor
busy.

Each process answers one request at a time. Small tensors travel with the message, large ones
in anonymous shared memory (``memfd``), of which nothing is left behind whatever happens.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import multiprocessing.process
import os
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Any

from . import _logging, _worker, errors
from ._arena import Arena, Descriptor
from .handler import METHODS, ModelHandler, members_of, wishes_of
from .types import InferenceRequest, InferenceResponse, ResponseOutput

_log = logging.getLogger("oip.workers")
_spawn = multiprocessing.get_context("spawn")
_ENDED = "the process that ran this request ended before it answered; others go on"
_HUNG = "the process that ran this request did not answer in time and was ended; others go on"
_SILENT = "the worker that was asked does not answer"
_BUSY = "every worker is at work"
_LATE = "no worker was free before the request's time was up"
_PATIENCE = 60.0
"""Seconds to wait for a process that can be asked."""


class _Line:
    """A connection to a process; one question at a time."""

    def __init__(self) -> None:
        self._ours, self.theirs = _spawn.Pipe()
        self._lock = threading.Lock()
        self._closing = threading.Lock()
        self._number = 0

    def ask(self, method: str, arguments: Sequence[Any], within: float | None) -> Any:
        """Sends a question and waits for the answer, for so many seconds at most.

        Raises ``TimeoutError``, or ``EOFError`` and ``OSError`` where the process has ended.
        """
        until = None if within is None else time.monotonic() + within
        if not self._lock.acquire(timeout=-1 if within is None else within):
            raise TimeoutError
        try:
            self._number += 1
            self._ours.send((self._number, method, arguments))
            outcome, value = self._answer(until)
        finally:
            self._lock.release()
        if outcome == "raised":
            raise value
        return value

    def _answer(self, until: float | None) -> tuple[str, Any]:
        while True:
            left = None if until is None else max(until - time.monotonic(), 0)
            if left is not None and not self._ours.poll(left):
                raise TimeoutError
            number, outcome, value = self._ours.recv()
            # Another number is that of a question that nobody waits for any more.
            if number == self._number:
                return outcome, value

    def close(self) -> None:
        """Hangs up. Two threads may at once, as with an arena."""
        with self._closing:
            self._ours.close()


class _Worker:
    """One process, as its parent sees it."""

    def __init__(self, handler: object, number: int) -> None:
        self.requests, self.answers = Arena.anonymous(), Arena.anonymous()
        self.work, self.control = _Line(), _Line()
        memory = Descriptor(self.requests.descriptor), Descriptor(self.answers.descriptor)
        self.process: SpawnProcess = _spawn.Process(
            target=_worker.work,
            args=(handler, self.work.theirs, self.control.theirs, *memory, _logging.in_force()),
            daemon=True,
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

    def close(self, until: float) -> None:
        """Ends the process when it has answered, and in any case then."""
        self.work.close()
        self.process.join(max(until - time.monotonic(), 0))
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


class _Waiting:
    """Somebody who waits for a process, though for none of these."""

    def __init__(self, but: Collection[_Worker]) -> None:
        self.but = but
        self.given: _Worker | None = None
        self.came = threading.Event()


class _Idle:
    """The processes that have nothing to do, and who waits for one, first come first served."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[_Worker] = []
        self._waiting: list[_Waiting] = []

    def put(self, worker: _Worker) -> None:
        """Hands a process to whoever waits longest."""
        with self._lock:
            for waiting in self._waiting:
                if worker not in waiting.but:
                    self._waiting.remove(waiting)
                    waiting.given = worker
                    waiting.came.set()
                    return
            self._free.append(worker)

    def take(self, until: float, but: Collection[_Worker]) -> _Worker | None:
        """A process, though none of these; ``None`` where there is none until then."""
        with self._lock:
            for worker in self._free:
                if worker not in but:
                    self._free.remove(worker)
                    return worker
            waiting = _Waiting(but)
            self._waiting.append(waiting)
        waiting.came.wait(max(until - time.monotonic(), 0))
        with self._lock:
            if waiting.given is None:
                self._waiting.remove(waiting)
            return waiting.given


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
        self._idle = _Idle()
        self._lock = threading.Lock()
        self._all: set[_Worker] = set()
        self._turn = 0
        # What is loaded, and who has it: one change at a time.
        self._loading = threading.Lock()
        self._count = count
        self._watcher: threading.Thread | None = None
        wishes_of(handler, self)
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

    def forget(self) -> None:
        """Leaves the processes to the parent, in a child after ``fork``, with which
        multiprocessing would end them."""
        children: set[object] = getattr(multiprocessing.process, "_children", set())
        children.difference_update([worker.process for worker in list(self._all)])

    def _begin(self, number: int) -> None:
        """A new process with everything loaded. Where that fails it is killed."""
        worker = _Worker(self._handler, number)
        try:
            worker.call("")
            with self._loading:
                for name in self._loaded:
                    if worker.call("model_load", name) is False:
                        raise errors.HandlerFailed(f"model '{name}' could not be loaded")
                with self._lock:
                    if self._closing.is_set():
                        raise errors.Unavailable("the server is stopping")
                    self._all.add(worker)
        except BaseException:
            worker.kill()
            raise
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
                    if self._closing.is_set():
                        return
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
                lasted |= time.monotonic() - worker.started >= 5
                if not self._closing.is_set():
                    _log.error("a worker ended with %s; another one begins", code)
        return lasted

    def _take(self, until: float, but: Collection[_Worker] = ()) -> _Worker | None:
        """A process that has nothing to do, and is none of these; ``None`` where there is none
        until then. One that has ended meanwhile is passed over."""
        while (worker := self._idle.take(until, but)) is not None:
            if worker.serves():
                return worker
            worker.let_go()
        return None

    def _give_back(self, worker: _Worker) -> None:
        if worker.serves():
            self._idle.put(worker)
        else:
            worker.let_go()

    @contextlib.contextmanager
    def _one(self, left: float | None) -> Iterator[_Worker]:
        """A process that has nothing to do, before so many seconds have gone; it goes back unless
        it has ended."""
        patience = _PATIENCE if left is None else min(left, _PATIENCE)
        worker = self._take(time.monotonic() + patience)
        if worker is None:
            if left is not None and left <= _PATIENCE:
                raise errors.TimedOut(_LATE)
            raise errors.Unavailable(_BUSY, retry_after=1)
        try:
            yield worker
        finally:
            self._give_back(worker)

    def infer(
        self, payload: InferenceRequest, model_name: str, model_version: str | None = None
    ) -> InferenceResponse:
        """Has a process answer. One that is at work long after its caller has left is killed."""
        context = payload._context
        with self._one(None if context is None else context.remaining) as worker:
            left = None if context is None else context.remaining
            if left is not None and left <= 0:
                # The caller has left meanwhile.
                raise errors.TimedOut(_LATE)
            members = (payload.id, payload.parameters, payload.outputs, context)
            inputs = worker.requests.pack("input", payload.inputs)
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
        serving = sorted(self._serving(), key=lambda worker: worker.started)
        if not serving:
            raise errors.Unavailable("no worker is there", retry_after=1)
        self._turn += 1
        return serving[self._turn % len(serving)]

    def model_load(self, model_name: str) -> bool:
        """Has every process load a model, each when it has nothing else to do; those that begin
        later load it too."""
        with self._loading:
            done = self._each("model_load", model_name)
            if done and model_name not in self._loaded:
                self._loaded.append(model_name)
        return done

    def model_unload(self, model_name: str) -> bool:
        """Has every process let go of a model. Where one refuses, those that begin later load it
        still."""
        with self._loading:
            done = self._each("model_unload", model_name)
            if model_name in self._loaded:
                self._loaded.remove(model_name)
            return done

    def _each(self, method: str, name: str) -> bool:
        """Has one process after the other do something, while the others go on."""
        until = time.monotonic() + _PATIENCE
        done: set[_Worker] = set()
        succeeded = True
        while not done or self._serving() - done:
            # One that is waited for may end; so this looks again.
            worker = self._take(min(until, time.monotonic() + 0.2), done)
            if worker is None:
                if not self._serving() or time.monotonic() >= until:
                    raise errors.Unavailable(_BUSY, retry_after=1)
                continue
            done.add(worker)
            try:
                result = worker.call(method, name)
            finally:
                self._give_back(worker)
            succeeded &= result is None or bool(result)
        return succeeded

    def _oip_members(self) -> dict[str, Any] | None:
        """Each of several models, by its name."""
        models = members_of(self._handler)
        if models is None:
            return None
        made = {id(model): _Member(self, model) for model in models.values()}
        return {name: made[id(model)] for name, model in models.items()}

    def _serving(self) -> set[_Worker]:
        with self._lock:
            return {worker for worker in self._all if worker.serves()}

    def close(self, patience: float = 5.0) -> None:
        """Ends the processes. What they are at may take so many seconds."""
        with self._lock:
            self._closing.set()
            workers, self._all = self._all, set()
        until = time.monotonic() + patience
        for worker in workers:
            worker.work.close()
        for worker in workers:
            worker.close(until)
        if self._watcher is not None:
            self._watcher.join(max(until - time.monotonic(), 1))


class _Member:
    """One of several models that processes have, as it wants to be called."""

    def __init__(self, whole: Processes, model: object) -> None:
        for name in METHODS:
            setattr(self, name, getattr(whole, name))
        wishes_of(model, self)
