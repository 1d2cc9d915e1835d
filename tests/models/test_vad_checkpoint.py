"""Checkpoints of every kind that torch writes are read, most of them without torch."""

from __future__ import annotations

import collections
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runners.catalog import PROJECT_ROOT
from runners.vad import checkpoint
from runners.vad.checkpoint import read_checkpoint

STATE = {
    "whole": torch.arange(12.0).reshape(3, 4),
    "turned": torch.arange(12.0).reshape(3, 4).T,
    "part": torch.arange(12.0)[5:9],
    "half": torch.arange(3).half(),
    "count": torch.tensor(7),
}
KINDS: dict[str, Any] = {
    "plain": STATE,
    "ordered": collections.OrderedDict(STATE),
    "wrapped": {"state_dict": STATE, "epoch": 3},
    "parallel": {f"module.{name}": value for name, value in STATE.items()},
}


def assert_read(path: Path) -> None:
    found = read_checkpoint(path)
    assert found.keys() == STATE.keys()
    for name, value in STATE.items():
        np.testing.assert_array_equal(found[name], value.numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_are_read_without_torch(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(KINDS[kind], tmp_path / "model.pt")
    monkeypatch.delattr(checkpoint, "_read_with_torch")
    assert_read(tmp_path / "model.pt")


def test_a_file_of_torch_before_1_6_is_read_with_it(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "model.pt", _use_new_zipfile_serialization=False)
    assert_read(tmp_path / "model.pt")


def test_a_bfloat16_parameter_is_read_with_torch(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "model.pt")
    np.testing.assert_array_equal(read_checkpoint(tmp_path / "model.pt")["a"], np.ones(2))


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (exec, ("raise SystemExit('was run')",))

    torch.save({"a": Evil()}, tmp_path / "model.pt")
    with pytest.raises(pickle.UnpicklingError):
        read_checkpoint(tmp_path / "model.pt")


def test_the_demo_models_parameters_are_torchs() -> None:
    path = PROJECT_ROOT / "models/demo/vad/model.pt"
    expected = torch.load(path, weights_only=True)
    found = read_checkpoint(path)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], value.numpy()) for name, value in expected.items())
