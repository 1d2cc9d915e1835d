"""Reads a torch checkpoint into numpy arrays without torch, which takes a process 150 MB and a second or more."""

from __future__ import annotations

import collections
import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

log = logging.getLogger(__name__)

_DTYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8"}


def read_checkpoint(path: Path) -> dict[str, NDArray[Any]]:
    """The parameters of a checkpoint by name; wrappers around them are taken off.

    What is older than torch 1.6, or holds more than plain parameters, torch reads after all.
    """
    try:
        state = _read_plain(path)
    except (zipfile.BadZipFile, pickle.UnpicklingError) as error:
        log.info("%s is read with torch: %s", path, error)
        state = _read_with_torch(path)
    for wrapper in ("state_dict", "model_state_dict", "model"):
        state = state.get(wrapper, state)
    return {name.removeprefix("module."): value for name, value in state.items()}


def _read_plain(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        with archive.open(name) as pickled:
            return _Unpickler(pickled, archive, name.removesuffix("data.pkl")).load()


def _read_with_torch(path: Path) -> Any:
    import torch

    def arrays(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: arrays(each) for name, each in value.items()}
        return value.float().numpy() if isinstance(value, torch.Tensor) else value

    return arrays(torch.load(path, map_location="cpu", weights_only=True))


class _Unpickler(pickle.Unpickler):
    """Knows tensors and dictionaries, and refuses everything else that a pickle can hold."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._archive = archive
        self._folder = folder

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a plain checkpoint")

    def persistent_load(self, saved: Any) -> NDArray[Any]:
        _, dtype, key, *_ = saved
        return np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype)


def _tensor(storage: NDArray[Any], offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Any:
    strides = [step * storage.itemsize for step in stride]
    return as_strided(storage[offset:], size, strides, writeable=False)
