"""One live session: PCM in, events out. Near-field filter, endpointing, streaming text, second pass."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from service.domain import Pcm, RecognitionOptions
from service.inference import Runners
from service.streaming.events import Event


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a client asks of a live session, whatever protocol it came by.

    ``partials``: text while a sentence is being spoken; ``partial_punctuation`` marks it.
    ``finals``: a second pass by the offline recogniser at each sentence end; without it the streaming text is final.
    ``max_sentence_silence_ms``: silence that ends a sentence. ``speech_noise_threshold`` (-1 to 1): higher takes
    less for speech; None: the model's own.
    """

    recognition: RecognitionOptions
    partials: bool = True
    finals: bool = True
    partial_punctuation: bool = True
    max_sentence_silence_ms: int = 800
    speech_noise_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class NearFieldFilter:
    """Settings of the filter that keeps distant sound out: RMS of full scale 1."""

    enabled: bool = True
    rms_threshold: float = 0.01


class Session:
    """Push audio and iterate for events, at the same time, from two tasks.

    Every sample pushed is recognised, or counted as filtered. Iteration ends after ``finish`` once everything
    has been told, or with SessionFailed.
    """

    def __init__(self, runners: Runners, options: SessionOptions, near_field: NearFieldFilter) -> None:
        raise NotImplementedError

    async def push(self, pcm: Pcm) -> None:
        """Takes the next 16 kHz mono audio in, any number of samples; waits while the session is behind."""
        raise NotImplementedError

    async def finish(self) -> None:
        """No more audio comes: what was pushed is recognised to its end. Returns at once."""
        raise NotImplementedError

    def __aiter__(self) -> AsyncIterator[Event]:
        raise NotImplementedError

    async def close(self) -> None:
        """Stops all work and frees the runner's side; safe at any time, more than once."""
        raise NotImplementedError
