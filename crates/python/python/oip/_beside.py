"""What lies beside a ``model.py`` in a folder of models: modules of its own, which it imports by their
plain names while another version has others of the same names.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import inspect
import os
import sys
import threading
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from .handler import method_of

__all__ = ["Afresh", "Beside"]


class Afresh(importlib.machinery.SourceFileLoader):
    """Compiles what stands in a file now. What Python keeps in ``__pycache__`` it takes for the
    file's by the second of its change and its length, which a new version may share."""

    def get_code(self, fullname: str) -> CodeType:
        """The code of the file."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


_afresh: set[str] = set()
"""Folders whose modules are compiled afresh, and what lies below them."""


def _finder(path: str) -> importlib.machinery.FileFinder:
    machinery = importlib.machinery
    if not any(path == folder or path.startswith(folder + os.sep) for folder in _afresh):
        raise ImportError
    extensions = machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES
    return machinery.FileFinder(path, extensions, (Afresh, machinery.SOURCE_SUFFIXES))


_alone = threading.Lock()
"""Held by the one whose plain names are in force: there is one ``sys.modules`` for all."""


class Beside:
    """The modules in a folder, by plain names within a ``with``. The same name is the same module
    each time, so that what one of its classes has pickled fits those that were imported before.
    Where nothing lies in the folder but the program, nobody waits for anybody."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._any = any(_importable(entry) for entry in os.scandir(folder))
        self._modules: dict[str, ModuleType] = {}
        self._before: set[str] = set()

    def __enter__(self) -> None:
        if not self._any:
            return
        _alone.acquire()
        self._before = set(sys.modules)
        for name, module in self._modules.items():
            sys.modules.setdefault(name, module)
        _afresh.add(self._folder)
        if _finder not in sys.path_hooks:
            sys.path_hooks.insert(0, _finder)
        sys.path.insert(0, self._folder)
        importlib.invalidate_caches()

    def __exit__(self, *_: object) -> None:
        if not self._any:
            return
        try:
            sys.path.remove(self._folder)
            for name in set(sys.modules) - self._before:
                file = getattr(sys.modules[name], "__file__", None) or ""
                if "oip_models." not in name and file.startswith(os.path.join(self._folder, "")):
                    self._modules[name] = sys.modules.pop(name)
        finally:
            _alone.release()

    def loading(self, handler: Any) -> Any:
        """The handler, whose plain ``model_load`` finds these modules too."""
        if not self._any or inspect.iscoroutinefunction(method_of(handler, "model_load")):
            return handler
        return _Loading(handler, self)


class _Loading:
    """A handler as it is, but for its ``model_load``."""

    def __init__(self, handler: Any, beside: Beside) -> None:
        self._handler = handler
        self._beside = beside

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    def model_load(self, model_name: str) -> Any:
        """Loads the model."""
        with self._beside:
            return method_of(self._handler, "model_load")(model_name)


def _importable(entry: os.DirEntry[str]) -> bool:
    if entry.name in ("model.py", "__pycache__"):
        return False
    return entry.is_dir() or entry.name.endswith(tuple(importlib.machinery.all_suffixes()))
