"""A process of ``workers=N``, from within: it answers what its parent asks."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from . import _errors, _logging, errors
from ._arena import Arena, Descriptor
from ._results import to_response
from .handler import method_of
from .types import InferenceRequest, InferenceResponse, RequestInput

__all__ = ["work"]

_ORPHANED = 5.0
"""Seconds that an answer may take after the parent has gone."""


def work(
    handler: Any,
    asked: Connection,
    control: Connection,
    requests: Descriptor,
    answers: Descriptor,
    log: _logging.InForce,
) -> None:
    """What a process does until its parent hangs up."""
    # Ctrl-C reaches the whole group; the parent says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _logging.take_over(log)
    if isinstance(handler, type):
        handler = handler()
    memory = Arena(requests.number), Arena(answers.number)
    threading.Thread(target=_attend, args=(handler, control), daemon=True).start()
    _converse(handler, asked, memory)


def _attend(handler: Any, control: Connection) -> None:
    """Answers what does not wait behind inferences. The line is cut when the parent dies: a
    handler that hangs would outlive it."""
    _converse(handler, control, None)
    time.sleep(_ORPHANED)
    os._exit(1)


def _converse(handler: Any, line: Connection, memory: tuple[Arena, Arena] | None) -> None:
    """Answers until the other side hangs up."""
    loop = asyncio.new_event_loop()
    while True:
        try:
            number, method, arguments = line.recv()
        except (EOFError, OSError):
            return
        try:
            reply = _answer(handler, loop, memory, method, arguments)
        except Exception as error:
            reply = "raised", _portable(error, method, "")
        try:
            line.send((number, *reply))
        except OSError:
            return
        except Exception as error:
            # What a method returned cannot be sent.
            line.send((number, "raised", _portable(error, method, "")))


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
    if method == "infer":
        assert memory is not None
        (id, parameters, outputs, context), inputs, *asked = arguments
        payload = InferenceRequest(memory[0].unpack(RequestInput, inputs), outputs, id, parameters)
        payload._context = context
        arguments = payload, *asked
    else:
        asked = arguments
    try:
        result = _call(handler, loop, method, arguments)
    except BaseException as error:
        # ``sys.exit`` too is a fault of this request alone.
        return "raised", _portable(error, method, asked[0])
    if method != "infer" or memory is None:
        return "returned", result
    try:
        if not isinstance(result, InferenceResponse):
            result = to_response(result, _declared(handler, loop, asked))
        members = (result.model_name, result.model_version, result.parameters)
        return "returned", (members, memory[1].pack("output", result.outputs))
    except Exception as error:
        _errors.log("error", "the answer of infer", asked[0], error)
        failed = errors.HandlerFailed("the model's answer does not fit what it declares")
        failed.told = True
        return "raised", failed


def _call(handler: Any, loop: asyncio.AbstractEventLoop, method: str, arguments: Any) -> Any:
    result = method_of(handler, method)(*arguments)
    return loop.run_until_complete(_await(result)) if inspect.isawaitable(result) else result


async def _await(result: Any) -> Any:
    return await result


def _declared(handler: Any, loop: asyncio.AbstractEventLoop, asked: Any) -> list[tuple[str, str]]:
    try:
        metadata = _call(handler, loop, "model_metadata", asked)
        return [(tensor.name, str(tensor.datatype)) for tensor in metadata.outputs]
    except Exception:
        return []


def _portable(error: BaseException, method: str, model: str) -> Exception:
    """An exception that can be sent and that means the same on the other side, where the classes
    of the handler's own need not be known."""
    what = method.replace("_", " ")
    if isinstance(error, errors.OipError):
        seconds = getattr(error, "retry_after", None)
        made = errors.of_status(error.status, str(error), seconds if type(seconds) is int else None)
        made.told = bool(error.told)
        if made.status == 500 and not made.told:
            _errors.log("error", what, model, error)
            made.logged = True
        return made
    if isinstance(error, NotImplementedError):
        return NotImplementedError(str(error))
    fits_not = method == "infer" and isinstance(error, (ValueError, TypeError))
    if fits_not and _errors.about_request(error.__traceback__):
        _errors.log("info", what, model, error)
        return errors.InvalidRequest(str(error))
    _errors.log("error", what, model, error)
    where = error.__traceback__
    place = "" if where is None else f" ({_errors.place(where)})"
    failed = errors.HandlerFailed(f"{type(error).__name__}: {error}{place}")
    failed.logged = True
    return failed
