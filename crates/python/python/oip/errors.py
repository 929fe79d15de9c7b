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
    """An error of the protocol. ``status`` is the HTTP status, ``code`` gRPC's name for it.

    A class of your own derives from the one with its status.
    """

    status: int = 500
    code: str = "INTERNAL"
    told: bool = False
    """Whether the caller reads the message of an error of status 500."""
    logged: bool = False
    """Whether an error of status 500 stands in the log already, with where it was raised."""

    def __init__(self, message: str = "", *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after

    def __init_subclass__(cls, *, status: int | None = None, code: str | None = None) -> None:
        if status is not None and code is not None:
            cls.status, cls.code = status, code
            # Classes of others need not be made as these are.
            if cls.__module__ == __name__:
                _BY_STATUS.setdefault(status, cls)


_BY_STATUS: dict[int, type[OipError]] = {}


class InvalidRequest(OipError, ValueError, status=400, code="INVALID_ARGUMENT"):
    """The request does not fit: 400, ``INVALID_ARGUMENT``."""


class Unauthenticated(OipError, status=401, code="UNAUTHENTICATED"):
    """Nobody known is asking: 401, ``UNAUTHENTICATED``."""


class Forbidden(OipError, status=403, code="PERMISSION_DENIED"):
    """The caller may not: 403, ``PERMISSION_DENIED``."""


class NotFound(OipError, status=404, code="NOT_FOUND"):
    """No such model or version: 404, ``NOT_FOUND``."""


class TooLarge(OipError, status=413, code="RESOURCE_EXHAUSTED"):
    """Too much was sent: 413, ``RESOURCE_EXHAUSTED``."""


class TooManyRequests(OipError, status=429, code="RESOURCE_EXHAUSTED"):
    """Not now, there is too much to do: 429, ``RESOURCE_EXHAUSTED``. ``retry_after`` in seconds."""


class HandlerFailed(OipError, status=500, code="INTERNAL"):
    """The model failed: 500, ``INTERNAL``. The message goes to the log alone."""


class WorkerDied(OipError):
    """The process that ran the request ended before it answered: 500, ``INTERNAL``."""

    told = True


class NotImplemented(OipError, NotImplementedError, status=501, code="UNIMPLEMENTED"):
    """This is not implemented here: 501, ``UNIMPLEMENTED``."""


class Unavailable(OipError, status=503, code="UNAVAILABLE"):
    """The model cannot answer now: 503, ``UNAVAILABLE``. ``retry_after`` in seconds."""


class TimedOut(OipError, status=504, code="DEADLINE_EXCEEDED"):
    """It took too long: 504, ``DEADLINE_EXCEEDED``."""


class StartError(RuntimeError):
    """A server could not be started: a setting makes no sense, a port is taken."""


def of_status(status: int, message: str, retry_after: int | None = None) -> OipError:
    """The error that a caller with this status reads; of one that is not known, a failure."""
    kind = _BY_STATUS.get(status, HandlerFailed)
    return kind(message, retry_after=retry_after)
