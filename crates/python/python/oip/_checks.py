"""Tensors against what a model declares, where the server leaves it to the model: some inputs may be
missing. The sentences are the server's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from .types import MetadataTensor, _Tensor

__all__ = ["mismatch", "unknown"]


def mismatch(
    side: str,
    declared: Sequence[MetadataTensor],
    tensors: Iterable[_Tensor],
    optional: Collection[str] = (),
) -> str | None:
    """What is wrong with the tensors of one side; ``None`` where they fit."""
    known = {one.name: one for one in declared}
    missing = dict.fromkeys(name for name in known if name not in optional)
    for tensor in tensors:
        one = known.get(tensor.name)
        if one is None:
            return unknown(side, tensor.name, declared)
        missing.pop(tensor.name, None)
        if tensor.datatype != one.datatype:
            return (
                f"{side} '{one.name}': the model declares {one.datatype}, "
                f"but got {tensor.datatype}"
            )
        if not _fits(one.shape, tensor.shape):
            return (
                f"{side} '{one.name}': the model declares shape {one.shape}, but got {tensor.shape}"
            )
    for name in missing:
        return f"{side} '{name}' ({known[name].datatype} {known[name].shape}) is missing"
    return None


def unknown(side: str, name: str, declared: Sequence[MetadataTensor]) -> str:
    """That a name is none of those declared."""
    names = ", ".join(f"'{one.name}'" for one in declared)
    return f"{side} '{name}' is not one of the model; it declares {names}"


def _fits(declared: Sequence[int], found: Sequence[int]) -> bool:
    return len(declared) == len(found) and all(
        due in (-1, size) for due, size in zip(declared, found, strict=True)
    )
