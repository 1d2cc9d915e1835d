"""Imports vLLM's own modules from its unpacked wheel where neither a GPU nor its dependencies are: what those would
bring is made up as it is asked for. A pytest plugin: ``VLLM_WHEEL=folder pytest -p tests.gpu.vllm_import``.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.metadata
import os
import sys
import types
from collections.abc import Iterator
from typing import Any, ClassVar

# What vLLM defines its types with is real, and imported before anything can be made up.
import fastapi  # noqa: F401
import msgspec
import numpy  # noqa: F401
import pydantic  # noqa: F401
import torch  # noqa: F401
from pydantic_core import core_schema

ROOT = os.environ["VLLM_WHEEL"]
# Installed in a version that vLLM does not take.
REPLACED = {"transformers", "huggingface_hub"}
# vLLM asks whether these are there to find out what machine it is on.
ABSENT = {"libtpu", "torch_xla", "torch_tpu", "torch_npu", "torchtpu", "amdsmi", "pynvml"}
COMPILED = ("_C", "_moe_C", "_rs")


class _AnyClass(type):
    """The class of what is made up: any attribute of it is made up, too."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = made_up(name)
        setattr(cls, name, made)
        return made

    def __or__(cls, other: Any) -> Any:
        return cls

    __ror__ = __or__

    def __iter__(cls) -> Iterator[Any]:
        return iter(())


def made_up(name: str) -> type:
    return _AnyClass(
        name,
        (),
        {
            "__init__": lambda self, *_, **__: None,
            # a decorator leaves what it decorates as it is
            "__call__": lambda self, *given, **_: given[0] if len(given) == 1 and callable(given[0]) else self,
            "__class_getitem__": classmethod(lambda cls, _: cls),
            "__getattr__": lambda self, attribute: made_up(attribute),
            "__get_pydantic_core_schema__": classmethod(lambda *_: core_schema.any_schema()),
        },
    )


class _MadeUpModule(types.ModuleType):
    __path__: ClassVar[list[str]] = []
    __version__ = "99.0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = made_up(name)
        setattr(self, name, made)
        return made


class _Loader(importlib.abc.Loader):
    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _MadeUpModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


class _Replacements(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.split(".")[0] in REPLACED:
            return importlib.machinery.ModuleSpec(name, _Loader(), is_package=True)
        return None


class _Missing(importlib.abc.MetaPathFinder):
    """Comes last: for what nothing else has found, where vLLM imports it."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        top = name.split(".")[0]
        if top in ABSENT or (top == "vllm" and not name.split(".")[-1].startswith(COMPILED)):
            return None
        frame: types.FrameType | None = sys._getframe(1)
        while frame is not None and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        by_vllm = frame is not None and frame.f_code.co_filename.startswith(ROOT)
        if by_vllm or isinstance(sys.modules.get(top), _MadeUpModule):
            return importlib.machinery.ModuleSpec(name, _Loader(), is_package=True)
        return None


def _version(name: str, real: Any = importlib.metadata.version) -> str:
    return "5.20.2" if name == "transformers" else real(name)


assert msgspec.Struct
sys.path.insert(0, ROOT)
sys.meta_path[:] = [_Replacements(), *sys.meta_path, _Missing()]
importlib.metadata.version = _version

import vllm.platforms  # noqa: E402
from vllm.platforms.cpu import CpuPlatform  # noqa: E402

vllm.platforms._current_platform = CpuPlatform()
