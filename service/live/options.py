"""Says what a live session is asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from service.domain import RecognitionOptions


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Says what a client asks of a live session, whatever protocol it came by.

    Attributes:
        recognition: How sentences are recognised.
        partials: Whether text is wanted while a sentence is being spoken.
        finals: Whether the offline recogniser hears each sentence again at its end; without it the streaming text is
            final.
        partial_punctuation: Whether partials are punctuated.
        max_sentence_silence_ms: The silence that ends a sentence.
        speech_noise_threshold: From -1 to 1; higher takes less for speech. None: the model's own.
        chunk_ms: How much more a recogniser hears between two partials.
        unfixed_chunks: Of Qwen3-ASR, whose partials begin with what the ones before agreed on: how many are free of
            that.
        unfixed_tokens: Of Qwen3-ASR: how many tokens at the end of each partial may always change.
        longest_sentence_ms: A sentence without a pause is cut there at the latest, at its quietest place.
        ends_at_marks: Whether it ends already where the partial text's punctuation is sure that a sentence has ended.
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
    """Sets the filter that keeps distant sound out.

    Attributes:
        enabled: Whether there is one.
        rms_threshold: The least RMS, of full scale 1, of sound that begins a sentence.
    """

    enabled: bool = True
    rms_threshold: float = 0.01
