"""Defines the words that every part of the service speaks: plain frozen types without behaviour of their own.

Times are seconds from the start of the file; audio is 16 kHz mono PCM16 (``Pcm``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from runners.catalog import Model

SAMPLE_RATE_HZ = 16_000
Pcm = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Word:
    """Describes a CJK character, a Latin word, or (after inverse text normalisation) a number (G123).

    Attributes:
        text: The word without its punctuation.
        start_s: When it begins.
        end_s: When it ends.
        punctuation: What follows the word in the text.
        logprob: Natural log of the recogniser's probability, summed over the word's tokens; None where the model
            gives none.
        tokens: The ids that the model has for the word's tokens; empty where it has none.
        timed: Whether the times were found in the audio, not just guessed from the word's place in the text.
    """

    text: str
    start_s: float
    end_s: float
    punctuation: str = ""
    logprob: float | None = None
    token_ids: tuple[int, ...] = ()
    timed: bool = True


@dataclass(frozen=True, slots=True)
class Speaker:
    """Identifies who says a segment.

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
class AudioFormat:
    """Describes a recording by its header.

    Attributes:
        codec: ffmpeg's name for it, such as ``pcm_s16le`` or ``mp3``.
        rate_hz: What it was sampled at.
        channels: How many there are.
    """

    codec: str
    rate_hz: int
    channels: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Describes a stretch of speech of at most MAX_SEGMENT_SEC; it begins and ends with speech.

    Attributes:
        index: Counts a recording's segments from 0.
        start_s: When it begins.
        end_s: When it ends.
        text: What was said, punctuated.
        words: The same, word by word.
        speaker: Who said it; None where speakers were not told apart.
        channel: The one in which it was said, from 0; None where channels were heard mixed.
    """

    index: int
    start_s: float
    end_s: float
    text: str
    words: tuple[Word, ...] = ()
    speaker: Speaker | None = None
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """Says how loud an utterance is: the root mean square of its samples, in dB of full scale."""

    start_s: float
    dbfs: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """Holds what was said in a recording.

    Attributes:
        duration_s: The recording's length, silence included.
        language: A code such as ``zh``: the one that was asked for, else the one that most was said in.
        model: The id of the model that recognised.
        segments: In the order of their times.
        warnings: What of the request had no effect, for people.
        levels: How loud it is, utterance by utterance.
        audio: What the recording is; None where that isn't known yet.
    """

    duration_s: float
    language: str
    model: str
    segments: tuple[Segment, ...]
    warnings: tuple[str, ...] = ()
    levels: tuple[Level, ...] = ()
    audio: AudioFormat | None = field(default=None, compare=False)

    @property
    def text(self) -> str:
        """Joins the segments' texts, putting a space where neither side is CJK."""
        return join_texts(s.text for s in self.segments)


@dataclass(frozen=True, slots=True)
class Hotword:
    """Names a word to prefer, with a weight from 1 (a little) to 100."""

    text: str
    weight: int = 10


@dataclass(frozen=True, slots=True)
class KnownSpeaker:
    """Names whoever sounds like the reference: 16 kHz mono PCM16 of one voice."""

    name: str
    reference: Pcm = field(compare=False)


@dataclass(frozen=True, slots=True)
class Diarization:
    """Says how speakers are told apart.

    Attributes:
        speaker_count: A hint; None: it is found.
        known_speakers: Whose names are told where their voices are heard.
    """

    speaker_count: int | None = None
    known_speakers: tuple[KnownSpeaker, ...] = ()


@dataclass(frozen=True, slots=True)
class RecognitionOptions:
    """Says what a request asks of recognition, whatever protocol it came by.

    Attributes:
        model: The id of a loaded model.
        language: A code such as ``zh``; None: the model finds it.
        prompt: What a model that reads prompts reads before it listens.
        hotwords: Words to prefer.
        word_timestamps: Whether the times of words are wanted.
        punctuation: Whether the text is punctuated.
        inverse_text_normalization: Whether numbers, dates and units are written in digits.
        diarization: How speakers are told apart; None: nobody is.
    """

    model: Model
    language: str | None = None
    prompt: str = ""
    hotwords: tuple[Hotword, ...] = ()
    word_timestamps: bool = True
    punctuation: bool = True
    inverse_text_normalization: bool = True
    diarization: Diarization | None = None


class Urgency(IntEnum):
    """Says who waits for work: the lower, the sooner it is done."""

    LIVE = 0  # somebody who speaks
    INTERACTIVE = 1  # somebody who has sent a recording
    JOB = 2  # nobody


@dataclass(frozen=True, eq=False)
class Requester:
    """Stands for a request, a live session or a job where work waits for its turn; each has one of its own.

    Attributes:
        urgency: Who waits for it.
        key: Whose it is: the identity of an API key, "" where no key is asked for.
    """

    urgency: Urgency = Urgency.INTERACTIVE
    key: str = ""


@dataclass(frozen=True, slots=True)
class RawPcm:
    """Says how headerless PCM16 little-endian bytes are to be read."""

    sample_rate_hz: int
    channels: int = 1


@dataclass(frozen=True, slots=True)
class AudioSource:
    """Points to a recording on local disk.

    Attributes:
        path: Where it lies.
        raw: How to read it, given only when the client named headerless PCM.
        track: Which of several audio tracks is meant, from 1; None: the one that the file marks as its default.
        name: What the client calls the file; "" where it doesn't say.
        channel: Which of the track's channels is heard alone, from 0; None: all of them, mixed.
    """

    path: str
    raw: RawPcm | None = None
    track: int | None = None
    name: str = field(default="", compare=False)
    channel: int | None = None


def is_cjk(char: str) -> bool:
    """Says whether text of this character is written without spaces between words."""
    return "\u2e80" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff" or "\uff00" <= char <= "\uffef"


def join_words(words: Iterable[Word]) -> str:
    """Joins words with their punctuation, putting spaces only where two non-CJK words would touch."""
    return join_texts(w.text + w.punctuation for w in words)


def join_texts(texts: Iterable[str]) -> str:
    """Joins texts, putting a space where neither side is CJK or CJK punctuation."""
    joined = ""
    for text in texts:
        if joined and text and not is_cjk(joined[-1]) and not is_cjk(text[0]):
            joined += " "
        joined += text
    return joined
