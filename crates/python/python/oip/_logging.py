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
from typing import TYPE_CHECKING

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
_TEXT = "%(asctime)s %(levelname)7s %(name)s: %(message)s"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        line = {
            "timestamp": moment.replace("+00:00", "Z"),
            "level": "WARN" if record.levelno == logging.WARNING else record.levelname,
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


def to_stderr(level: str = "info", form: str = "text") -> None:
    """Writes what is said below ``oip`` to standard error, unless somebody has set up logging."""
    if not logging.getLogger().handlers and not _logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Json() if form == "json" else logging.Formatter(_TEXT))
        _logger.addHandler(handler)
        _logger.propagate = False
        _logger.setLevel(_LEVELS.get(level, logging.INFO))
    elif _logger.level == logging.NOTSET:
        _logger.setLevel(_LEVELS.get(level, logging.INFO))


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
