"""Loads the service's own engines on the demo pack's models, for what measures them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runners.campplus.engine import CampplusEngine
from runners.interface import VadBlock
from runners.kit.funasr_models import ModelDirectory
from runners.paraformer.engine import ParaformerEngine
from runners.paraformer.language_model import LanguageModel
from runners.paraformer.punctuation import PunctuationEngine
from runners.vad.engine import VadEngine
from service.audio.endpoint import Endpointer
from service.audio.spans import Span


class Engines:
    """Holds the service's engines on the pack's models, each loaded when it is first needed.

    Attributes:
        models: The directory of the pack, with one for each part.
    """

    def __init__(self, models: Path) -> None:
        self.models = models

    @functools.cached_property
    def vad(self) -> VadEngine:
        """Loads the voice activity detector."""
        return VadEngine(self.models / "vad")

    @functools.cached_property
    def paraformer(self) -> ParaformerEngine:
        """Loads the recogniser, with the language model."""
        directory = ModelDirectory.read(self.models / "paraformer")
        return ParaformerEngine(directory, batch_size=8, language_model=self.language_model)

    @functools.cached_property
    def language_model(self) -> LanguageModel:
        """Loads the n-gram."""
        return LanguageModel.read(self.models / "language_model")

    @functools.cached_property
    def punctuation(self) -> PunctuationEngine:
        """Loads the punctuation model."""
        return PunctuationEngine(ModelDirectory.read(self.models / "punctuation"), batch_size=8)

    @functools.cached_property
    def speaker(self) -> CampplusEngine:
        """Loads the speaker model."""
        return CampplusEngine(ModelDirectory.read(self.models / "speaker"), batch_size=16)

    def regions(self, pcm: NDArray[np.int16]) -> list[Span]:
        """Finds the speech regions of one recording."""
        (scores,) = self.vad.score([VadBlock(model="vad", pcm=pcm, context_frames=0, is_last=True)])
        return Endpointer(self.vad.options, trim_end=True).accept(scores, is_last=True)

    def texts(
        self,
        recordings: Sequence[NDArray[np.int16]],
        hotwords: Mapping[str, int] | None = None,
        *,
        with_language_model: bool = True,
    ) -> list[str]:
        """Recognises recordings; the texts have no punctuation."""
        self.paraformer.language_model = self.language_model if with_language_model else None
        return ["".join(r.tokens) for r in self.paraformer.recognise(recordings, [hotwords or {}] * len(recordings))]
