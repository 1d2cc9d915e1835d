"""What travels between the service and the runners; importable without torch.

Audio is 16 kHz mono PCM16. A failing item is answered with ``error`` set: an exception would fail
every other item of its batch. An item names the request it belongs to, for the runner's log.
"""

from __future__ import annotations

import bentoml
import numpy as np
from pydantic import BaseModel, Field

from runners import logs


def _current_request_id() -> str:
    return logs.request_id.get()


class VadBlock(bentoml.IODescriptor):
    """Audio with its surroundings. ``context_frames`` frames of 10 ms at its start and, unless ``is_last``,
    ``VadOptions.lookahead_frames`` at its end are there to be looked at and get no score.
    """

    model: str
    pcm: np.ndarray
    context_frames: int
    is_last: bool
    request_id: str = Field(default_factory=_current_request_id)


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


class VadNetwork(bentoml.IODescriptor):
    """The weights of a FSMN-VAD, to score live audio without a call; layers are stacked on the first axis.

    Weights are (inputs, outputs), ``taps`` (layers, oldest frame first, size) are ``tap_stride`` frames apart;
    the input is ``stacked_frames`` neighbouring frames of log-mel energies, not normalised.
    """

    stacked_frames: int
    tap_stride: int
    silence_outputs: list[int]
    in_weight: np.ndarray
    in_bias: np.ndarray
    project: np.ndarray
    taps: np.ndarray
    expand: np.ndarray
    expand_bias: np.ndarray
    out_weight: np.ndarray
    out_bias: np.ndarray


class RecognitionItem(bentoml.IODescriptor):
    """One utterance to recognise. ``hotwords`` have weights from 1 to 100.

    Of no effect where the family has no use for it: ``language`` by Qwen3-ASR's name for it (None: the model says what
    it hears), ``prompt``, ``word_times`` (they cost something and are not found otherwise), ``draft``, what was
    probably said (it makes the answer cheaper on a CPU, and never changes it), and ``id``, by which a recognition can
    be called off.
    """

    model: str
    pcm: np.ndarray
    hotwords: dict[str, int] = Field(default={})
    language: str | None = None
    prompt: str = ""
    word_times: bool = False
    draft: str = ""
    id: str = ""
    request_id: str = Field(default_factory=_current_request_id)


class Recognition(BaseModel):
    """Tokens of one utterance; the lists run in parallel, times are ms from the start of the utterance.

    ``ignored_hotwords`` had no effect: the model's vocabulary cannot write them. A model that punctuates by itself
    gives whole words with the ``marks`` that follow them, and the name of the ``language`` that it heard; ``timed``:
    the times are the words', not just spread over the utterance.
    """

    tokens: list[str] = []
    marks: list[str] = []
    language: str = ""
    timed: bool = True
    ids: list[int] = []
    starts_ms: list[int] = []
    ends_ms: list[int] = []
    logprobs: list[float] = []
    ignored_hotwords: list[str] = []
    batch_size: int = 1
    error: str | None = None


class PunctuationItem(BaseModel):
    """Tokens to punctuate, in the punctuation model's units: CJK characters and words."""

    model: str
    tokens: list[str]
    request_id: str = Field(default_factory=_current_request_id)


class Punctuation(BaseModel):
    """The mark that follows each token, "" for none."""

    marks: list[str] = []
    error: str | None = None


class EmbeddingItem(bentoml.IODescriptor):
    """One utterance whose voices are wanted."""

    model: str
    pcm: np.ndarray
    request_id: str = Field(default_factory=_current_request_id)


class Embedding(bentoml.IODescriptor):
    """The voice in every window of an utterance; times are ms from its start.

    ``vectors`` has a row for each window. Too little speech to tell a voice by gives no windows.
    """

    starts_ms: list[int] = Field(default_factory=list)
    ends_ms: list[int] = Field(default_factory=list)
    vectors: np.ndarray = Field(default_factory=lambda: np.empty((0, 0), np.float32))
    error: str | None = None


class DiarizationOptions(BaseModel):
    """How a model's voices are cut into windows and told apart (``diarization_conf`` of its directory).

    Groups of windows whose average cosine similarity is at least ``same_speaker`` are one speaker's; a few windows
    are a speaker's only if nobody is like them by ``different_speaker``.
    """

    window_ms: int = 1500
    hop_ms: int = 750
    shortest_ms: int = 400
    same_speaker: float = 0.4
    different_speaker: float = 0.2
    most_speakers: int = 15


class StreamingItem(bentoml.IODescriptor):
    """The next audio of a live sentence: any number of samples, also none.

    A session begins with ``is_first`` (which starts it anew where it exists) and ends with ``is_last``, which
    recognises what is left and frees it; an item may be both. ``punctuate`` asks for marks.

    The first item of a Qwen3-ASR session says how it is to be heard: see :class:`RecognitionItem`, and Qwen3-ASR's
    streaming protocol for ``unfixed_chunks`` (steps that begin anew) and ``unfixed_tokens`` (taken back at each step).
    """

    model: str
    session: str
    pcm: np.ndarray
    is_first: bool = False
    is_last: bool = False
    punctuate: bool = False
    hotwords: dict[str, int] = Field(default={})
    language: str | None = None
    prompt: str = ""
    unfixed_chunks: int = 2
    unfixed_tokens: int = 5
    request_id: str = Field(default_factory=_current_request_id)


class StreamingResult(BaseModel):
    """The sentence so far, all of it; the lists run in parallel, times are ms from the session's first sample.

    ``marks`` holds what follows each token, "" for none and for the last token of a sentence that goes on.
    ``lost``: the session is unknown (never begun, idle for too long, or the runner restarted).
    """

    tokens: list[str] = []
    starts_ms: list[int] = []
    ends_ms: list[int] = []
    marks: list[str] = []
    language: str = ""
    batch_size: int = 0
    error: str | None = None
    lost: bool = False
