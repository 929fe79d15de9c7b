"""The types of the settings, from the one table of options: run this to write them anew."""

from __future__ import annotations

from pathlib import Path

from oip import _oip

FILE = Path(__file__).parents[1] / "python" / "oip" / "_settings.py"
OWN = ("threads", "workers")  # These are arguments of their own.
HEAD = '''"""The settings as keyword arguments, one for each key of ``docs/configuration.md``. Written by
``tests/settings_text.py``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict


class Settings(TypedDict, total=False):
    """What ``Server(...)`` takes; sizes and spans of time may be texts with a unit."""

'''


def text() -> str:
    """What the file should hold."""
    options = ((key, kind) for key, kind, _ in _oip.options() if key not in OWN)
    lines = [f"    {key}: {kind} | None\n" for key, kind in options]
    return HEAD + "".join(lines)


if __name__ == "__main__":
    FILE.write_text(text())
