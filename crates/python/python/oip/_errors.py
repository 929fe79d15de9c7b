"""What the log says of a handler's exceptions."""

from __future__ import annotations

import dis
import logging
import os
import sysconfig
from types import FrameType, TracebackType

_logger = logging.getLogger("oip.handler")
_LEVELS = {"info": logging.INFO, "error": logging.ERROR}


def log(level: str, what: str, model: str, error: BaseException) -> None:
    """One line, and the traceback below it."""
    name = type(error).__name__
    _logger.log(_LEVELS[level], "%s of model '%s': %s", what, model, name, exc_info=error)


def place(traceback: TracebackType) -> str:
    """Where an exception was raised: file, line and function."""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    return f"{code.co_filename}:{traceback.tb_lineno} in {code.co_name}"


# What reads a request: its faults are the request's.
_READS = {
    "decode",
    "decode_inference_request",
    "decode_input",
    "decode_request",
    "decode_request_input",
    "get_decoded_or_raw",
    "input",
    "numpy",
    "strings",
    "validate_oip",
}
_ANSWERS = {"InferenceResponse", "ResponseOutput"}
_RAISES = dis.opmap["RAISE_VARARGS"]
# Not all paths of an installation: programs may lie anywhere below its root.
_LIBRARIES = tuple(
    {
        os.path.join(sysconfig.get_path(name), "")
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
)


def about_request(traceback: TracebackType | None) -> bool:
    """Whether a ``ValueError`` or ``TypeError`` says something of the request: the handler's own
    code raised it with ``raise``, or reading the request did. One that comes out of a library, or
    of an expression that failed, is a fault of the handler."""
    steps: list[TracebackType] = []
    while traceback is not None:
        steps.append(traceback)
        traceback = traceback.tb_next
    if not steps:
        return False
    if _package(steps[-1].tb_frame) == "oip":
        for step in reversed(steps):
            if _package(step.tb_frame) != "oip":
                return False
            if _reads_request(step.tb_frame):
                return True
        return False
    last = steps[-1]
    if last.tb_frame.f_code.co_code[last.tb_lasti] != _RAISES:
        return False
    packages = (_package(step.tb_frame) for step in steps)
    handlers = next(package for package in packages if package != "oip")
    is_library = last.tb_frame.f_code.co_filename.startswith(_LIBRARIES)
    return not is_library or _package(last.tb_frame) == handlers


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _reads_request(frame: FrameType) -> bool:
    owner = type(frame.f_locals.get("self")).__name__
    return frame.f_code.co_name in _READS and owner not in _ANSWERS
