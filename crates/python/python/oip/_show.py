"""What ``repr`` shows of data: one line, and of what is long its beginning."""

from __future__ import annotations

from typing import Any

__all__ = ["short", "short_list"]

_MOST = 6
"""Elements of a list."""
_TEXT = 60
"""Characters of a string."""
_OTHER = 200
"""Characters of anything else."""


def short(value: Any) -> str:
    """One line about a value."""
    if isinstance(value, (str, bytes, bytearray)):
        shown = repr(value[:_TEXT])
        return shown if len(value) <= _TEXT else f"{shown}... of {len(value)}"
    if isinstance(value, list):
        return short_list(value[:_MOST], len(value))
    if type(value).__module__.partition(".")[0] == "oip":
        # These are short already.
        return repr(value)
    line = " ".join(repr(value).split())
    return line if len(line) <= _OTHER else f"{line[:_OTHER]}..."


def short_list(elements: list[Any], count: int) -> str:
    """A list, or the beginning of one that has so many elements."""
    shown = ", ".join(short(element) for element in elements)
    return f"[{shown}]" if len(elements) >= count else f"[{shown}, ...], {count} elements"
