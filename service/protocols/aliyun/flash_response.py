"""Renders transcripts as the bodies of Alibaba Cloud's FlashRecognizer; times are whole milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from service.domain import Transcript, Word, join_words
from service.protocols.aliyun.rest_response import CLOUD_SUCCESS, Omissible, TaskBody
from service.protocols.shared.sentences import sentences_of


class FlashWord(BaseModel):
    """Gives a word, its times in ms from the start of the file, and the punctuation behind it."""

    text: str
    begin_time: int
    end_time: int
    punc: str


class FlashSentence(BaseModel):
    """Gives a sentence, its times in ms from the start of the file, and its channel, from 0."""

    text: str
    begin_time: int
    end_time: int
    channel_id: int
    words: Omissible[list[FlashWord]] = None


class FlashResult(BaseModel):
    """Holds the sentences in the order of their times; ``duration`` and ``latency``, of recognition, are ms."""

    duration: int
    completed: Literal[True] = True
    latency: int
    sentences: list[FlashSentence]


class FlashBody(TaskBody):
    """Holds a finished recognition; ``warnings`` are ours."""

    status: Literal[20000000] = CLOUD_SUCCESS
    message: Literal["SUCCESS"] = "SUCCESS"
    flash_result: FlashResult
    warnings: Omissible[list[str]] = None


@dataclass(frozen=True, slots=True)
class FlashTask:
    """Holds what a body says beyond the transcripts.

    Attributes:
        id: The body's ``task_id``.
        latency_s: How long recognition took.
        with_words: Whether sentences have their words.
        sentence_max_length: How many characters a sentence may have; None: as many as there are.
        warnings: What of the query had no effect.
    """

    id: str
    latency_s: float
    with_words: bool
    sentence_max_length: int | None
    warnings: tuple[str, ...]


def flash_body(channels: Sequence[Transcript], task: FlashTask) -> FlashBody:
    """Renders the transcripts of a recording's channels, from 0; words with times only guessed are left out."""
    sentences = [
        _sentence(words, channel, task)
        for channel, transcript in enumerate(channels)
        for words in sentences_of(transcript, task.sentence_max_length)
    ]
    # What is noticed of a file is noticed with every channel.
    warnings = dict.fromkeys([*(told for transcript in channels for told in transcript.warnings), *task.warnings])
    return FlashBody(
        task_id=task.id,
        flash_result=FlashResult(
            duration=_ms(max(transcript.duration_s for transcript in channels)),
            latency=_ms(task.latency_s),
            sentences=sorted(sentences, key=lambda sentence: (sentence.begin_time, sentence.channel_id)),
        ),
        warnings=list(warnings) or None,
    )


def _sentence(words: Sequence[Word], channel: int, task: FlashTask) -> FlashSentence:
    return FlashSentence(
        text=join_words(words),
        begin_time=_ms(words[0].start_s),
        end_time=_ms(words[-1].end_s),
        channel_id=channel,
        words=[_word(word) for word in words if word.timed] if task.with_words else None,
    )


def _word(word: Word) -> FlashWord:
    return FlashWord(text=word.text, begin_time=_ms(word.start_s), end_time=_ms(word.end_s), punc=word.punctuation)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
