"""Finds the utterances of a recording while it is being decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from runners.catalog import Model
from runners.interface import VadBlock, VadOptions
from service.audio.endpoint import Endpointer
from service.audio.spans import SAMPLES_PER_MS, Span, cut_long
from service.domain import Level, Pcm
from service.inference import Runners

_FRAME_SAMPLES = 10 * SAMPLES_PER_MS


@dataclass(frozen=True, slots=True)
class Utterance:
    """Holds speech that is recognised in one piece.

    Attributes:
        span: Its place in the recording.
        pcm: Its audio, 16 kHz mono PCM16.
    """

    span: Span
    pcm: Pcm

    @property
    def level(self) -> Level:
        """Returns how loud it is; silence counts as the smallest sample."""
        rms = max(1.0, float(np.sqrt(np.mean(np.square(self.pcm, dtype=np.float64)))))
        return Level(self.span.start_ms / 1000, round(20 * math.log10(rms / 2**15), 2))


class UtteranceFinder:
    """Finds utterances in PCM, in order; keeps only audio that may still belong to one."""

    def __init__(self, runners: Runners, model: Model, options: VadOptions, limit_ms: int) -> None:
        """Begins a recording; longer utterances than ``limit_ms`` are cut."""
        self._runners = runners
        self._model = model
        self._options = options
        self._limit_ms = limit_ms
        self._endpointer = Endpointer(options, trim_end=True)
        self._audio: Pcm = np.empty(0, np.int16)
        self._audio_start = 0  # sample of the recording at which _audio begins
        self._scored_frames = 0

    async def accept(self, pcm: Pcm, *, is_last: bool = False) -> list[Utterance]:
        """Returns the utterances that ``pcm``, the next of the recording, completes; waits for the VAD."""
        self._audio = np.concatenate([self._audio, pcm])
        scores = await self._runners.silence_scores(self._block(is_last))
        self._scored_frames += len(scores)
        regions = self._endpointer.accept(scores, is_last=is_last)
        pieces = [p for region in regions for p in cut_long(region, self._limit_ms, self._slice(region))]
        utterances = [Utterance(piece, self._slice(piece).copy()) for piece in pieces]
        self._forget()
        return utterances

    @property
    def settled_ms(self) -> int:
        """Returns the time before which no utterance yet to come begins."""
        return self._endpointer.settled_ms

    def _block(self, is_last: bool) -> VadBlock:
        """Makes a block of all frames not yet scored, with the context they need."""
        context_frames = min(self._scored_frames, self._options.context_frames)
        first_sample = (self._scored_frames - context_frames) * _FRAME_SAMPLES - self._audio_start
        pcm = self._audio[first_sample:]
        return VadBlock(model=self._model.id, pcm=pcm, context_frames=context_frames, is_last=is_last)

    def _slice(self, span: Span) -> Pcm:
        start, end = (ms * SAMPLES_PER_MS - self._audio_start for ms in (span.start_ms, span.end_ms))
        return self._audio[max(0, start) : end]

    def _forget(self) -> None:
        """Drops audio before anything that can still be asked for: an open region, the VAD's context."""
        context = max(0, self._scored_frames - self._options.context_frames) * _FRAME_SAMPLES
        needed = min(self.settled_ms * SAMPLES_PER_MS, context)
        if needed > self._audio_start:
            self._audio = self._audio[needed - self._audio_start :]
            self._audio_start = needed
