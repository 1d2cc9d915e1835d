"""Computes log-mel filterbank features for many recordings, equal to Kaldi's and FunASR's frontends.

One batched FFT and one matrix product replace a per-frame loop; the definition is Kaldi's
(feat/feature-fbank.cc): frames of 25 ms every 10 ms, mean removed, pre-emphasis 0.97, Hamming or
Povey window, power spectrum of 512 points, 80 triangular mel filters from 20 Hz to 8 kHz, natural log.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # the tables are for processes without torch, too
    import torch

SAMPLE_RATE_HZ = 16_000
FRAME_SHIFT = 160
FRAME_LENGTH = 400
FFT_SIZE = 512
MEL_BINS = 80
PREEMPHASIS = 0.97
FLOOR = float(np.finfo(np.float32).eps)


def frame_count(samples: int) -> int:
    """Counts the whole frames in that many samples."""
    return max(0, (samples - FRAME_LENGTH) // FRAME_SHIFT + 1)


def fbank(pcm: NDArray[np.int16], *, window: str = "hamming", floor: float = FLOOR) -> torch.Tensor:
    """Computes (frames, 80) log-mel energies of 16 kHz PCM16; frames that would pass the end are left out.

    ``window`` is hamming or povey; energies below ``floor`` count as that.
    """
    import torch

    frames = frame_count(len(pcm))
    if frames == 0:
        return torch.empty(0, MEL_BINS)
    shape, filters = _window(window), _mel_filters()
    wave = torch.from_numpy(pcm.astype(np.float32)).unfold(0, FRAME_LENGTH, FRAME_SHIFT)
    wave = wave - wave.mean(1, keepdim=True)
    emphasised = torch.empty_like(wave)
    emphasised[:, 1:] = wave[:, 1:] - PREEMPHASIS * wave[:, :-1]
    emphasised[:, 0] = wave[:, 0] * (1 - PREEMPHASIS)
    spectrum = torch.fft.rfft(emphasised.mul_(shape), FFT_SIZE)
    power = torch.view_as_real(spectrum).square_().sum(-1)
    return (power @ filters).clamp_min_(floor).log_()


def stack_frames(features: torch.Tensor, m: int, n: int) -> torch.Tensor:
    """Lowers the frame rate: ``m`` neighbouring frames side by side, every ``n``-th kept; edges repeat.

    (frames, 80) -> (ceil(frames / n), 80 * m), as FunASR's ``apply_lfr``.
    """
    import torch

    count = len(features)
    centres = torch.arange(0, count, n)[:, None]
    index = (centres + torch.arange(m)[None] - (m - 1) // 2).clamp_(0, count - 1)
    return features[index].reshape(len(index), m * features.shape[1])


@functools.cache
def window_shape(name: str) -> NDArray[np.float32]:
    """Returns the (FRAME_LENGTH,) weights of the window called hamming or povey."""
    cosine = np.cos(2 * np.pi * np.arange(FRAME_LENGTH) / (FRAME_LENGTH - 1))
    shape = {"hamming": 0.54 - 0.46 * cosine, "povey": (0.5 - 0.5 * cosine) ** 0.85}[name]
    return shape.astype(np.float32)


@functools.cache
def mel_filters() -> NDArray[np.float32]:
    """Returns the (FFT_SIZE // 2 + 1, MEL_BINS) weights of the power spectrum in each mel filter."""
    edges_hz = np.array([20.0, SAMPLE_RATE_HZ / 2])
    low, high = 1127.0 * np.log1p(edges_hz / 700.0)
    step = (high - low) / (MEL_BINS + 1)
    mels = 1127.0 * np.log1p(np.arange(FFT_SIZE // 2 + 1) * SAMPLE_RATE_HZ / FFT_SIZE / 700.0)
    left = low + step * np.arange(MEL_BINS)[None]
    rising = (mels[:, None] - left) / step
    filters: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, 2.0 - rising))
    filters[-1] = 0.0  # Kaldi leaves the Nyquist bin out
    return filters.astype(np.float32)


@functools.cache
def _window(name: str) -> torch.Tensor:
    import torch

    return torch.from_numpy(window_shape(name))


@functools.cache
def _mel_filters() -> torch.Tensor:
    import torch

    return torch.from_numpy(mel_filters())
