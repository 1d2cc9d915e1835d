"""Renders jobs as Alibaba Cloud's file transcription tells them; times are whole milliseconds."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from service.domain import Level, Segment, Transcript, Word, join_words
from service.errors import ServiceError
from service.jobs.job import Failure, Job
from service.observability import request_id
from service.protocols.aliyun.rest_response import Omissible
from service.protocols.shared.sentences import sentences_in

_SUCCESS = 21050000
_RUNNING = 21050001
_QUEUEING = 21050002
_NO_SPEECH = 21050003
_NOT_DOWNLOADED = 41050002
_NO_AUDIO = 41050003
_TOO_LARGE = 41050004
_NOT_READ = 41050006
_SAMPLE_RATE = 41050008
_EXPIRED = 41050010
_BAD_FILE_LINK = 41050011
_BAD_CALLBACK = 41050012
_BAD_TASK = 41050013
_NO_APPKEY = 41050014
_NOT_FOUND = 41050024
_FORBIDDEN = 41050025
_FILE_SERVER = 41050026
_TOO_LONG = 41050103
_INTERNAL = 51050000

_TEXTS = {
    _SUCCESS: "SUCCESS",
    _RUNNING: "RUNNING",
    _QUEUEING: "QUEUEING",
    _NO_SPEECH: "SUCCESS_WITH_NO_VALID_FRAGMENT",
    _NOT_DOWNLOADED: "FILE_DOWNLOAD_FAILED",
    _NO_AUDIO: "FILE_CHECK_FAILED",
    _TOO_LARGE: "FILE_TOO_LARGE",
    _NOT_READ: "FILE_PARSE_FAILED",
    _SAMPLE_RATE: "UNSUPPORTED_SAMPLE_RATE",
    _EXPIRED: "FILE_TRANS_TASK_EXPIRED",
    _BAD_FILE_LINK: "REQUEST_INVALID_FILE_URL_VALUE",
    _BAD_CALLBACK: "REQUEST_INVALID_CALLBACK_VALUE",
    _BAD_TASK: "REQUEST_PARAMETER_INVALID",
    _NO_APPKEY: "REQUEST_EMPTY_APPKEY_VALUE",
    _NOT_FOUND: "FILE_404_NOT_FOUND",
    _FORBIDDEN: "FILE_403_FORBIDDEN",
    _FILE_SERVER: "FILE_SERVER_ERROR",
    _TOO_LONG: "AUDIO_DURATION_TOO_LONG",
    _INTERNAL: "INTERNAL_ERROR",
}
_REFUSALS = {"appkey": _NO_APPKEY, "file_link": _BAD_FILE_LINK, "callback_url": _BAD_CALLBACK}
_FAILURES = {
    "invalid_audio_address": _NOT_DOWNLOADED,
    "unsupported_audio": _NO_AUDIO,
    "unsupported_sample_rate": _SAMPLE_RATE,
}
_ANSWERED = {404: _NOT_FOUND, 403: _FORBIDDEN}
_FULL_SCALE_DB = 20 * math.log10(2**15)
_EMOTION_OF_UNKNOWN_LEVEL = 5.0


class TaskStatusBody(BaseModel):
    """Says how a task stands; ``TaskId`` is empty where there is none, ``Message`` and ``Warnings`` are ours."""

    TaskId: str
    RequestId: str
    StatusText: str
    StatusCode: int
    Message: Omissible[str] = None
    Warnings: Omissible[list[str]] = None


class TranscribedSentence(BaseModel):
    """Gives a sentence, its times in ms from the start of the file, and its channel; 0 where they are mixed.

    ``EmotionValue``, from 1 to 10, is how loud the speech around it is, in 10 dB; ``SilenceDuration`` is the pause
    before it in s; ``SpeechRate`` is in characters or words a minute; ``SpeakerId`` is there where speakers are told
    apart.
    """

    ChannelId: int = 0
    BeginTime: int
    EndTime: int
    Text: str
    EmotionValue: float
    SilenceDuration: int
    SpeechRate: int
    SpeakerId: Omissible[str] = None


class TranscribedWord(BaseModel):
    """Gives a word without its punctuation, its times in ms from the start of the file, and its channel."""

    Word: str
    BeginTime: int
    EndTime: int
    ChannelId: int = 0


class TranscriptionResult(BaseModel):
    """Holds the sentences in the order of their times, and their words where these were asked for."""

    Sentences: list[TranscribedSentence]
    Words: Omissible[list[TranscribedWord]] = None


class TaskResultBody(TaskStatusBody):
    """Answers GetTaskResult; ``BizDuration`` is the recording's length in ms, ``SolveTime`` its end in epoch ms."""

    BizDuration: int
    SolveTime: Omissible[int] = None
    Result: Omissible[TranscriptionResult] = None


def accepted_body(job: Job) -> TaskStatusBody:
    """Renders a task that has just been accepted."""
    return TaskStatusBody(**_status(job.id, _SUCCESS), Warnings=list(job.request.warnings) or None)


def refused_body(failure: ServiceError) -> TaskStatusBody:
    """Renders what is wrong with a task that is not accepted."""
    return TaskStatusBody(**_status("", _REFUSALS.get(failure.param or "", _BAD_TASK)), Message=failure.message)


