"""Defines what travels between the service and the runners; importable without torch.

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
    """Carries audio to be scored, with its surroundings.

    Attributes:
        model: The id of the model whose VAD scores it.
        pcm: The audio, surroundings included.
        context_frames: How many frames of 10 ms at its start are there to be looked at and get no score.
        is_last: Whether the recording ends here; else ``VadOptions.lookahead_frames`` at its end get no score either.
        request_id: The request that it belongs to.
    """

    model: str
    pcm: np.ndarray
    context_frames: int
    is_last: bool
    request_id: str = Field(default_factory=_current_request_id)


class VadOptions(BaseModel):
    """Says how silence scores become regions (FunASR's names), and how much surrounding a block needs.

    Attributes:
        max_end_silence_time: How much silence ends a region, in ms.
        window_size_ms: The window in which frames of speech are counted.
        sil_to_speech_time_thres: With so much speech in it the window turns to speech, in ms.
        speech_to_sil_time_thres: With so little speech in it the window turns to silence, in ms.
        lookback_time_start_point: How long before its window a region begins, in ms.
        lookahead_time_end_point: How much of the silence that ends it a region keeps, in ms.
        max_single_segment_time: How long a region may be before it is cut, in ms.
        speech_noise_thres: By how much the probability of speech must exceed that of silence, from -1 to 1.
        do_extend: 1 where ``lookback_time_start_point`` and ``lookahead_time_end_point`` are followed, 0 where not.
        context_frames: How many frames of 10 ms before the scored ones a block needs; fewer at a recording's start.
        lookahead_frames: How many frames after them it needs.
    """

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
    """Carries the weights of a FSMN-VAD, to score live audio without a call.

    Layers are stacked on the first axis; weights are (inputs, outputs).

    Attributes:
        stacked_frames: How many neighbouring frames of log-mel energies, not normalised, are one input.
        tap_stride: How many frames lie between two taps.
        silence_outputs: Which outputs mean silence.
        in_weight: (inputs, width), before the memory layers.
        in_bias: (width).
        project: (layers, width, size), into a layer's memory.
        taps: (layers, taps, size), the oldest frame first.
        expand: (layers, size, width), out of a layer's memory.
        expand_bias: (layers, width).
        out_weight: (width, outputs), after the memory layers.
        out_bias: (outputs).
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
    """Asks for one utterance to be recognised.

    What a family has no use for has no effect.

    Attributes:
        model: The id of the model.
        pcm: The utterance.
        hotwords: Words to prefer, with weights from 1 to 100.
        language: Qwen3-ASR's name for it; None: the model says what it hears.
        prompt: What the model reads before it listens.
        word_times: Whether the times of words are wanted; they cost something and are not found otherwise.
        draft: What was probably said; it makes the answer cheaper on a CPU, and never changes it.
        id: By which the recognition can be called off.
        request_id: The request that it belongs to.
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
    """Holds the tokens of one utterance.

    ``tokens``, ``ids``, ``starts_ms``, ``ends_ms`` and ``logprobs`` run in parallel, and ``marks`` where there are any.

    Attributes:
        tokens: What was recognised: tokens, or whole words of a model that punctuates by itself.
        marks: The marks that follow each; empty for a model that doesn't punctuate.
        language: The name of the language that the model heard; "" where it doesn't tell.
        timed: Whether the times are the words', not just spread over the utterance.
        ids: The tokens' ids; -1 for a whole word.
        starts_ms: When each begins, in ms from the start of the utterance.
        ends_ms: When each ends.
        logprobs: How likely each is, in natural log.
        ignored_hotwords: Those that had no effect: the model's vocabulary cannot write them.
        batch_size: How many utterances were computed together.
        cpu_s: What it took of the processors, as its share of the batch; None where that is not known.
        error: What went wrong; None: nothing did.
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
    cpu_s: float | None = None
    error: str | None = None


class Capacity(BaseModel):
    """Says how much work keeps a recogniser busy; what it is not given yet can still be put in order.

    Attributes:
        at_once: How many batches one process computes at the same time.
        batch_size: How many utterances of similar length are best computed together, at most.
        batch_s: How many seconds of audio are, at most, where that matters; an utterance alone may be longer.
    """

    at_once: int = 1
    batch_size: int = 1
    batch_s: float | None = None


class PunctuationItem(BaseModel):
    """Asks for tokens to be punctuated.

    Attributes:
        model: The id of the model.
        tokens: In the punctuation model's units: CJK characters and words.
        request_id: The request that it belongs to.
    """

    model: str
    tokens: list[str]
    request_id: str = Field(default_factory=_current_request_id)


class Punctuation(BaseModel):
    """Holds the mark that follows each token.

    Attributes:
        marks: One for each token, "" for none.
        error: What went wrong; None: nothing did.
    """

    marks: list[str] = []
    error: str | None = None


class EmbeddingItem(bentoml.IODescriptor):
    """Asks for the voices in one utterance.

    Attributes:
        model: The id of the model.
        pcm: The utterance.
        request_id: The request that it belongs to.
    """

    model: str
    pcm: np.ndarray
    request_id: str = Field(default_factory=_current_request_id)


class Embedding(bentoml.IODescriptor):
    """Holds the voice in every window of an utterance.

    Too little speech to tell a voice by gives no windows.

    Attributes:
        starts_ms: When each window begins, in ms from the start of the utterance.
        ends_ms: When each ends.
        vectors: (windows, size).
        error: What went wrong; None: nothing did.
    """

    starts_ms: list[int] = Field(default_factory=list)
    ends_ms: list[int] = Field(default_factory=list)
    vectors: np.ndarray = Field(default_factory=lambda: np.empty((0, 0), np.float32))
    error: str | None = None


class DiarizationOptions(BaseModel):
    """Says how a model's voices are cut into windows and told apart (``diarization_conf`` of its directory).

    Attributes:
        window_ms: How long a window is.
        hop_ms: How long after a window the next one begins.
        shortest_ms: Less speech than this between pauses is no window.
        same_speaker: Groups of windows whose average cosine similarity is at least this are one speaker's.
        different_speaker: A few windows are a speaker's only if nobody is as like them as this.
        most_speakers: More are not told apart, unless so many are asked for.
    """

    window_ms: int = 1500
    hop_ms: int = 750
    shortest_ms: int = 400
    same_speaker: float = 0.4
    different_speaker: float = 0.2
    most_speakers: int = 15


class StreamingItem(bentoml.IODescriptor):
    """Carries the next audio of a live sentence: any number of samples, also none.

    The first item of a Qwen3-ASR sentence says how it is to be heard: see :class:`RecognitionItem`, and Qwen3-ASR's
    streaming protocol.

    Attributes:
        model: The id of the model.
        sentence: Names the sentence.
        pcm: The audio.
        is_first: Whether the sentence begins with this item, anew where it exists.
        is_last: Whether it ends with it: what is left is recognised, and the sentence freed; an item may be both.
        punctuate: Whether marks are wanted.
        hotwords: As in :class:`RecognitionItem`.
        language: As there.
        prompt: As there.
        unfixed_chunks: Of Qwen3-ASR: how many steps begin anew.
        unfixed_tokens: Of Qwen3-ASR: how many tokens are taken back at each step.
        request_id: The request that the item belongs to.
    """

    model: str
    sentence: str
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
    """Holds the sentence so far, all of it.

    ``tokens``, ``starts_ms``, ``ends_ms`` and ``marks`` run in parallel.

    Attributes:
        tokens: What was recognised.
        starts_ms: When each begins, in ms from the sentence's first sample.
        ends_ms: When each ends.
        marks: What follows each, "" for none and for the last token of a sentence that goes on.
        language: The name of the language that the model heard; "" where it doesn't tell.
        batch_size: How many sentences were computed together; 0 where nothing was to be computed.
        error: What went wrong, which ended the sentence; None: nothing did.
        lost: Whether the sentence is unknown (never begun, idle for too long, or the runner restarted).
    """

    tokens: list[str] = []
    starts_ms: list[int] = []
    ends_ms: list[int] = []
    marks: list[str] = []
    language: str = ""
    batch_size: int = 0
    error: str | None = None
    lost: bool = False
