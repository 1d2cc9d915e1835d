"""Renders jobs as DashScope's tasks, and transcripts as what their ``transcription_url`` opens.

Times of day are the cloud's, Beijing's; times in a recording are whole milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field

from service.domain import Transcript, Word, join_texts, join_words
from service.jobs.job import Failure, Job, Status, task_status
from service.protocols.dashscope.envelope import Answer, failure_code
from service.protocols.shared.sentences import sentences_in

TaskStatus = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED", "UNKNOWN"]
TIME_ZONE = timezone(timedelta(hours=8))

_STATUSES: dict[Status, TaskStatus] = {
    "queued": "PENDING",
    "running": "RUNNING",
    "completed": "SUCCEEDED",
    "failed": "FAILED",
    "cancelled": "CANCELED",
}
_T = TypeVar("_T")
_Omissible = Annotated[_T | None, Field(exclude_if=lambda value: value is None)]


@dataclass(frozen=True, slots=True)
class Shown:
    """Says how a job is shown, as its request has it.

    Attributes:
        model: What the client calls the model.
        is_single: Whether it is Qwen's form, of one file.
        with_words: Whether sentences have their words.
    """

    model: str = ""
    is_single: bool = False
    with_words: bool = True

    def to_details(self) -> dict[str, Any]:
        """Writes it down among a job's details."""
        return {"dashscope": asdict(self)}

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Shown:
        """Reads it from a job that another protocol may have brought."""
        return cls(**details.get("dashscope", {}))


class TaskFields(BaseModel):
    """Names a task and says where it stands."""

    task_id: str
    task_status: TaskStatus


class SubmittedBody(Answer):
    """Answers a submission."""

    output: TaskFields


class Result(BaseModel):
    """Says what has become of a file: ``transcription_url``, which needs no key and expires, or why there is none."""

    file_url: str
    subtask_status: TaskStatus
    transcription_url: _Omissible[str] = None
    code: _Omissible[str] = None
    message: _Omissible[str] = None


class SingleResult(BaseModel):
    """Says where the transcript of the only file is, in Qwen's form."""

    transcription_url: str


class TaskMetrics(BaseModel):
    """Counts files."""

    TOTAL: int
    SUCCEEDED: int
    FAILED: int


class TaskOutput(TaskFields):
    """Describes a task; an unknown one has a status alone. ``result`` is of Qwen's form, ``results`` of the other."""

    submit_time: _Omissible[str] = None
    scheduled_time: _Omissible[str] = None
    end_time: _Omissible[str] = None
    results: _Omissible[list[Result]] = None
    result: _Omissible[SingleResult] = None
    task_metrics: _Omissible[TaskMetrics] = None
    code: _Omissible[str] = None
    message: _Omissible[str] = None


class Usage(BaseModel):
    """Counts seconds of audio, as the one form and the other call them."""

    duration: _Omissible[int] = None
    seconds: _Omissible[int] = None


class TaskBody(Answer):
    """Answers a look at a task."""

    output: TaskOutput
    usage: _Omissible[Usage] = None


class ListedTask(BaseModel):
    """Describes a task in a list; times are milliseconds of the epoch."""

    task_id: str
    status: TaskStatus
    model_name: str
    gmt_create: int
    start_time: int | None
    end_time: int | None


class TaskList(Answer):
    """Holds a page of a key's tasks, the newest first."""

    data: list[ListedTask]
    page_no: int
    page_size: int
    total: int
    total_page: int


class WordBody(BaseModel):
    """Gives a word without its punctuation, and its times in ms from the start of the file."""

    begin_time: int
    end_time: int
    text: str
    punctuation: str


class Sentence(BaseModel):
    """Gives a sentence, its times in ms from the start of the file, and who says it, counted from 0."""

    sentence_id: int
    begin_time: int
    end_time: int
    text: str
    speaker_id: _Omissible[int] = None
    language: _Omissible[str] = None
    words: _Omissible[list[WordBody]] = None


class ChannelTranscript(BaseModel):
    """Says what is said in a channel; ``content_duration_in_milliseconds`` is without the silence."""

    channel_id: int
    content_duration_in_milliseconds: int
    text: str
    sentences: list[Sentence]


class Properties(BaseModel):
    """Describes the recording, and the channels that were recognised."""

    audio_format: str
    channels: list[int]
    original_sampling_rate: int
    original_duration_in_milliseconds: int


class TranscriptionBody(BaseModel):
    """Holds what was said in a file, channel by channel; ``warnings`` are ours."""

    file_url: str
    properties: Properties
    transcripts: list[ChannelTranscript]
    warnings: _Omissible[list[str]] = None


def submitted_body(task_id: str) -> SubmittedBody:
    """Tells that a task was accepted."""
    return SubmittedBody(output=TaskFields(task_id=task_id, task_status="PENDING"))


def unknown_body(task_id: str) -> TaskBody:
    """Tells that there is no such task, as the cloud does."""
    return TaskBody(output=TaskOutput(task_id=task_id, task_status="UNKNOWN"))


