"""Errors that a handler raises to choose the code that the caller reads.

Their message goes to the caller. Of other exceptions, ``ValueError`` and ``TypeError`` are taken
for faults of the request (400, message to the caller), ``NotImplementedError`` is 501, and all
others are 500: the caller reads a stable phrase, the log has the traceback.
"""

from __future__ import annotations

__all__ = [
    "Forbidden",
    "HandlerFailed",
    "InvalidRequest",
    "NotFound",
    "NotImplemented",
    "OipError",
    "StartError",
    "TimedOut",
    "TooLarge",
    "TooManyRequests",
    "Unauthenticated",
    "Unavailable",
    "WorkerDied",
]


class OipError(Exception):
    """An error of the protocol. ``status`` is the HTTP status, ``code`` gRPC's name for it."""

    status: int = 500
    code: str = "INTERNAL"
    told: bool = False
    """Whether the caller reads the message of an error of status 500."""

    def __init__(self, message: str = "", *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class InvalidRequest(OipError, ValueError):
    """The request does not fit: 400, ``INVALID_ARGUMENT``."""

    status = 400
    code = "INVALID_ARGUMENT"


class Unauthenticated(OipError):
    """Nobody known is asking: 401, ``UNAUTHENTICATED``."""

    status = 401
    code = "UNAUTHENTICATED"


class Forbidden(OipError):
    """The caller may not: 403, ``PERMISSION_DENIED``."""

    status = 403
    code = "PERMISSION_DENIED"


class NotFound(OipError):
    """No such model or version: 404, ``NOT_FOUND``."""

    status = 404
    code = "NOT_FOUND"


class TooLarge(OipError):
    """Too much was sent: 413, ``RESOURCE_EXHAUSTED``."""

    status = 413
    code = "RESOURCE_EXHAUSTED"


class TooManyRequests(OipError):
    """Not now, there is too much to do: 429, ``RESOURCE_EXHAUSTED``. ``retry_after`` in seconds."""

    status = 429
    code = "RESOURCE_EXHAUSTED"


class HandlerFailed(OipError):
    """The model failed: 500, ``INTERNAL``. The message goes to the log alone."""


class WorkerDied(OipError):
    """The process that ran the request ended before it answered: 500, ``INTERNAL``."""

    told = True


class NotImplemented(OipError, NotImplementedError):
    """This is not implemented here: 501, ``UNIMPLEMENTED``."""

    status = 501
    code = "UNIMPLEMENTED"


class Unavailable(OipError):
    """The model cannot answer now: 503, ``UNAVAILABLE``. ``retry_after`` in seconds."""

    status = 503
    code = "UNAVAILABLE"


class TimedOut(OipError):
    """It took too long: 504, ``DEADLINE_EXCEEDED``."""

    status = 504
    code = "DEADLINE_EXCEEDED"


class StartError(RuntimeError):
    """A server could not be started: a setting makes no sense, a port is taken."""
