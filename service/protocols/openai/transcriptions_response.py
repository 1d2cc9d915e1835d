"""Renders transcripts and failures as the OpenAI Audio API's bodies: json, verbose_json, streamed events.

The models are what the OpenAPI document describes and what the official SDKs parse; a field that a
body leaves out is absent from the JSON, never null. The plain ``text`` format is ``Transcript.text``.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field
from starlette.responses import Response

from service.domain import Segment, Speaker, Transcript, Word, join_texts, join_words
from service.errors import ServiceError, UndecodableAudio

Granularity = Literal["word", "segment"]

_T = TypeVar("_T")
_Omissible = Annotated[_T | None, Field(exclude_if=lambda value: value is None)]


class Usage(BaseModel):
    """Says what a request is measured by: the recording's duration, rounded up to whole seconds as OpenAI does."""

    type: Literal["duration"] = "duration"
    seconds: int


class TokenLogprob(BaseModel):
    """Gives a recognised word without its punctuation, its UTF-8 bytes, and the natural log of its probability."""

    token: str
    bytes: list[int]
    logprob: float


class SpokenLanguage(BaseModel):
    """Names a language by its code, such as ``zh``."""

    code: str


class TranscriptionBody(BaseModel):
    """Answers ``response_format=json``; ``languages`` is empty where it is not known what was spoken."""

    text: str
    languages: list[SpokenLanguage]
    usage: Usage
    logprobs: _Omissible[list[TokenLogprob]] = None
    warnings: _Omissible[list[str]] = None


class TimedWord(BaseModel):
    """Gives a word without its punctuation; times are seconds from the start of the file."""

    word: str
    start: float
    end: float


class VerboseSegment(BaseModel):
    """Describes a segment as Whisper does; ``speaker`` and ``words`` are ours.

    ``start`` and ``end`` are seconds from the start of the file; ``seek`` is the segment's start in Whisper's frames
    of 10 ms; ``avg_logprob`` is per token, 0 if unknown.
    """

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float = 0.0
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float = 0.0
    speaker: _Omissible[str] = None
    words: _Omissible[list[TimedWord]] = None


class VerboseTranscriptionBody(BaseModel):
    """Answers ``response_format=verbose_json``; ``language`` is a code such as ``zh``, as in the request."""

    task: Literal["transcribe"] = "transcribe"
    language: str
    duration: float
    text: str
    segments: _Omissible[list[VerboseSegment]] = None
    words: _Omissible[list[TimedWord]] = None
    usage: Usage
    warnings: _Omissible[list[str]] = None


class DiarizedSegment(BaseModel):
    """Tells what one speaker says, also as an event; ``speaker`` is a known one's name, or A, B, … by appearance."""

    type: Literal["transcript.text.segment"] = "transcript.text.segment"
    id: str
    start: float
    end: float
    speaker: str
    text: str


class DiarizedTranscriptionBody(BaseModel):
    """Answers ``response_format=diarized_json``."""

    task: Literal["transcribe"] = "transcribe"
    duration: float
    text: str
    segments: list[DiarizedSegment]
    usage: Usage
    warnings: _Omissible[list[str]] = None


class TextDeltaEvent(BaseModel):
    """Tells the text that a settled sentence adds to what was sent before."""

    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    delta: str
    logprobs: _Omissible[list[TokenLogprob]] = None


class TextDoneEvent(BaseModel):
    """Ends a stream, with the whole text; it has no ``usage``: the SDK's type knows only token counts here."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    text: str
    languages: list[SpokenLanguage]
    logprobs: _Omissible[list[TokenLogprob]] = None
    warnings: _Omissible[list[str]] = None


class ErrorDetail(BaseModel):
    """Says what was wrong and what would be right; ``param`` is the field at fault, ``code`` a name for programs."""

    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(BaseModel):
    """Tells a failure, as an answer and as an event in the middle of a stream."""

    error: ErrorDetail


def json_body(transcript: Transcript, *, logprobs: bool = False) -> TranscriptionBody:
    """Renders the text, with the words' log probabilities if asked for."""
    return TranscriptionBody(
        text=transcript.text,
        languages=spoken_languages([transcript.language]),
        usage=_usage(transcript),
        logprobs=word_logprobs(_words(transcript)) if logprobs else None,
        warnings=_warnings(transcript),
    )


def verbose_json_body(transcript: Transcript, granularities: Collection[Granularity]) -> VerboseTranscriptionBody:
    """Renders ``segments`` and ``words`` as far as asked for; segments hold their words too when both are."""
    with_words = "word" in granularities
    return VerboseTranscriptionBody(
        language=transcript.language,
        duration=_seconds(transcript.duration_s),
        text=transcript.text,
        segments=[_segment(s, with_words) for s in transcript.segments] if "segment" in granularities else None,
        words=_timed(_words(transcript)) if with_words else None,
        usage=_usage(transcript),
        warnings=_warnings(transcript),
    )


