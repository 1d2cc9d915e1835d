"""Makes one channel of several: what is said in any of them is heard, and none cancels another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.generic]
Floats = NDArray[np.float32]

# A giant frame must not be multiplied in memory.
_SLICE_SAMPLES = 1 << 16
_WINDOWS_PER_S = 50
# The mix's energy beside what channels that have nothing in common would give: one that is the other upside down
# leaves nothing. Loud ones alike have more, and independent ones 1.
_CANCELLED = 0.1
_INTACT = 0.5
_INTACT_WINDOWS = 5
_SILENT = 1e-10  # energy of a sample
# As ITU-R BS.775 mixes surround sound: speech is in the centre.
_SURROUND = {"FC": 1.0, "FL": 0.7071, "FR": 0.7071, "LFE": 0.0, "LFE2": 0.0}
_ELSEWHERE = 0.5


def weights_of_one(channel: int, channels: int) -> tuple[float, ...]:
    """Returns the weights that leave one channel alone, from 0; a signal without it is silent."""
    return tuple(float(index == channel) for index in range(channels))


def weights_of(names: Sequence[str]) -> tuple[float, ...]:
    """Returns how much of each channel the mix has, by ffmpeg's names of them; alike where there is no centre."""
    if "FC" not in names:
        return (1 / len(names),) * len(names)
    weights = [_SURROUND.get(name, _ELSEWHERE) for name in names]
    return tuple(weight / sum(weights) for weight in weights)


class Mixer:
    """Mixes the channels of one signal, however it is cut: the mean, or with ``weights``.

    Where the channels cancel each other out, the louder one is taken instead: that is decided anew every 20 ms, so
    what is left of a piece waits for the next. Mono PCM16 without weights stays as it is; all else becomes floats of
    which ±1 is full scale.
    """

    def __init__(self, rate_hz: int, channels: int, dtype: np.dtype[np.generic], weights: Sequence[float]) -> None:
        self._window = max(1, rate_hz // _WINDOWS_PER_S)
        self._dtype = dtype
        self._weights = np.array(weights or [1 / channels] * channels, np.float32)
        self._is_done = channels == 1 and dtype == np.int16 and not weights
        self._waiting: list[Samples] = []
        self._instead: int | None = None
        self._intact = 0

    def push(self, planes: Sequence[Samples]) -> Iterator[NDArray[np.int16] | Floats]:
        """Yields the mix, in slices; ``planes`` are one for each channel, or a single one with all interleaved."""
        if self._is_done:
            yield planes[0].astype(np.int16, copy=False)
            return
        count = len(self._weights)
        channels = list(planes) if len(planes) == count else [planes[0][i::count] for i in range(count)]
        if self._waiting:
            channels = [np.concatenate(pair) for pair in zip(self._waiting, channels, strict=True)]
        # Of one channel nothing needs to wait.
        whole = len(channels[0]) - (len(channels[0]) % self._window if count > 1 else 0)
        self._waiting = [channel[whole:].copy() for channel in channels] if whole < len(channels[0]) else []
        step = max(1, _SLICE_SAMPLES // self._window) * self._window
        for start in range(0, whole, step):
            yield self._mixed([channel[start : min(start + step, whole)] for channel in channels])

    def flush(self) -> Iterator[Floats]:
        """Yields the rest; nothing may be pushed after it."""
        if self._waiting:
            yield self._mixed(self._waiting)

    def _mixed(self, channels: Sequence[Samples]) -> Floats:
        floats = [self._floats(channel) for channel in channels]
        mix: Floats = self._weights[0] * floats[0]
        if len(floats) == 1:
            return mix
        for weight, channel in zip(self._weights[1:], floats[1:], strict=True):
            mix += weight * channel
        window = min(self._window, len(mix))
        energies = np.stack([_energies(channel, window) for channel in floats])
        expected = self._weights**2 @ energies
        sounds = expected > _SILENT * window
        ratio = _energies(mix, window) / np.maximum(expected, _SILENT * window)
        if self._instead is None and not (sounds & (ratio < _CANCELLED)).any():
            return mix
        for index in range(len(ratio)):
            if sounds[index]:
                self._decide(float(ratio[index]), int(energies[:, index].argmax()))
            if self._instead is not None:
                stretch = slice(index * window, (index + 1) * window)
                mix[stretch] = floats[self._instead][stretch]
        return mix

    def _decide(self, ratio: float, loudest: int) -> None:
        """Follows one window that is not silent."""
        self._intact = self._intact + 1 if ratio > _INTACT else 0
        if self._instead is None and ratio < _CANCELLED:
            self._instead = loudest
        elif self._intact >= _INTACT_WINDOWS:
            self._instead = None

    def _floats(self, samples: Samples) -> Floats:
        if self._dtype.kind == "f":
            # A float file may hold anything: what is no number, or no float32, is silent and the rest is clipped.
            with np.errstate(over="ignore", invalid="ignore"):
                floats = samples.astype(np.float32)
            return np.clip(np.nan_to_num(floats, copy=False, nan=0.0, posinf=0.0, neginf=0.0), -1, 1)
        floats = samples.astype(np.float32)
        if self._dtype == np.uint8:
            floats -= 128
        floats *= np.float32(2.0 ** (1 - 8 * self._dtype.itemsize))
        return floats


def _energies(samples: Floats, window: int) -> Floats:
    """Returns the energy of each whole window."""
    windows = samples[: len(samples) // window * window].reshape(-1, window)
    energies: Floats = np.einsum("ij,ij->i", windows, windows)
    return energies
