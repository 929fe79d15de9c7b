"""Where our answers differ from the Python original's, and why that is right."""

from __future__ import annotations

from typing import NamedTuple


class Difference(NamedTuple):
    reason: str
    theirs: int
    ours: int
    cases: tuple[str, ...]


DIFFERENCES: list[Difference] = [
    Difference(
        "A value that its datatype cannot hold is refused; theirs passes it on as it came.",
        200, 400,
        ("*INT* beyond", "*INT* below", "FP32 beyond"),
    ),
    Difference(
        "JSON's true is no number; theirs takes it, as Python's bool is an int.",
        200, 400,
        ("*INT* true",),
    ),
    Difference(
        "JSON has one kind of number: 1 is a float where a float is due.",
        400, 200,
        ("FP?? integers",),
    ),
    Difference(
        "Lists are nested as the shape says, or flat; theirs counts elements for one dimension.",
        200, 400,
        ("two levels for one dimension",),
    ),
    Difference(
        "A request says which size it sends: -1 and below belong into metadata.",
        200, 400,
        ("open dimension, nested", "negative dimensions"),
    ),
    Difference(
        "A dimension is a number; theirs reads the text.",
        200, 400,
        ("text as a dimension",),
    ),
    Difference(
        "A tensor of no elements is one; theirs fails on it with IndexError.",
        500, 200,
        ("empty",),
    ),
    Difference(
        "A count or shape that cannot be is the caller's fault; theirs fails with IndexError.",
        500, 400,
        ("empty where two are due", "huge shape"),
    ),
    Difference(
        "data of a tensor with dimensions is a list; theirs counts a bare text as one element.",
        200, 400,
        ("data is text",),
    ),
    Difference(
        "An output that there is not is an error by name; theirs leaves it out in silence.",
        200, 400,
        ("unknown output",),
    ),
    Difference(
        "Two inputs of one name cannot be told apart.",
        200, 400,
        ("the same input twice",),
    ),
    Difference(
        "Parameters are strings, numbers and booleans, as the protocol says.",
        200, 400,
        ("parameter is an object",),
    ),
    Difference(
        "JSON is taken under other names too: clients forget the content type.",
        400, 200,
        ("text/plain",),
    ),
    Difference(
        "A wrong answer is the server's fault (500), not the caller's.",
        400, 500,
        (
            "answer wrong_count", "answer wrong_type", "answer text_for_float", "answer ragged",
            "answer other_nesting",
        ),
    ),
    Difference(
        "An answer that its datatype cannot hold is a fault of the handler; theirs sends it.",
        200, 500,
        ("answer beyond_uint8",),
    ),
    Difference(
        "Readiness says ready as well, for KServe's clients.",
        200, 200,
        ("ready",),
    ),
    Difference(
        "Name, version and extensions are this server's own.",
        200, 200,
        ("server",),
    ),
    Difference(
        "A slash at the end is served; theirs redirects.",
        307, 200,
        ("server with a slash",),
    ),
    Difference(
        "A model that is not ready is a status that probes can read, not only a body.",
        200, 503,
        ("model that is not ready",),
    ),
    Difference(
        "HEAD is answered where GET is, as probes use it.",
        405, 200,
        ("head of live",),
    ),
    Difference(
        "A name may hold an encoded slash.",
        404, 200,
        ("slash in a name",),
    ),
]
