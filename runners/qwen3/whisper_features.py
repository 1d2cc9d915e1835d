"""Computes log-mel energies as Whisper and Qwen3-ASR take them (transformers' WhisperFeatureExtractor, 128 bands).

Each recording is computed alone: in a padded batch its last frame would depend on its batch-mates.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
BANDS = 128
FRAME_SAMPLES = 160
_FFT = 400
_LOWEST = 1e-10
# Energies further below the loudest one count as silence.
_RANGE = 8.0


@functools.cache
def _filters() -> torch.Tensor:
    """Returns (bins, bands): triangles on Slaney's mel scale, of equal area."""
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(
        1 + _FFT // 2, BANDS, 0.0, SAMPLE_RATE_HZ / 2, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney"
    )
    return torch.from_numpy(np.ascontiguousarray(bank.T, dtype=np.float32))


@functools.cache
def _window() -> torch.Tensor:
    return torch.hann_window(_FFT)


def log_energies(samples: NDArray[np.float32]) -> torch.Tensor:
    """Computes (bands, frames), in base-10 logarithms, of 16 kHz audio in -1..1.

    There is a frame for each whole 10 ms, and at least one.
    """
    if len(samples) < _FFT:  # the transform looks half a window beyond both ends
        samples = np.pad(samples, (0, _FFT - len(samples)))
    spectrum = torch.stft(torch.from_numpy(samples), _FFT, FRAME_SAMPLES, window=_window(), return_complex=True)
    power = spectrum[:, :-1].abs().square()
    return (_filters() @ power).clamp(min=_LOWEST).log10()


def normalised(energies: torch.Tensor) -> torch.Tensor:
    """Limits energies to a range below the loudest, about -1..1: what the model takes."""
    return (energies.maximum(energies.max() - _RANGE) + 4.0) / 4.0


def features(pcm: NDArray[np.int16]) -> torch.Tensor:
    """Computes the (bands, frames) that the model takes of 16 kHz PCM16."""
    return normalised(log_energies(pcm.astype(np.float32) / np.float32(32768)))


def encoded_length(frames: int) -> int:
    """Counts the audio tokens for so many frames: 13 for each whole second, as Qwen3-ASR's convolutions leave."""
    rest = frames % 100
    for _ in range(3):
        rest = (rest + 1) // 2
    return frames // 100 * 13 + rest
