"""Computes one vector of the voice for every window of speech with CAM++, in real batches.

CAM++ (Wang et al. 2023, arXiv:2303.00332) is a small 2-D convolution over the features followed by a
densely connected time-delay network whose outputs are gated by their context. Windows of 1.5 s every
0.75 s are FunASR's; here none reaches over a pause, where the speaker may change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runners.campplus.network import LONGEST_FRAMES, Network
from runners.interface import DiarizationOptions, Embedding
from runners.kit.features import fbank, frame_count
from runners.kit.funasr_models import ModelDirectory, Modules, UnsupportedModelError

MODULES: Modules = {"CAMPPlus": ("campplus.model",)}
# FunASR computes these features of samples between -1 and 1 and floors energies at the float's epsilon.
_FLOOR = float(np.finfo(np.float32).eps) * 2.0**30
_FRAME_MS = 10
# A frame has 25 ms; the last one of a stretch speaks for 15 ms more than its step.
_FRAME_TAIL_MS = 15
# A pause is at least so long, and so far below the loud speech of its utterance, in parts of the way down to the
# quietest, in the band where voices are loud (80 Hz to 3 kHz); measured on dialogues at an SNR of 12 to 30 dB.
_SHORTEST_PAUSE_MS = 200
_PAUSE_DEPTH = 0.8
_LEAST_RANGE_DB = 9.0
_VOICE_BANDS = slice(2, 50)


class CampplusEngine:
    """Computes the speaker vectors of batches of utterances (16 kHz PCM16).

    It is not thread-safe. Results are identical in any company, but for rounding: only windows of equal length are
    batched.

    Attributes:
        options: How the model's voices are cut into windows and told apart.
        batch_size: How many windows are computed at once.
    """

    def __init__(self, directory: ModelDirectory, *, batch_size: int, device: str = "cpu") -> None:
        """Loads the model; ``batch_size`` is in windows.

        Raises:
            UnsupportedModelError: it is no CAM++, or its windows are over 2 s.
        """
        self.options = DiarizationOptions(**directory.config.get("diarization_conf", {}))
        if self.options.window_ms > LONGEST_FRAMES * _FRAME_MS:
            raise UnsupportedModelError(f"{directory.path}: windows over {LONGEST_FRAMES * _FRAME_MS} ms")
        self.batch_size = batch_size
        self._network = Network(directory.build(MODULES), device, _fastest_type(device))

    def embed(self, utterances: Sequence[NDArray[np.int16]]) -> list[Embedding]:
        """Returns the windows of each utterance and their vectors; none where too little speech tells a voice."""
        features = [speaker_features(u) for u in utterances]
        windows = [list(_windows(f, self.options)) for f in features]
        every = [(f[start:end], end - start) for f, cut in zip(features, windows, strict=True) for start, end in cut]
        vectors: dict[int, NDArray[np.float32]] = {}
        for length in {length for _, length in every}:
            positions = [position for position, (_, frames) in enumerate(every) if frames == length]
            for first in range(0, len(positions), self.batch_size):
                group = positions[first : first + self.batch_size]
                vectors.update(zip(group, self._vectors([every[position][0] for position in group]), strict=True))
        ordered = iter(range(len(every)))
        return [
            Embedding(
                starts_ms=[start * _FRAME_MS for start, _ in cut],
                ends_ms=[end * _FRAME_MS + _FRAME_TAIL_MS for _, end in cut],
                vectors=np.stack([vectors[next(ordered)] for _ in cut]) if cut else np.empty((0, 0), np.float32),
            )
            for cut in windows
        ]

    @torch.inference_mode()
    def _vectors(self, windows: Sequence[Tensor]) -> NDArray[np.float32]:
        batch = torch.stack([window - window.mean(0) for window in windows])
        vectors: NDArray[np.float32] = self._network(batch).cpu().numpy()
        return vectors


def speaker_features(pcm: NDArray[np.int16]) -> Tensor:
    """Computes (frames, 80) log-mel energies; a window of them less its mean is what the network takes."""
    return fbank(pcm, window="povey", floor=_FLOOR)


def _windows(features: Tensor, options: DiarizationOptions) -> Iterator[tuple[int, int]]:
    """Yields (first frame, end) of each window: within a stretch of speech, the last one at its end.

    A stretch shorter than a window is one by itself, less up to 90 ms, so that lengths are few.
    """
    window, shortest = (frame_count(ms * 16) for ms in (options.window_ms, options.shortest_ms))
    hop = options.hop_ms // _FRAME_MS
    for start, end in _stretches(features):
        frames = end - start
        if frames >= window:
            starts = list(range(start, end - window + 1, hop))
            if end - window - starts[-1] > hop // 4:
                starts.append(end - window)
            yield from ((first, first + window) for first in starts)
        elif frames >= shortest:
            kept = max(shortest, frames // 10 * 10)
            first = start + (frames - kept) // 2
            yield first, first + kept


def _stretches(features: Tensor) -> list[tuple[int, int]]:
    """Finds (first frame, end) of the speech between pauses."""
    if len(features) == 0:
        return []
    level_db = 10 / np.log(10) * torch.logsumexp(features[:, _VOICE_BANDS], 1).numpy()
    quiet, loud = np.percentile(level_db, (5, 95))
    if loud - quiet < _LEAST_RANGE_DB:
        return [(0, len(features))]
    speech = level_db > loud - _PAUSE_DEPTH * (loud - quiet)
    edges = np.flatnonzero(np.diff(speech, prepend=False, append=False)).reshape(-1, 2)
    stretches: list[tuple[int, int]] = []
    for start, end in edges.tolist():
        if stretches and start - stretches[-1][1] < _SHORTEST_PAUSE_MS // _FRAME_MS:
            stretches[-1] = stretches[-1][0], end
        else:
            stretches.append((start, end))
    return stretches


def _fastest_type(device: str) -> torch.dtype:
    """Chooses bfloat16 where the CPU multiplies it, which takes half the time.

    The vectors point the same way to four digits.
    """
    if device == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return torch.bfloat16
    return torch.float32