def task_body(task_id: str, jobs: Sequence[Job], url: Callable[[Job], str]) -> TaskBody:
    """Describes a task by its jobs; ``url`` makes the address of a completed one's transcript."""
    status = task_status(jobs)
    is_single = Shown.of(jobs[0].request.details).is_single
    begun = [job.started_at for job in jobs if job.started_at is not None]
    ended = [job.finished_at for job in jobs if job.finished_at is not None]
    completed = [job for job in jobs if job.status == "completed"]
    has_ended = len(ended) == len(jobs)
    output = TaskOutput(
        task_id=task_id,
        task_status=_STATUSES[status],
        submit_time=_time_of_day(jobs[0].created_at),
        scheduled_time=_time_of_day(min(begun)) if begun else None,
        end_time=_time_of_day(max(ended)) if has_ended else None,
        task_metrics=TaskMetrics(
            TOTAL=len(jobs), SUCCEEDED=len(completed), FAILED=sum(job.status == "failed" for job in jobs)
        ),
    )
    if is_single and completed:
        output.result = SingleResult(transcription_url=url(completed[0]))
    if not is_single and status != "queued":
        output.results = [_result(job, url) for job in jobs]
    if status == "failed":
        output.code, output.message = _told(next(job.failure for job in jobs if job.failure))
    seconds = sum(math.ceil(job.duration_s or 0) for job in completed)
    usage = Usage(seconds=seconds) if is_single else Usage(duration=seconds)
    return TaskBody(output=output, usage=usage if has_ended else None)


def task_list(tasks: Iterable[Sequence[Job]], *, page_no: int, page_size: int, total: int) -> TaskList:
    """Lists tasks by their jobs."""
    return TaskList(
        data=[_listed(jobs) for jobs in tasks],
        page_no=page_no,
        page_size=page_size,
        total=total,
        total_page=math.ceil(total / page_size),
    )


def transcription_body(job: Job, transcript: Transcript) -> TranscriptionBody:
    """Renders a completed job's transcript; words whose times were only guessed are left out."""
    channels = job.request.channels or (0,)
    shown = Shown.of(job.request.details)
    audio = transcript.audio
    return TranscriptionBody(
        file_url=_file_url(job),
        properties=Properties(
            audio_format=audio.codec if audio else "",
            channels=list(channels),
            original_sampling_rate=audio.rate_hz if audio else 0,
            original_duration_in_milliseconds=_ms(transcript.duration_s),
        ),
        transcripts=[_channel(channel, transcript, shown) for channel in channels],
        warnings=list(transcript.warnings) or None,
    )


def _channel(channel: int, transcript: Transcript, shown: Shown) -> ChannelTranscript:
    segments = [segment for segment in transcript.segments if (segment.channel or 0) == channel]
    speakers = {
        label: number for number, label in enumerate(dict.fromkeys(s.speaker.label for s in segments if s.speaker))
    }
    language = transcript.language if shown.is_single else None
    sentences = [
        Sentence(
            sentence_id=0,
            begin_time=_ms(words[0].start_s),
            end_time=_ms(words[-1].end_s),
            text=join_words(words),
            speaker_id=speakers[segment.speaker.label] if segment.speaker else None,
            language=language,
            words=[_word(word) for word in words if word.timed] if shown.with_words else None,
        )
        for segment in segments
        for words in sentences_in(segment)
    ]
    return ChannelTranscript(
        channel_id=channel,
        content_duration_in_milliseconds=sum(_ms(segment.end_s - segment.start_s) for segment in segments),
        text=join_texts(segment.text for segment in segments),
        sentences=[sentence.model_copy(update={"sentence_id": n}) for n, sentence in enumerate(sentences, start=1)],
    )


def _word(word: Word) -> WordBody:
    return WordBody(
        begin_time=_ms(word.start_s), end_time=_ms(word.end_s), text=word.text, punctuation=word.punctuation
    )


def _result(job: Job, url: Callable[[Job], str]) -> Result:
    result = Result(file_url=_file_url(job), subtask_status=_STATUSES[job.status])
    if job.status == "completed":
        result.transcription_url = url(job)
    if job.failure is not None:
        result.code, result.message = _told(job.failure)
    return result


def _told(failure: Failure) -> tuple[str, str]:
    return failure_code(failure.error()), failure.message


def _listed(jobs: Sequence[Job]) -> ListedTask:
    first = jobs[0]
    begun = [job.started_at for job in jobs if job.started_at is not None]
    ended = [job.finished_at for job in jobs if job.finished_at is not None]
    return ListedTask(
        task_id=first.task or first.id,
        status=_STATUSES[task_status(jobs)],
        model_name=Shown.of(first.request.details).model or first.request.options.model.id,
        gmt_create=_ms(first.created_at),
        start_time=_ms(min(begun)) if begun else None,
        end_time=_ms(max(ended)) if len(ended) == len(jobs) else None,
    )


def _file_url(job: Job) -> str:
    return job.request.audio_address or job.request.audio_name


def _time_of_day(moment: float) -> str:
    return datetime.fromtimestamp(moment, TIME_ZONE).isoformat(" ", "milliseconds").removesuffix("+08:00")


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
