"""Renders jobs and their events, in the manner of OpenAI's objects."""

from __future__ import annotations

import time
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field

from service.jobs.job import Failure, Job, Status
from service.protocols.openai.transcriptions_response import ErrorDetail, error_body

_T = TypeVar("_T")
_Omissible = Annotated[_T | None, Field(exclude_if=lambda value: value is None)]


class JobUsage(BaseModel):
    """Says what a job is measured by: seconds of audio, and of the recogniser's processors as far as that is known."""

    seconds: float
    cpu_seconds: float


class JobBody(BaseModel):
    """Describes a job; times are seconds of the epoch.

    ``progress`` is recognised audio over duration; ``position`` counts the queued jobs of the same key that come
    before it, itself included.
    """

    id: str
    object: Literal["audio.job"] = "audio.job"
    status: Status
    created_at: int
    started_at: int | None
    finished_at: int | None
    expires_at: int | None
    model: str
    label: str
    priority: Literal["batch", "interactive"]
    task: _Omissible[str] = None
    audio_address: _Omissible[str] = None
    file_name: _Omissible[str] = None
    duration: float | None
    progress: float
    position: _Omissible[int] = None
    eta_s: float | None
    segments: int
    error: ErrorDetail | None
    usage: JobUsage
    warnings: _Omissible[list[str]] = None


class JobList(BaseModel):
    """Lists jobs: the newest first, or those of one request in its order."""

    object: Literal["list"] = "list"
    data: list[JobBody]
    has_more: bool = False


class ForgottenJob(BaseModel):
    """Says that nothing is kept of a job any more."""

    id: str
    object: Literal["audio.job"] = "audio.job"
    deleted: Literal[True] = True


def job_body(job: Job, position: int | None = None) -> JobBody:
    """Describes a job; ``position`` is that of a queued one."""
    request = job.request
    recognised_s = job.progress * job.duration_s if job.duration_s else 0.0
    return JobBody(
        id=job.id,
        status=job.status,
        created_at=int(job.created_at),
        started_at=_second(job.started_at),
        finished_at=_second(job.finished_at),
        expires_at=_second(job.expires_at),
        model=request.options.model.id,
        label=request.label,
        priority="interactive" if request.interactive else "batch",
        task=job.task or None,
        audio_address=request.audio_address or None,
        file_name=request.audio_name or None,
        duration=round(job.duration_s, 3) if job.duration_s is not None else None,
        progress=job.progress,
        position=position if job.status == "queued" else None,
        eta_s=_eta_s(job),
        segments=job.segments,
        error=_error(job.failure),
        usage=JobUsage(seconds=round(recognised_s, 3), cpu_seconds=round(job.cpu_s, 3)),
        warnings=list(request.warnings) or None,
    )


def _eta_s(job: Job) -> float | None:
    if job.status != "running" or job.started_at is None or job.progress <= 0:
        return None
    elapsed_s = max(0.0, time.time() - job.started_at)
    return round(elapsed_s * (1 - job.progress) / job.progress, 1)


def _error(failure: Failure | None) -> ErrorDetail | None:
    return error_body(failure.error()).error if failure else None


def _second(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
