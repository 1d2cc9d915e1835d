"""FunASR's own VAD network on torch: what ours is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from runners.kit.features import fbank, stack_frames
from runners.kit.funasr_models import ModelDirectory, Modules
from tests.speech import Pcm

MODULES: Modules = {"FsmnVADStreaming": ("fsmn_vad_streaming.model", "fsmn_vad_streaming.encoder")}


class FunasrVad:
    """A model directory's network."""

    def __init__(self, path: Path) -> None:
        self._directory = ModelDirectory.read(path)
        self._model: Any = self._directory.build(MODULES)

    @torch.inference_mode()
    def scores(self, pcm: Pcm) -> np.ndarray:
        """The probability of silence in each frame of a whole recording."""
        features = fbank(pcm)
        if not len(features):
            return np.empty(0, np.float32)
        shift, scale = self._directory.cmvn()
        stacked = (stack_frames(features, self._directory.config["frontend_conf"]["lfr_m"], 1) + shift) * scale
        outputs = list(self._model.vad_opts.sil_pdf_ids)
        silence: np.ndarray = self._model.encoder(stacked[None], None)[0, :, outputs].sum(-1).numpy()
        return silence
