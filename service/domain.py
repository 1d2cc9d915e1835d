"""The words that every part of the service speaks: plain frozen types without behaviour of their own.

Times are seconds from the start of the file; audio is 16 kHz mono PCM16 (``Pcm``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
Pcm = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Word:
    """A CJK character, a Latin word, or (after inverse text normalisation) a number with its unit.

    ``punctuation`` is what follows the word in the text; ``logprob`` is the natural log of the
    recogniser's probability, summed over the word's tokens, where the model gives one. ``timed``: the times were
    found in the audio, not just guessed from the word's place in the text.
    """

    text: str
    start_s: float
    end_s: float
    punctuation: str = ""
    logprob: float | None = None
    tokens: tuple[int, ...] = ()
    timed: bool = True


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who says a segment.

    Attributes:
        label: What readers see: a known speaker's name, or 说话人1, 说话人2, ….
        number: Counts the speakers without a known name from 1, in order of appearance; None for a known one.
    """

    label: str
    number: int | None = None

    @classmethod
    def unnamed(cls, number: int) -> Speaker:
        """Makes the speaker of that number, whose name is not known."""
        return cls(f"说话人{number}", number)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech of at most MAX_SEGMENT_SEC with its punctuated text; begins and ends with speech.

    ``speaker`` is None where speakers were not told apart.
    """

    index: int
    start_s: float
    end_s: float
    text: str
    words: tuple[Word, ...] = ()
    speaker: Speaker | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in a recording. ``duration_s`` is the recording's, silence included."""

    duration_s: float
    language: str
    model: str
    segments: tuple[Segment, ...]
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return join_texts(s.text for s in self.segments)


@dataclass(frozen=True, slots=True)
class Hotword:
    """A word to prefer, with a weight from 1 (a little) to 100."""

    text: str
    weight: int = 10


@dataclass(frozen=True, slots=True)
class KnownSpeaker:
    """A name for whoever sounds like the reference: 16 kHz mono PCM16 of one voice."""

    name: str
    reference: Pcm = field(compare=False)


@dataclass(frozen=True, slots=True)
class Diarization:
    """How speakers are told apart. ``speaker_count`` is a hint; None: it is found."""

    speaker_count: int | None = None
    known_speakers: tuple[KnownSpeaker, ...] = ()


@dataclass(frozen=True, slots=True)
class RecognitionOptions:
    """What a request asks of recognition, whatever protocol it came by. ``diarization`` None: nobody is told apart."""

    model: str
    language: str | None = None
    prompt: str = ""
    hotwords: tuple[Hotword, ...] = ()
    word_timestamps: bool = True
    punctuation: bool = True
    inverse_text_normalization: bool = True
    diarization: Diarization | None = None


@dataclass(frozen=True, slots=True)
class RawPcm:
    """How headerless PCM16 little-endian bytes are to be read."""

    sample_rate_hz: int
    channels: int = 1


@dataclass(frozen=True, slots=True)
class AudioSource:
    """A recording on local disk. ``raw`` is given only when the client named headerless PCM."""

    path: str
    raw: RawPcm | None = None
    name: str = field(default="", compare=False)


def is_cjk(char: str) -> bool:
    """Whether text of this character is written without spaces between words."""
    return "\u2e80" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff" or "\uff00" <= char <= "\uffef"


def join_words(words: Iterable[Word]) -> str:
    """Words with their punctuation as text: spaces only where two non-CJK words would touch."""
    return join_texts(w.text + w.punctuation for w in words)


def join_texts(texts: Iterable[str]) -> str:
    """Joins texts, putting a space where neither side is CJK or CJK punctuation."""
    joined = ""
    for text in texts:
        if joined and text and not is_cjk(joined[-1]) and not is_cjk(text[0]):
            joined += " "
        joined += text
    return joined
