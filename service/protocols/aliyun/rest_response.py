"""Renders transcripts and failures as Alibaba Cloud's REST bodies.

Times are seconds from the start of the file. The models are what the OpenAPI document describes; a field that a body
leaves out is absent, never null.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, Field

from service.domain import Segment, Transcript, Word
from service.errors import ServiceError

StatusStyle = Literal["http", "cloud"]

CLIENT_ERROR = 40000000
INVALID_MESSAGE = 40000002
INVALID_PARAMETER = 40000003
SERVER_ERROR = 50000000

CLOUD_SUCCESS: Final = 20000000
_SUCCESS: dict[StatusStyle, int] = {"http": 200, "cloud": CLOUD_SUCCESS}
_CODES = {
    "upload_stalled": 40000004,
    "idle": 40000004,
    "invalid_api_key": 40000001,
    "queue_full": 40000005,
    "unsupported_audio": 40000009,
    "unknown_directive": 40010003,
    "client_disconnected": 40010004,
    "wrong_state": 40010005,
    "unsupported_sample_rate": 41010101,
    # These can have a `param`, which would make them a wrong parameter.
    "audio_too_large": CLIENT_ERROR,
}

_T = TypeVar("_T")
Omissible = Annotated[_T | None, Field(exclude_if=lambda value: value is None)]


class WordToken(BaseModel):
    """Gives a word without its punctuation, and its times in seconds from the start of the file."""

    text: str
    start_time: float
    end_time: float


class RecognizedSegment(BaseModel):
    """Says what was said from ``start_time`` to ``end_time``, in seconds from the start of the file.

    ``speaker_id`` is empty where speakers are not told apart.
    """

    text: str
    start_time: float
    end_time: float
    speaker_id: str
    word_tokens: Omissible[list[WordToken]] = None


class TaskBody(BaseModel):
    """Names the task that a body is about."""

    task_id: str


class RecognitionBody(TaskBody):
    """Holds a finished recognition.

    ``status`` is 200, or 20000000 with ALIYUN_STATUS_STYLE=cloud; ``result`` is the segments' texts, one per line;
    ``duration`` and ``processing_time`` are seconds. ``warnings`` are ours.
    """

    status: int
    message: Literal["SUCCESS"] = "SUCCESS"
    result: str
    duration: float
    processing_time: float
    segments: list[RecognizedSegment]
    warnings: Omissible[list[str]] = None


class FailureBody(TaskBody):
    """Tells a failure; its HTTP status is the true one, ``status`` is Alibaba Cloud's code."""

    status: int
    message: str
    result: Literal[""] = ""


@dataclass(frozen=True, slots=True)
class Task:
    """Holds what a body says beyond the transcript.

    Attributes:
        id: The body's ``task_id``.
        processing_s: How long recognition took.
        status_style: How a success is told: 200, or as the cloud does.
        word_tokens: Whether segments have their words with times.
    """

    id: str
    processing_s: float
    status_style: StatusStyle
    word_tokens: bool


def recognition_body(transcript: Transcript, task: Task) -> RecognitionBody:
    """Renders a transcript; words whose times were only guessed are left out of ``word_tokens``."""
    return RecognitionBody(
        task_id=task.id,
        status=_SUCCESS[task.status_style],
        result="\n".join(segment.text for segment in transcript.segments),
        duration=_seconds(transcript.duration_s),
        processing_time=_seconds(task.processing_s),
        segments=[_segment(segment, task.word_tokens) for segment in transcript.segments],
        warnings=list(transcript.warnings) or None,
    )


def failure_body(failure: ServiceError, task_id: str) -> FailureBody:
    """Renders a failure, with Alibaba Cloud's code for it."""
    return FailureBody(task_id=task_id, status=failure_code(failure), message=failure.message)


def failure_code(failure: ServiceError) -> int:
    """Returns Alibaba Cloud's code for a failure, next to its HTTP status."""
    if failure.status >= 500:
        return SERVER_ERROR
    if failure.code in _CODES:
        return _CODES[failure.code]
    if failure.param is not None:
        return INVALID_PARAMETER
    return INVALID_MESSAGE if failure.status == 400 else CLIENT_ERROR


def _segment(segment: Segment, with_words: bool) -> RecognizedSegment:
    return RecognizedSegment(
        text=segment.text,
        start_time=_seconds(segment.start_s),
        end_time=_seconds(segment.end_s),
        speaker_id=_speaker_id(segment),
        word_tokens=_word_tokens(segment.words) if with_words else None,
    )


def _speaker_id(segment: Segment) -> str:
    """Returns always a string: typed clients expect the field, and an empty one reads as "nobody" everywhere."""
    return segment.speaker.label if segment.speaker else ""


def _word_tokens(words: Iterable[Word]) -> list[WordToken]:
    return [
        WordToken(text=word.text, start_time=_seconds(word.start_s), end_time=_seconds(word.end_s))
        for word in words
        if word.timed
    ]


def _seconds(seconds: float) -> float:
    return round(seconds, 3)
