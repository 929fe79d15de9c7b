"""The command ``oip``: what the Rust binary does, and ``oip serve main.py``."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib.util import find_spec

from . import _ending, _oip, _programs

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["serve"] and find_spec("onnxruntime") is not None:
        # Where the server looks for the library of ONNX Runtime, if no setting names one: beside
        # this package, whatever environment is the shell's.
        os.environ["VIRTUAL_ENV"] = sys.prefix
    if threading.current_thread() is threading.main_thread():
        # Ctrl-C is the command's own matter, as in the binary: Python's handler would raise once
        # the command has ended.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    code = _oip.run_cli(["oip", *given], _programs)
    _programs.close()
    if arguments is None:
        _ending.exit_code = code
    return code


if __name__ == "__main__":
    sys.exit(main())
