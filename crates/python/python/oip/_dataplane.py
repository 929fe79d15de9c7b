"""What the Python original has beside its messages: the checks of data against shape and datatype
as functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import _oip

__all__ = ["flatten", "get_actual_shape", "validate_data", "validate_datatype", "validate_shape"]


def flatten(data: Any) -> list[Any]:
    """Nested lists as one list; anything else as a list of that."""
    if isinstance(data, _oip.TensorData):
        data = data.root
    if not isinstance(data, list):
        return [data]
    return [element for item in data for element in flatten(item)]


def get_actual_shape(data: Any) -> list[int]:
    """How many elements each level of nested lists has, by the first of each."""
    if isinstance(data, _oip.TensorData):
        data = data.root
    shape: list[int] = []
    while isinstance(data, list):
        shape.append(len(data))
        if not data:
            break
        data = data[0]
    return shape


def validate_shape(expected_shape: Sequence[int], data: Any) -> None:
    """Checks that data, flat or nested, has the elements of a shape; -1 is any size.

    Raises ``ValueError``.
    """
    expected, found = list(expected_shape), get_actual_shape(data)
    if -1 in expected:
        fits = len(found) == len(expected) and all(
            size in (-1, there) for size, there in zip(expected, found, strict=True)
        )
        if not fits:
            raise ValueError(f"shape {expected} is declared, but the data is {found}")
        expected = found
    _Checked("BYTES", expected, [""] * len(flatten(data)))()
    if len(found) > 1:
        _rectangular(data, expected)


def _rectangular(data: Any, shape: list[int]) -> None:
    """Checks that lists are nested as a shape says."""
    if isinstance(data, _oip.TensorData):
        data = data.root
    if not shape:
        if isinstance(data, list):
            raise ValueError("the data is nested deeper than its shape")
        return
    if not isinstance(data, list) or len(data) != shape[0]:
        there = len(data) if isinstance(data, list) else "no list"
        raise ValueError(f"nested data: {shape[0]} elements are due, but there are {there}")
    for item in data:
        _rectangular(item, shape[1:])


def validate_datatype(expected_datatype: str, flat_data: Sequence[Any]) -> None:
    """Checks that all elements are of a datatype, as in a request.

    Raises ``TypeError`` or ``ValueError``.
    """
    flat = list(flat_data)
    _Checked(expected_datatype, [len(flat)], flat)()


def validate_data(data: _oip.TensorData, shape: Sequence[int], datatype: str) -> None:
    """Checks data against both, as in a request."""
    _Checked(datatype, list(shape), data)()


class _Checked:
    """Something that can be checked as a tensor."""

    name = "data"
    parameters = None

    def __init__(self, datatype: str, shape: list[int], data: Any) -> None:
        self.datatype = datatype
        self.shape = shape
        self.data = data if isinstance(data, _oip.TensorData) else _oip.TensorData(data)

    def __call__(self) -> None:
        _oip.check_tensor(self)
