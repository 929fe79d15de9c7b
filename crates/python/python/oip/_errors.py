"""What the log says of a handler's exceptions."""

from __future__ import annotations

import logging
from types import TracebackType

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