def diarized_json_body(transcript: Transcript) -> DiarizedTranscriptionBody:
    """Renders the text, and who says what of it."""
    return DiarizedTranscriptionBody(
        duration=_seconds(transcript.duration_s),
        text=transcript.text,
        segments=diarized_segments(transcript),
        usage=_usage(transcript),
        warnings=_warnings(transcript),
    )


def diarized_segments(transcript: Transcript) -> list[DiarizedSegment]:
    """Renders the segments with their speakers; of a stream, the events that tell them."""
    return [
        DiarizedSegment(
            id=f"seg_{segment.index}",
            start=_seconds(segment.start_s),
            end=_seconds(segment.end_s),
            speaker=_lettered(segment.speaker),
            text=segment.text,
        )
        for segment in transcript.segments
    ]


def _lettered(speaker: Speaker | None) -> str:
    """Returns a known speaker's name; A, B, … for the others."""
    if speaker is None:
        return ""
    return speaker.label if speaker.number is None else _letters(speaker.number - 1)


def _letters(number: int) -> str:
    """Returns A to Z for 0 to 25, then AA, AB, …, as spreadsheets name columns."""
    return (_letters(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def delta_event(sent: str, words: Sequence[Word], *, logprobs: bool = False) -> TextDeltaEvent:
    """Renders the words of the next sentence; the deltas joined without anything between are ``Transcript.text``.

    ``sent`` is the text of all deltas so far: whether a space comes first depends on how it ends.
    """
    before = sent[-1:]
    return TextDeltaEvent(
        delta=join_texts([before, join_words(words)])[len(before) :],
        logprobs=word_logprobs(words) if logprobs else None,
    )


def done_event(transcript: Transcript, *, logprobs: bool = False) -> TextDoneEvent:
    """Renders the end of a stream, with the words' log probabilities if asked for."""
    return TextDoneEvent(
        text=transcript.text,
        languages=spoken_languages([transcript.language]),
        logprobs=word_logprobs(_words(transcript)) if logprobs else None,
        warnings=_warnings(transcript),
    )


def error_body(failure: ServiceError) -> ErrorBody:
    """Renders a failure; its ``type`` follows from the status."""
    if failure.status == 429:
        kind = "rate_limit_error"
    elif failure.status < 500:
        kind = "invalid_request_error"
    else:
        kind = "server_error"
    return ErrorBody(
        error=ErrorDetail(message=failure.message, type=kind, param=failure.param, code=failure.code),
    )


def error_response(failure: ServiceError) -> Response:
    """Makes the response that tells a failure, on every path of the API.

    Its status is the failure's, but that of what is no audio: OpenAI's SDKs know it as a bad request.
    """
    status = 400 if failure.status == UndecodableAudio.status else failure.status
    return Response(error_body(failure).model_dump_json(), status, media_type="application/json")


def spoken_languages(codes: Iterable[str]) -> list[SpokenLanguage]:
    """Lists each of the languages that are known once, in their order; "" is none."""
    return [SpokenLanguage(code=code) for code in dict.fromkeys(codes) if code]


def _segment(segment: Segment, with_words: bool) -> VerboseSegment:
    return VerboseSegment(
        id=segment.index,
        seek=round(segment.start_s * 100),
        start=_seconds(segment.start_s),
        end=_seconds(segment.end_s),
        text=segment.text,
        tokens=[token for word in segment.words for token in word.token_ids],
        avg_logprob=_average_logprob(segment.words),
        compression_ratio=_compression_ratio(segment.text),
        speaker=segment.speaker.label if segment.speaker else None,
        words=_timed(segment.words) if with_words else None,
    )


def _average_logprob(words: Iterable[Word]) -> float:
    """Averages per token, over the words whose probability is known; a word without tokens counts as one."""
    known = [(word.logprob, max(len(word.token_ids), 1)) for word in words if word.logprob is not None]
    return sum(logprob for logprob, _ in known) / sum(count for _, count in known) if known else 0.0


def _compression_ratio(text: str) -> float:
    """Computes it as Whisper does (openai/whisper, utils.py): above 2.4 the text repeats itself suspiciously."""
    utf8 = text.encode()
    return len(utf8) / len(zlib.compress(utf8))


def word_logprobs(words: Iterable[Word]) -> list[TokenLogprob]:
    """Renders the words' log probabilities; a word whose probability is unknown has no entry."""
    return [
        TokenLogprob(token=word.text, bytes=list(word.text.encode()), logprob=word.logprob)
        for word in words
        if word.logprob is not None
    ]


def _timed(words: Iterable[Word]) -> list[TimedWord]:
    """Renders the words' times; those that were only guessed are left out, as ``Transcript.warnings`` tells."""
    return [
        TimedWord(word=word.text, start=_seconds(word.start_s), end=_seconds(word.end_s))
        for word in words
        if word.timed
    ]


def _words(transcript: Transcript) -> Iterable[Word]:
    return (word for segment in transcript.segments for word in segment.words)


def _usage(transcript: Transcript) -> Usage:
    return Usage(seconds=math.ceil(_seconds(transcript.duration_s)))


def _warnings(transcript: Transcript) -> list[str] | None:
    return list(transcript.warnings) or None


def _seconds(seconds: float) -> float:
    return round(seconds, 3)
