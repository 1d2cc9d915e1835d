"""FSMN-VAD: the probability of silence in every 10 ms of audio, for blocks of many recordings at once.

The network (Zhang et al. 2018, arXiv:1803.05030) looks only so far back, so a block carries the
audio it needs before it instead of a state: any worker can score any block, and a recording's
scores don't depend on how it was cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from runners.interface import VadBlock, VadOptions
from runners.kit.features import fbank, stack_frames
from runners.kit.funasr_models import ModelDirectory, Modules, UnsupportedModelError

MODULES: Modules = {"FsmnVADStreaming": ("fsmn_vad_streaming.model", "fsmn_vad_streaming.encoder")}


class VadEngine:
    """Scores batches of blocks. Not thread-safe."""

    def __init__(self, directory: ModelDirectory, *, device: str = "cpu") -> None:
        model: Any = directory.build(MODULES).to(device)
        opts, encoder = model.vad_opts, directory.config["encoder_conf"]
        if opts.decibel_thres > -60 or opts.snr_thres > -60 or encoder["rorder"] or opts.speech_2_noise_ratio != 1:
            raise UnsupportedModelError(f"{directory.path}: thresholds on level or SNR are not supported")
        self.device = device
        self._encoder = model.encoder
        shift, scale = directory.cmvn()
        self._cmvn = shift.to(device), scale.to(device)
        self._silence_outputs = list(opts.sil_pdf_ids)
        frontend = directory.config["frontend_conf"]
        self._lfr_m = int(frontend["lfr_m"])
        if int(frontend["lfr_n"]) != 1:
            raise UnsupportedModelError(f"{directory.path}: lfr_n must be 1")
        around = (self._lfr_m - 1) // 2
        memory = encoder["fsmn_layers"] * (encoder["lorder"] - 1) * encoder["lstride"]
        shared = VadOptions.model_fields.keys() - {"context_frames", "lookahead_frames"}
        self.options = VadOptions(
            **{name: getattr(opts, name) for name in shared}, context_frames=memory + around, lookahead_frames=around
        )

    @torch.inference_mode()
    def score(self, blocks: Sequence[VadBlock]) -> list[NDArray[np.float32]]:
        """Per block, the probability of silence in each of its frames (context and look-ahead excluded)."""
        features = [stack_frames(fbank(b.pcm), self._lfr_m, 1) for b in blocks]
        filled = [f for f in features if len(f)]
        if not filled:
            return [np.empty(0, np.float32) for _ in blocks]
        shift, scale = self._cmvn
        # the network is causal: padding at the end changes nothing before it
        batch = (pad_sequence(filled, batch_first=True).to(self.device) + shift) * scale
        silence = self._encoder(batch, None)[..., self._silence_outputs].sum(-1).cpu().numpy()
        rows = iter(silence)
        results = []
        for block, f in zip(blocks, features, strict=True):
            row = next(rows)[: len(f)] if len(f) else np.empty(0, np.float32)
            end = len(f) if block.is_last else max(0, len(f) - self.options.lookahead_frames)
            results.append(row[block.context_frames : end])
        return results
