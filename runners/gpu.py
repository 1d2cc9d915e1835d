"""Divides the GPU's memory: how much there is, and which model gets how much of it."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runners.catalog import Model

# The driver, the CUDA contexts of several processes, fragmentation.
_SPARE_GB = 2.0
# What the speaker model takes with its largest batches.
_CAMPPLUS_GB = 0.5
# vLLM: weights with what computing needs beside them, and the least cache that is worth having: 8,192 tokens of one
# utterance take 0.9 GB in the 1.7B and the 0.6B alike (28 layers, 8 heads of 128, 2 bytes, keys and values).
_BESIDE_WEIGHTS = 1.15
_LEAST_CACHE_GB = 1.5
_ALIGNER_CACHE_GB = 2.0
# More cache than that serves nobody: about 60 utterances of three minutes at a time.
_MOST_CACHE_GB = 32.0


@functools.cache
def memory_gb() -> float | None:
    """Returns the memory of what CUDA's device 0 is, in GiB; None where there is none.

    It creates no CUDA context.
    """
    return _memory_gb("total")


def used_gb() -> float | None:
    """Returns what everything on that GPU takes of its memory now, in GiB; None where there is none."""
    return _memory_gb("used")


def _memory_gb(kind: str) -> float | None:
    try:
        import pynvml
    except ModuleNotFoundError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        device = _device_0(pynvml, os.environ.get("CUDA_VISIBLE_DEVICES"))
        return None if device is None else float(getattr(pynvml.nvmlDeviceGetMemoryInfo(device), kind)) / 2**30
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _device_0(nvml: Any, visible: str | None) -> Any:
    """Returns NVML's handle of what CUDA calls device 0, None for no device.

    CUDA goes by the first entry of ``visible``: an index, a UUID or the beginning of one, or a MIG device's UUID; there
    is no device for anything else, such as "" and -1.
    """
    first = "0" if visible is None else visible.partition(",")[0].strip()
    if first.startswith("MIG-"):
        return nvml.nvmlDeviceGetHandleByUUID(first)
    cards = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    if first.startswith("GPU-"):
        found = [card for card in cards if str(nvml.nvmlDeviceGetUUID(card)).startswith(first)]
    else:
        found = cards[int(first) :][:1] if first.isdecimal() else []
    return _first_instance(nvml, found[0]) if found else None


def _first_instance(nvml: Any, card: Any) -> Any:
    """Returns the card, or its first MIG device where it is divided into such, which CUDA then sees in its place."""
    try:
        if nvml.nvmlDeviceGetMigMode(card)[0]:
            return nvml.nvmlDeviceGetMigDeviceHandleByIndex(card, 0)
    except nvml.NVMLError:  # a card that can't be divided
        pass
    return card


@dataclass(frozen=True, slots=True)
class Share:
    """Says which fractions of the GPU's memory one model's vLLM engines may take; ``live`` is 0 where it has none."""

    recogniser: float
    live: float
    aligner: float


def shares(enabled: Sequence[Model], total_gb: float, *, live_engine: bool) -> dict[str, Share]:
    """Divides the memory among the enabled models, by id.

    Every engine gets its weights and the least cache it works with; what is left goes to the recognisers' caches in
    equal parts. ``live_engine``: each model on vLLM has a second recogniser for live sessions.

    Raises:
        ValueError: they don't fit; the message says what they need.
    """
    on_vllm = [model for model in enabled if model.family.gpu_gb is None]
    others = sum(model.family.gpu_gb or 0.0 for model in enabled)
    others += sum(_CAMPPLUS_GB for model in enabled if model.speaker is not None)
    recognisers = 2 if live_engine else 1

    def weights_gb(size_mb: int) -> float:
        return size_mb / 1024 * _BESIDE_WEIGHTS

    def aligner_gb(model: Model) -> float:
        return weights_gb(model.aligner.size_mb) + _ALIGNER_CACHE_GB if model.aligner else 0.0

    needed = _SPARE_GB + others
    needed += sum(recognisers * (weights_gb(m.asr.size_mb) + _LEAST_CACHE_GB) + aligner_gb(m) for m in on_vllm)
    if needed > total_gb:
        without = " or switch ENABLE_STREAMING_VLLM off" if live_engine else ""
        raise ValueError(
            f"{', '.join(m.id for m in enabled)} need {needed:.1f} GB of GPU memory and there are {total_gb:.1f}: "
            f"name fewer or smaller models in ENABLED_MODELS{without}"
        )
    cache_gb = min(_MOST_CACHE_GB, _LEAST_CACHE_GB + (total_gb - needed) / max(1, recognisers * len(on_vllm)))
    return {
        model.id: Share(
            recogniser=(engine := round((weights_gb(model.asr.size_mb) + cache_gb) / total_gb, 4)),
            live=engine if live_engine else 0.0,
            aligner=round(aligner_gb(model) / total_gb, 4),
        )
        for model in on_vllm
    }