def expired_body(task_id: str, failure: ServiceError) -> TaskResultBody:
    """Renders a task that is not there, or not there for this caller."""
    return TaskResultBody(**_status(task_id, _EXPIRED), Message=failure.message, BizDuration=0)


def result_body(job: Job, transcript: Transcript | None) -> TaskResultBody:
    """Renders a job of any protocol; a completed one with its transcript."""
    code, message = _outcome(job, transcript)
    warnings = transcript.warnings if transcript else job.request.warnings
    return TaskResultBody(
        **_status(job.id, code),
        Message=message,
        Warnings=list(warnings) or None,
        BizDuration=_ms(transcript.duration_s if transcript else job.duration_s or 0.0),
        SolveTime=_ms(job.finished_at) if job.finished_at is not None else None,
        Result=_result(transcript, job.request.details) if transcript else None,
    )


def callback_body(job: Job, transcript: Transcript | None) -> dict[str, Any]:
    """Renders what the callback of a task is told."""
    return {**result_body(job, transcript).model_dump(mode="json"), "RequestTime": _ms(job.created_at)}


def _status(task_id: str, code: int) -> dict[str, Any]:
    return {"TaskId": task_id, "RequestId": request_id.get(), "StatusText": _TEXTS[code], "StatusCode": code}


def _outcome(job: Job, transcript: Transcript | None) -> tuple[int, str | None]:
    """Returns the code of how a job stands, and what there is to say of it."""
    if transcript is not None:
        return _SUCCESS if transcript.segments else _NO_SPEECH, None
    if job.failure is not None:
        return _failure_code(job, job.failure), job.failure.message
    if job.status == "cancelled":
        return _EXPIRED, "The task was cancelled."
    return _QUEUEING if job.status == "queued" else _RUNNING, None


def _failure_code(job: Job, failure: Failure) -> int:
    if failure.answered is not None and (failure.answered >= 500 or failure.answered in _ANSWERED):
        return _ANSWERED.get(failure.answered, _FILE_SERVER)
    if failure.code == "audio_too_large":
        return _TOO_LONG if job.audio_bytes else _TOO_LARGE  # it came whole, or not at all
    if failure.status >= 500:
        return _INTERNAL
    return _FAILURES.get(failure.code, _NOT_READ)


def _result(transcript: Transcript, details: Mapping[str, Any]) -> TranscriptionResult:
    """Renders what a task asked for; of another protocol's job every sentence is told, and no words."""
    segments = [_within(segment, details.get("valid_times", ())) for segment in transcript.segments]
    words = [_word(word, segment.channel) for segment in segments for word in segment.words if word.timed]
    return TranscriptionResult(
        Sentences=list(_sentences(segments, transcript.levels, details.get("sentence_max_length"))),
        Words=words if details.get("enable_words") else None,
    )


def _within(segment: Segment, times_ms: Sequence[Sequence[int]]) -> Segment:
    """Leaves out the words whose middle lies in none of the stretches, if there are any."""
    if not times_ms:
        return segment

    def is_told(word: Word) -> bool:
        return any(begin <= 500 * (word.start_s + word.end_s) <= end for begin, end in times_ms)

    return replace(segment, words=tuple(word for word in segment.words if is_told(word)))


def _sentences(
    segments: Sequence[Segment], levels: Sequence[Level], max_length: int | None
) -> Iterator[TranscribedSentence]:
    silent_since_s = 0.0
    for segment in segments:
        for words in sentences_in(segment, max_length):
            yield _sentence(words, segment, words[0].start_s - silent_since_s, _emotion(words, levels))
            silent_since_s = words[-1].end_s


def _sentence(words: Sequence[Word], segment: Segment, silence_s: float, emotion: float) -> TranscribedSentence:
    speaker = segment.speaker
    minutes = (words[-1].end_s - words[0].start_s) / 60
    return TranscribedSentence(
        ChannelId=segment.channel or 0,
        BeginTime=_ms(words[0].start_s),
        EndTime=_ms(words[-1].end_s),
        Text=join_words(words),
        EmotionValue=emotion,
        SilenceDuration=max(0, round(silence_s)),
        SpeechRate=round(len(words) / minutes) if minutes > 0 else 0,
        SpeakerId=str(speaker.number or speaker.label) if speaker else None,
    )


def _emotion(words: Sequence[Word], levels: Sequence[Level]) -> float:
    """Returns a tenth of the level, in dB over the smallest sample, of the utterance that a sentence is in."""
    if not levels:
        return _EMOTION_OF_UNKNOWN_LEVEL
    middle_s = (words[0].start_s + words[-1].end_s) / 2
    found = levels[max(0, bisect_right(levels, middle_s, key=lambda level: level.start_s) - 1)]
    return round(min(max((found.dbfs + _FULL_SCALE_DB) / 10, 1.0), 10.0), 1)


def _word(word: Word, channel: int | None) -> TranscribedWord:
    return TranscribedWord(Word=word.text, BeginTime=_ms(word.start_s), EndTime=_ms(word.end_s), ChannelId=channel or 0)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
