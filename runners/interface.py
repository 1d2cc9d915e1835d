"""What travels between the service and the runners; importable without torch.

Audio is 16 kHz mono PCM16. A failing item is answered with ``error`` set: an exception would fail
every other item of its batch.
"""

from __future__ import annotations

import bentoml
import numpy as np
from pydantic import BaseModel


class VadBlock(bentoml.IODescriptor):
    """Audio with its surroundings. ``context_frames`` frames of 10 ms at its start and, unless ``is_last``,
    ``VadOptions.lookahead_frames`` at its end are there to be looked at and get no score.
    """

    model: str
    pcm: np.ndarray
    context_frames: int
    is_last: bool


class VadOptions(BaseModel):
    """How silence scores become regions (FunASR's names, times in ms), and how much surrounding a block needs."""

    max_end_silence_time: int
    window_size_ms: int
    sil_to_speech_time_thres: int
    speech_to_sil_time_thres: int
    lookback_time_start_point: int
    lookahead_time_end_point: int
    max_single_segment_time: int
    speech_noise_thres: float
    do_extend: int
    context_frames: int
    lookahead_frames: int


class RecognitionItem(bentoml.IODescriptor):
    """One utterance to recognise."""

    model: str
    pcm: np.ndarray


class Recognition(BaseModel):
    """Tokens of one utterance; the lists run in parallel, times are ms from the start of the utterance."""

    tokens: list[str] = []
    ids: list[int] = []
    starts_ms: list[int] = []
    ends_ms: list[int] = []
    logprobs: list[float] = []
    batch_size: int = 1
    error: str | None = None


class PunctuationItem(BaseModel):
    """Tokens to punctuate, in the punctuation model's units: CJK characters and words."""

    model: str
    tokens: list[str]


class Punctuation(BaseModel):
    """The mark that follows each token, "" for none."""

    marks: list[str] = []
    error: str | None = None
