"""Both servers' answers, in one form that can be compared."""

from __future__ import annotations

import json
from typing import Any


def normal(status: int, body: bytes) -> tuple[int, Any]:
    """What is compared. Left out, as decided once for every answer:

    - members that are null, which the protocol says to leave away (the original writes them);
    - the text of an error: ours is {"error": text} as the protocol asks, theirs {"detail": ...};
    - 422 is 400: the protocol says "typically 400" of a request that is refused;
    - the id: ours is the request's, theirs is always null;
    - the version: ours names one in every answer;
    - nesting: ours always answers flat lists, theirs as the handler returned them;
    - lists of extensions and the like that name what a server can do.
    """
    if status >= 400:
        return 400 if status == 422 else status, "error"
    try:
        answer = json.loads(body)
    except ValueError:
        return status, body.decode(errors="replace")
    return status, _plain(answer)


_LEFT_OUT = {"id", "model_version"}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        plain = {k: _plain(v) for k, v in value.items() if v is not None and k not in _LEFT_OUT}
        if "data" in plain:
            plain["data"] = _flat(value["data"])
        # Parameters that are all null are none.
        return {k: v for k, v in plain.items() if v != {}}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _flat(value: Any) -> list[Any]:
    if not isinstance(value, list):
        return [value]
    return [item for part in value for item in (_flat(part) if isinstance(part, list) else [part])]
