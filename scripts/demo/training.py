"""Does what the demo pack's training commands share: LFR stacking, CMVN files, hub-layout directories, schedules."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray


def stack_frames(features: NDArray[np.float32], m: int, n: int) -> NDArray[np.float32]:
    """Lowers the frame rate as FunASR's frontend does: ``m`` frames side by side, every ``n``-th kept."""
    count = len(features)
    index = np.arange(-(-count // n))[:, None] * n + np.arange(m)[None] - (m - 1) // 2
    return features[np.clip(index, 0, count - 1)].reshape(len(index), -1)


def write_cmvn(path: Path, features: list[NDArray[np.float32]], m: int, n: int) -> None:
    """Writes mean and variance statistics of the stacked features as a Kaldi nnet file (``am.mvn``)."""
    total, squares, count = np.zeros(()), np.zeros(()), 0
    for item in features:
        stacked = stack_frames(item, m, n).astype(np.float64)
        total, squares, count = total + stacked.sum(0), squares + np.square(stacked).sum(0), count + len(stacked)
    mean = total / count
    scale = 1 / np.sqrt(squares / count - np.square(mean))
    rows = [" ".join(f"{v:.6f}" for v in row) for row in (-mean, scale)]
    size = len(mean)
    path.write_text(
        f"<Nnet>\n<Splice> {size} {size}\n[ 0 ]\n<AddShift> {size} {size}\n<LearnRateCoef> 0 [ {rows[0]} ]\n"
        f"<Rescale> {size} {size}\n<LearnRateCoef> 0 [ {rows[1]} ]\n</Nnet>\n"
    )


def write_directory(path: Path, config: dict[str, Any], task: str, tokens: list[str], files: dict[str, Any]) -> None:
    """Writes the files of a hub directory except weights and statistics: config, configuration, tokens."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")
    metas = {"init_param": "model.pt", "config": "config.yaml", **files}
    description = {"framework": "pytorch", "task": task, "model": {"type": "funasr"}, "file_path_metas": metas}
    (path / "configuration.json").write_text(json.dumps(description, indent=2) + "\n")
    if tokens:
        (path / "tokens.json").write_text(json.dumps(tokens, ensure_ascii=False), encoding="utf-8")


def save_weights(path: Path, state: dict[str, torch.Tensor], without: str | None = None) -> None:
    """Saves weights in half precision (they load as float32), less those whose names start with ``without``."""
    kept = {k: v for k, v in state.items() if without is None or not k.startswith(without)}
    half = {k: v.half() if v.is_floating_point() else v for k, v in kept.items()}
    partial = path.with_suffix(".partial")
    torch.save(half, partial)
    partial.rename(path)


class Schedule:
    """Gives the learning rate by training time: linear warm-up in steps, then a cosine over the budget.

    Time is the process's own, so that other work on the machine, or its sleep, takes nothing from the budget.

    Attributes:
        peak: The highest rate.
        warmup_steps: How many steps lead up to it.
        budget_s: How many seconds of the process's time there are.
    """

    def __init__(self, peak: float, warmup_steps: int, budget_s: float, elapsed_s: float = 0.0) -> None:
        self.peak, self.warmup_steps, self.budget_s = peak, warmup_steps, budget_s
        self._start = time.process_time() - elapsed_s

    @property
    def elapsed_s(self) -> float:
        """Returns the process's time since training began, earlier runs included."""
        return time.process_time() - self._start

    @property
    def finished(self) -> bool:
        """Says whether the budget is used up."""
        return self.elapsed_s >= self.budget_s

    def rate(self, step: int) -> float:
        """Returns the learning rate of a step, now."""
        progress = min(1.0, self.elapsed_s / self.budget_s)
        return self.peak * min(1.0, (step + 1) / self.warmup_steps) * (0.5 + 0.485 * math.cos(math.pi * progress))


class WeightAverage:
    """Averages a model's weights exponentially; the average is evaluated and shipped instead of the last step's.

    Attributes:
        decay: How much of the average a step leaves, at most.
        state: The average, as a state dict.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: torch.nn.Module, step: int) -> None:
        """Takes in the weights of a step; the first ones count more."""
        decay = min(self.decay, (step + 1) / (step + 10))
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value, 1 - decay)
            else:
                self.state[key].copy_(value)
