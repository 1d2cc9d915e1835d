"""Packages of which only some modules are wanted, imported without what their ``__init__`` brings.

Its own entry imports every model that FunASR knows (11 s and half a gigabyte in each process), qwen-asr's a web
framework, soynlp's scikit-learn. A bare module stands in for ``__init__``; the modules below it are the package's.
"""

from __future__ import annotations

import importlib.util
import sys
import types


def import_bare(name: str) -> None:
    """Makes ``name.module`` importable without ``name/__init__.py``.

    Raises:
        ModuleNotFoundError: the package isn't installed.
    """
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(f"the package {name} is not installed", name=name)
    package = types.ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = spec
    sys.modules[name] = package
