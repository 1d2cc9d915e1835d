"""FSMN-VAD on numpy, for audio that comes in pieces: each is computed once, in the caller's process.

The network (Zhang et al. 2018, arXiv:1803.05030) is so small that for live audio a call to another process
costs many times what it computes. Neighbouring affine layers are one here, normalisation included.
"""

from __future__ import annotations

import functools

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from runners.interface import VadNetwork
from runners.kit.features import (
    FFT_SIZE,
    FLOOR,
    FRAME_LENGTH,
    FRAME_SHIFT,
    MEL_BINS,
    PREEMPHASIS,
    frame_count,
    mel_filters,
    window_shape,
)


class StreamingVad:
    """The scores of one session or recording; they don't depend on how the audio is cut."""

    def __init__(self, network: VadNetwork) -> None:
        """Takes a network, which is only read; all sessions share it.

        From the first session on, the process has one BLAS thread.
        """
        _use_one_thread()
        self._network = network
        self._pcm = np.empty(0, np.int16)  # from the first sample of the next frame on
        self._features = np.empty((0, MEL_BINS), np.float32)  # what the next stacked frames begin with
        layers, taps, size = network.taps.shape
        self._memory = np.zeros((layers, (taps - 1) * network.tap_stride, size), np.float32)

    def accept(self, pcm: NDArray[np.int16], *, is_last: bool) -> NDArray[np.float32]:
        """Returns the probability of silence in the next frames of 10 ms: those whose surroundings are known."""
        stacked = self._stacked(pcm, is_last=is_last)
        if len(stacked) == 0:
            return np.empty(0, np.float32)
        network = self._network
        x = np.maximum(stacked @ network.in_weight + network.in_bias, 0)
        for layer in range(len(network.taps)):
            x = self._remember(layer, x @ network.project[layer]) @ network.expand[layer]
            x += network.expand_bias[layer]
            np.maximum(x, 0, out=x)
        logits = x @ network.out_weight + network.out_bias
        odds = np.exp(logits - logits.max(1, keepdims=True))
        silence: NDArray[np.float32] = odds[:, network.silence_outputs].sum(1) / odds.sum(1)
        return silence

    def _stacked(self, pcm: NDArray[np.int16], *, is_last: bool) -> NDArray[np.float32]:
        """Computes the next stacked frames, as ``stack_frames`` would give them for the whole recording."""
        samples = np.concatenate([self._pcm, pcm])
        self._pcm = samples[frame_count(len(samples)) * FRAME_SHIFT :].copy()
        found = _fbank(samples)
        width = self._network.stacked_frames
        before = (width - 1) // 2
        if len(self._features) == 0:
            found = np.concatenate([found[:1].repeat(before, 0), found])
        features = np.concatenate([self._features, found])
        if is_last:
            features = np.concatenate([features, features[-1:].repeat(width - 1 - before, 0)])
        count = max(0, len(features) - (width - 1))
        self._features = features[count:].copy()
        if count == 0:
            return np.empty((0, width * MEL_BINS), np.float32)
        return np.ascontiguousarray(sliding_window_view(features.reshape(-1), width * MEL_BINS)[::MEL_BINS])

    def _remember(self, layer: int, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sums what a layer sees and saw before, weighted by its taps."""
        memory, taps, stride = self._memory[layer], self._network.taps[layer], self._network.tap_stride
        seen = np.concatenate([memory, x])
        windows = sliding_window_view(seen, len(memory) + 1, axis=0)[:, :, ::stride]
        total: NDArray[np.float32] = np.einsum("tsk,ks->ts", windows, taps)
        self._memory[layer] = seen[len(x) :]
        return total


@functools.cache
def _use_one_thread() -> None:
    """Limits BLAS to one thread.

    Threads wait for each other longer than products of this size take: 40 ms in place of 0.4 on busy cores.
    """
    threadpoolctl.threadpool_limits(1, user_api="blas")


def _fbank(pcm: NDArray[np.int16]) -> NDArray[np.float32]:
    """Computes ``runners.kit.features.fbank`` with its defaults."""
    if frame_count(len(pcm)) == 0:
        return np.empty((0, MEL_BINS), np.float32)
    wave = sliding_window_view(pcm.astype(np.float32), FRAME_LENGTH)[::FRAME_SHIFT]
    wave = wave - wave.mean(1, keepdims=True)
    emphasised = np.empty_like(wave)
    emphasised[:, 1:] = wave[:, 1:] - np.float32(PREEMPHASIS) * wave[:, :-1]
    emphasised[:, 0] = wave[:, 0] * np.float32(1 - PREEMPHASIS)
    emphasised *= window_shape("hamming")
    spectrum = np.fft.rfft(emphasised, FFT_SIZE)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    features: NDArray[np.float32] = np.log(np.maximum(power @ mel_filters(), np.float32(FLOOR)))
    return features
