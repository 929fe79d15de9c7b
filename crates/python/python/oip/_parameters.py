"""Parameters of requests, responses and tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ._show import short

class Parameters:
    """Parameters of a request, a response or a tensor: strings, numbers and booleans.

    They are attributes, ``parameters.content_type``, and entries, ``parameters["content_type"]``;
    one that is called as a method is here, ``get`` say, is an entry alone. ``content_type`` is
    ``None`` where nobody gave one.
    """

    # Callers choose the names: what they send must never stand before a method.
    __slots__ = ("_entries",)
    _entries: dict[str, Any]

    def __init__(self, /, content_type: str | None = None, **others: Any) -> None:
        entries = others if content_type is None else {"content_type": content_type, **others}
        object.__setattr__(self, "_entries", entries)

    def __getattr__(self, name: str) -> Any:
        # Names with underscores on both sides are Python's, which asks for them by itself.
        if name == "_entries" or name.startswith("__"):
            raise AttributeError(name)
        entries = self._entries
        if name in entries:
            return entries[name]
        if name == "content_type":
            return None
        raise AttributeError(f"there is no parameter '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        self._entries[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self._entries:
            raise AttributeError(f"there is no parameter '{name}'")
        del self._entries[name]

    def __getitem__(self, name: str) -> Any:
        return self._entries[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._entries[name] = value

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self._entries, "content_type"})

    def get(self, name: str, default: Any = None) -> Any:
        """The value of this name, or the default."""
        return self._entries.get(name, default)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Parameters):
            return self._entries == other._entries
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={short(value)}" for name, value in self._entries.items())
        return f"Parameters({inner})"

    def __reduce__(self) -> Any:
        return parameters_of, (self._entries,)

    def model_dump(self, *, exclude_none: bool = False) -> dict[str, Any]:
        """The parameters as a dictionary."""
        dumped = {"content_type": None} | self._entries
        return {k: v for k, v in dumped.items() if not (exclude_none and v is None)}


def parameters_of(value: Parameters | Mapping[str, Any] | None) -> Parameters | None:
    """Parameters of a dictionary; those that are some already as they are."""
    if value is None or isinstance(value, Parameters):
        return value
    if isinstance(value, Mapping):
        made = Parameters()
        made._entries.update(value)
        if made._entries.get("content_type", "") is None:
            del made._entries["content_type"]
        return made
    raise TypeError(f"parameters must be Parameters or a mapping, not {type(value).__name__}")
