"""What a live session is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from service.domain import RecognitionOptions


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a client asks of a live session, whatever protocol it came by.

    ``partials``: text while a sentence is being spoken; ``partial_punctuation`` marks it.
    ``finals``: a second pass by the offline recogniser at each sentence end; without it the streaming text is final.
    ``max_sentence_silence_ms``: silence that ends a sentence. ``speech_noise_threshold`` (-1 to 1): higher takes
    less for speech; None: the model's own. ``chunk_ms``: how much more a recogniser hears between two partials;
    of Qwen3-ASR, whose partials begin with what the ones before agreed on, ``unfixed_chunks`` are free of that, and
    the last ``unfixed_tokens`` of each may always change.
    ``longest_sentence_ms``: a sentence without a pause is cut there at the latest, at its quietest place;
    ``ends_at_marks``: it ends already where the partial text's punctuation is sure that a sentence has ended.
    """

    recognition: RecognitionOptions
    partials: bool = True
    finals: bool = True
    partial_punctuation: bool = True
    max_sentence_silence_ms: int = 800
    speech_noise_threshold: float | None = None
    chunk_ms: int = 600
    unfixed_chunks: int = 2
    unfixed_tokens: int = 5
    longest_sentence_ms: int = 30_000
    ends_at_marks: bool = False


@dataclass(frozen=True, slots=True)
class NearFieldFilter:
    """Settings of the filter that keeps distant sound out: RMS of full scale 1."""

    enabled: bool = True
    rms_threshold: float = 0.01
