"""Says what happens while somebody speaks: the events of a live session, in order."""

from __future__ import annotations

from dataclasses import dataclass, replace

from service.domain import Word
from service.errors import ServiceError
from service.live.sentence_finder import EndReason


@dataclass(frozen=True, slots=True)
class SentenceBegan:
    """Tells that speech was found.

    Attributes:
        index: Counts sentences from 1.
        begin_ms: When it began, in milliseconds of the session's audio.
    """

    index: int
    begin_ms: int


@dataclass(frozen=True, slots=True)
class PartialChanged:
    """Tells the sentence so far, from the streaming model: whole, not a delta; it may still change.

    ``time_ms`` is how far the audio has come, ``language`` a code, "" where the model does not tell. ``open_text`` is
    what ``text`` ends with that will be written otherwise when its number is complete.
    """

    index: int
    time_ms: int
    text: str
    words: tuple[Word, ...]
    language: str = ""
    open_text: str = ""

    @property
    def settled_text(self) -> str:
        """Gives ``text`` up to where it will be written otherwise, for clients that can't take back what they show."""
        return self.text.removesuffix(self.open_text).rstrip()


@dataclass(frozen=True, slots=True)
class SentenceEnded:
    """Tells the sentence's final text.

    Word times are seconds from the start of the session's audio.
    ``text`` is empty when what was taken for speech turned out to hold no words. ``language`` as in PartialChanged.
    """

    index: int
    begin_ms: int
    end_ms: int
    text: str
    words: tuple[Word, ...]
    language: str = ""
    reason: EndReason = "silence"


@dataclass(frozen=True, slots=True)
class SessionFailed:
    """Is the last event of a session that could not go on."""

    failure: ServiceError


Event = SentenceBegan | PartialChanged | SentenceEnded | SessionFailed


def moved(event: Event, sentences: int, ms: int) -> Event:
    """Returns the event as it is where ``sentences`` and ``ms`` of audio came before the session."""
    if isinstance(event, SessionFailed) or not (sentences or ms):
        return event
    index = event.index + sentences
    if isinstance(event, SentenceBegan):
        return replace(event, index=index, begin_ms=event.begin_ms + ms)
    words = tuple(replace(w, start_s=w.start_s + ms / 1000, end_s=w.end_s + ms / 1000) for w in event.words)
    if isinstance(event, PartialChanged):
        return replace(event, index=index, time_ms=event.time_ms + ms, words=words)
    return replace(event, index=index, begin_ms=event.begin_ms + ms, end_ms=event.end_ms + ms, words=words)
