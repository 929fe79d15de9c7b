"""What the server says goes to Python's ``logging``, below the logger ``oip``.

Where a program has set up logging, its handlers get the lines. Where it has not, they go to
standard error in one format: text, or JSON with ``log_format=json``.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from . import _oip

if TYPE_CHECKING:
    from .server import Server

_logger = logging.getLogger("oip")
_LEVELS = {
    "off": logging.CRITICAL + 10,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": logging.DEBUG,
}


def _moment(record: logging.LogRecord) -> str:
    """When it was said, as the lines of the binary have it."""
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
    return moment.replace("+00:00", "Z")


def _level(record: logging.LogRecord) -> str:
    return "WARN" if record.levelno == logging.WARNING else record.levelname


class _Text(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return f"{_moment(record)} {_level(record):>5} {record.name}: {record.message}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": _moment(record),
            "level": _level(record),
            "target": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def begin(level: str, form: str, latencies: bool) -> None:
    """Has the server's lines come here. The second time only the level is taken."""
    to_stderr(level, form)
    _oip.log_to(_forward, level, latencies)


_ours: list[logging.Handler] = []


class InForce(NamedTuple):
    """How the log is: a level of Python's, ``text`` or ``json``, and whether what is said below
    other loggers than ``oip`` goes the same way."""

    level: int
    form: str
    everybody: bool


def in_force() -> InForce:
    """How the log of this process is, for one that it begins."""
    if not _ours:
        # The program has set up logging itself, and where that is done may not be run there.
        return InForce(logging.getLogger().getEffectiveLevel(), "text", True)
    form = "json" if isinstance(_ours[0].formatter, _Json) else "text"
    return InForce(_logger.level, form, _ours[0] in logging.getLogger().handlers)


def take_over(log: InForce) -> None:
    """Has the log of this process be as that of the one that has begun it."""
    _write(log.level, log.form)
    if log.everybody:
        for_everybody()


def to_stderr(level: str = "info", form: str = "text") -> None:
    """Writes what is said below ``oip`` to standard error, unless somebody has set up logging. The
    second time level and form are taken."""
    _write(_LEVELS.get(level, logging.INFO), form)


def _write(level: int, form: str) -> None:
    if not _ours and not logging.getLogger().handlers and not _logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        _ours.append(handler)
        _logger.addHandler(handler)
        _logger.propagate = False
    if _ours:
        _ours[0].setFormatter(_Json() if form == "json" else _Text())
        _logger.setLevel(level)
    elif _logger.level == logging.NOTSET:
        _logger.setLevel(level)


def for_everybody() -> None:
    """Has what a served program says below other loggers go the same way, in the same form and
    from the same level on, unless the program has set up logging itself."""
    root = logging.getLogger()
    if _ours and not root.handlers:
        root.addHandler(_ours[0])
        root.setLevel(_logger.level)


def _below(target: str) -> str:
    """The logger for a part of the server: `oip_core::dataplane` is `oip.core.dataplane`."""
    name = target.replace("::", ".")
    if name == "oip" or name.startswith("oip."):
        return name
    return f"oip.{name.removeprefix('oip_')}"


def _forward(lines: Sequence[tuple[int, str, str]]) -> None:
    for level, target, message in lines:
        logger = logging.getLogger(_below(target))
        if logger.isEnabledFor(level):
            logger.log(level, "%s", message)


def announce(server: Server) -> None:
    """Says where the doors are."""
    grpc = "" if server.grpc_address is None else f", gRPC {server.grpc_target}"
    _logger.info("listening: REST %s%s", server.url, grpc)
