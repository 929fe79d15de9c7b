"""The requests that both servers are asked. Each has a name, a path, and a body or none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple


class Case(NamedTuple):
    name: str
    path: str
    body: bytes | None = None
    method: str | None = None
    headers: dict[str, str] = {"Content-Type": "application/json"}


def tensor(datatype: str, shape: Any, data: Any, **others: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": datatype, "shape": shape, "data": data, **others}


def infer(name: str, model: str, *inputs: Any, **others: Any) -> Case:
    body = json.dumps({"inputs": list(inputs), **others}).encode()
    return Case(name, f"/v2/models/{model}/infer", body)


INTEGERS = {
    "UINT8": (0, 255), "UINT16": (0, 2**16 - 1), "UINT32": (0, 2**32 - 1),
    "UINT64": (0, 2**64 - 1), "INT8": (-128, 127), "INT16": (-(2**15), 2**15 - 1),
    "INT32": (-(2**31), 2**31 - 1), "INT64": (-(2**63), 2**63 - 1),
}
FLOATS = ("FP16", "FP32", "FP64")


def of_each_datatype() -> Iterator[Case]:
    good: dict[str, list[Any]] = {
        **{name: [1, 2, 3, 4] for name in INTEGERS},
        **{name: [0.5, -1.5, 2.0, 4.25] for name in FLOATS},
        "BOOL": [True, False, True, True],
        "BYTES": ["a", "", "é", "日本"],
    }
    for name, data in good.items():
        yield infer(f"{name} flat", "echo", tensor(name, [4], data))
        yield infer(f"{name} flat for two dimensions", "echo", tensor(name, [2, 2], data))
        yield infer(f"{name} nested", "echo", tensor(name, [2, 2], [data[:2], data[2:]]))
        yield infer(f"{name} three levels", "echo", tensor(name, [1, 2, 2], [[data[:2], data[2:]]]))
        yield infer(f"{name} nested, root handed on", "root", tensor(name, [2, 2], [data[:2], data[2:]]))
        yield infer(f"{name} iterated", "iterated", tensor(name, [2, 2], [data[:2], data[2:]]))
        yield infer(f"{name} first of a flat one", "first", tensor(name, [4], data))
        yield infer(f"{name} too few", "echo", tensor(name, [4], data[:3]))
        yield infer(f"{name} too many", "echo", tensor(name, [3], data))
        yield infer(f"{name} ragged", "echo", tensor(name, [2, 2], [data[:2], data[2:3]]))
        yield infer(f"{name} a list where text is due", "echo", tensor(name, [1], [None]))
        yield infer(f"{name} an object", "echo", tensor(name, [1], [{}]))


def of_ranges() -> Iterator[Case]:
    for name, (low, high) in INTEGERS.items():
        yield infer(f"{name} lowest and highest", "echo", tensor(name, [2], [low, high]))
        yield infer(f"{name} text", "echo", tensor(name, [1], ["1"]))
        yield infer(f"{name} fraction", "echo", tensor(name, [1], [1.5]))
        yield infer(f"{name} beyond", "echo", tensor(name, [1], [high + 1]))
        yield infer(f"{name} below", "echo", tensor(name, [1], [low - 1]))
        yield infer(f"{name} true", "echo", tensor(name, [1], [True]))
    for name in FLOATS:
        yield infer(f"{name} integers", "echo", tensor(name, [2], [1, 2]))
        yield infer(f"{name} text", "echo", tensor(name, [1], ["1.5"]))
        yield infer(f"{name} true", "echo", tensor(name, [1], [True]))
    yield infer("FP32 beyond", "echo", tensor("FP32", [1], [1e300]))
    yield infer("BOOL numbers", "echo", tensor("BOOL", [2], [1, 0]))
    yield infer("BYTES numbers", "echo", tensor("BYTES", [1], [1]))


def of_shapes() -> Iterator[Case]:
    data = [1.0, 2.0, 3.0, 4.0]
    yield infer("nested otherwise than its shape", "echo", tensor("FP32", [4, 1], [[1.0, 2.0], [3.0, 4.0]]))
    yield infer("two levels for one dimension", "echo", tensor("FP32", [4], [[1.0, 2.0], [3.0, 4.0]]))
    yield infer("open dimension, nested", "echo", tensor("FP32", [-1, 2], [[1.0, 2.0]]))
    yield infer("open dimension, flat", "echo", tensor("FP32", [-1, 2], data))
    yield infer("negative dimensions", "echo", tensor("FP32", [-2, -2], data))
    yield infer("text as a dimension", "echo", tensor("FP32", ["4"], data))
    yield infer("fraction as a dimension", "echo", tensor("FP32", [4.5], data))
    yield infer("no dimensions, scalar", "echo", tensor("FP32", [], 1.0))
    yield infer("no dimensions, list", "echo", tensor("FP32", [], [1.0]))
    yield infer("empty", "echo", tensor("FP32", [0], []))
    yield infer("empty where two are due", "echo", tensor("FP32", [2], []))
    yield infer("shape is text", "echo", tensor("FP32", "4", data))
    yield infer("data is text", "echo", tensor("BYTES", [1], "abc"))
    yield infer("huge shape", "echo", tensor("FP32", [2**32, 2**32], []))


def of_requests() -> Iterator[Case]:
    x = tensor("FP32", [1], [1.0])
    path = "/v2/models/echo/infer"
    yield infer("id", "sees_id", x, id="42")
    yield infer("no id", "sees_id", x)
    yield infer("id is a number", "sees_id", x, id=42)
    yield infer("content type of the request", "sees_content_type", x, parameters={"content_type": "mine"})
    yield infer("no parameters", "sees_content_type", x)
    yield infer("parameter of a tensor", "sees_extra", {**x, "parameters": {"extra": 5}})
    yield infer("requested output", "sees_outputs", x, outputs=[{"name": "y"}])
    yield infer("unknown output", "sees_outputs", x, outputs=[{"name": "nope"}])
    yield infer("one of two outputs", "two_outputs", x, outputs=[{"name": "z"}])
    yield infer("both outputs turned round", "two_outputs", x, outputs=[{"name": "z"}, {"name": "y"}])
    yield infer("two inputs", "echo", x, {**x, "name": "w"})
    yield infer("the same input twice", "echo", x, x)
    yield infer("no inputs", "echo")
    yield infer("input without a name", "echo", {k: v for k, v in x.items() if k != "name"})
    yield infer("input without a datatype", "echo", {k: v for k, v in x.items() if k != "datatype"})
    yield infer("input without a shape", "echo", {k: v for k, v in x.items() if k != "shape"})
    yield infer("input without data", "echo", {k: v for k, v in x.items() if k != "data"})
    yield infer("unknown datatype", "echo", {**x, "datatype": "FP31"})
    yield infer("datatype in small letters", "echo", {**x, "datatype": "fp32"})
    yield infer("unknown member", "echo", {**x, "colour": "red"})
    yield infer("parameters are a list", "echo", {**x, "parameters": [1]})
    yield infer("parameter is an object", "echo", {**x, "parameters": {"a": {}}})
    yield Case("no JSON", path, b"{")
    yield Case("an empty body", path, b"")
    yield Case("a list", path, b"[]")
    yield Case("null", path, b"null")
    yield Case("no UTF-8", path, b'{"inputs":"\xff"}')
    yield Case("text/plain", path, json.dumps({"inputs": [x]}).encode(), headers={"Content-Type": "text/plain"})
    yield Case("a deep nest", path, b'{"inputs":' + b"[" * 500 + b"]" * 500 + b"}")
    yield infer("a name of three words", "echo", {**x, "name": "a b/c"})


def of_answers() -> Iterator[Case]:
    x = tensor("FP32", [2], [1.0, 2.0])
    answers = (
        "float_list nested_list wrong_count wrong_type text_for_float ragged other_nesting "
        "beyond_uint8 text booleans two_outputs no_outputs output_parameters is_member is_name "
        "length value_error type_error key_error not_implemented"
    )
    for name in answers.split():
        yield infer(f"answer {name}", name, x)
    yield infer("length of a nested one", "length", tensor("FP32", [2, 1], [[1.0], [2.0]]))
    yield infer("first of a nested one", "first", tensor("FP32", [2, 1], [[1.0], [2.0]]))
    body = json.dumps({"inputs": [x]}).encode()
    yield Case("answer of a version", "/v2/models/float_list/versions/7/infer", body)


def of_routes() -> Iterator[Case]:
    yield Case("live", "/v2/health/live")
    yield Case("ready", "/v2/health/ready")
    yield Case("server", "/v2")
    yield Case("server with a slash", "/v2/")
    yield Case("metadata", "/v2/models/declared")
    yield Case("metadata of a version", "/v2/models/declared/versions/2")
    yield Case("metadata not implemented", "/v2/models/echo")
    yield Case("ready model", "/v2/models/echo/ready")
    yield Case("ready version", "/v2/models/echo/versions/1/ready")
    yield Case("model that is not ready", "/v2/models/sleepy/ready")
    yield Case("no such route", "/v2/models/echo/nope")
    yield Case("no such prefix", "/v3")
    yield Case("wrong method of infer", "/v2/models/echo/infer")
    yield Case("wrong method of metadata", "/v2/models/declared", b"{}")
    yield Case("head of live", "/v2/health/live", method="HEAD")
    yield Case("slash in a name", "/v2/models/a%2Fb/ready")


def cases() -> list[Case]:
    groups = (of_each_datatype, of_ranges, of_shapes, of_requests, of_answers, of_routes)
    return [case for group in groups for case in group()]
