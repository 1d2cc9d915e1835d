"""Speaks our own API of jobs: /v1/audio/jobs, recordings that nobody waits for on an open connection."""

from __future__ import annotations

import asyncio
import hashlib
import json
import mimetypes
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import IO, Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.responses import StreamingResponse

from service.auth import caller
from service.errors import InvalidRequest
from service.intake.uploads import Fields, receive_form, receive_small_body
from service.jobs.corrections import corrected
from service.jobs.job import Event, Job, JobRequest
from service.jobs.jobs import Arrived, Jobs
from service.protocols.openai import transcriptions_response as bodies
from service.protocols.openai.event_stream import EventStream, NamedEvent
from service.protocols.openai.jobs_request import (
    LONGEST_LABEL,
    Correction,
    JobForm,
    Shown,
    resolve_job,
    split_addresses,
)
from service.protocols.openai.jobs_response import ForgottenJob, JobBody, JobList, job_body
from service.protocols.openai.speaker_references import known_speakers
from service.protocols.openai.transcriptions import rendered, warning_headers
from service.protocols.openai.transcriptions_request import FIELD_LIMITS
from service.protocols.shared.fields import failures, field_schemas
from service.protocols.shared.names import loaded_model
from service.serving import counted, serving_of

LABEL = "openai_jobs"
router = APIRouter(prefix="/v1/audio/jobs", tags=["Jobs"], responses=failures(bodies.ErrorBody, 401, 404, 503))

_LONGEST_IDEMPOTENCY_KEY = 200
_BLOCK_BYTES = 1 << 18
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def _jobs(request: Request) -> Jobs:
    return serving_of(request).jobs


_Jobs = Annotated[Jobs, Depends(_jobs)]
_Caller = Annotated[str, Depends(caller)]
# Documented, not checked: what is no id is no job.
_Id = Annotated[str, Path(json_schema_extra={"pattern": "^job_[0-9a-f]{32}$"})]


async def describe_end(jobs: Jobs, job: Job) -> dict[str, Any]:
    """Describes a job that has ended, as it can be looked up."""
    return (await _body(jobs, job)).model_dump(mode="json")


async def _body(jobs: Jobs, job: Job) -> JobBody:
    return job_body(job, await jobs.position(job) if job.status == "queued" else None)


def _form_schema() -> dict[str, Any]:
    file = {"type": "string", "format": "binary", "description": "The audio, in any format that ffmpeg reads."}
    return {"type": "object", "properties": {"file": file, **field_schemas(JobForm)}}


@router.post(
    "",
    status_code=202,
    summary="Submit a recording, or several",
    response_model=JobBody | JobList,
    responses=failures(bodies.ErrorBody, 400, 408, 409, 413, 429, 507),
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _form_schema()}}}},
)
async def create_job(request: Request, jobs: _Jobs, key: _Caller) -> Response:
    """Give the audio as `file`, as `upload`, or as one `audio_address` or several.

    `202` means that the job survives a crash or a restart. With an `Idempotency-Key` header the same request gives the
    same job.
    """
    serving = serving_of(request)
    with counted(LABEL), serving.uploads.admit(), ExitStack() as files:
        await jobs.check_room(key, int(request.headers.get("content-length", 0)))
        file: IO[bytes] = files.enter_context(jobs.arriving())

        def check_early(fields: Fields) -> None:
            loaded_model(JobForm.from_fields(split_addresses(fields)[0]).model, serving.settings.enabled_models)

        received = await receive_form(
            request,
            file,
            max_file_bytes=serving.settings.max_audio_size,
            known_fields=JobForm.model_fields,
            field_limits=FIELD_LIMITS,
            on_file=check_early,
        )
        fields, addresses = split_addresses(received.fields)
        form = JobForm.from_fields(fields)
        wanted, asked = resolve_job(form, fields, serving.settings.enabled_models)
        has_file = received.file_name is not None and (received.file_bytes > 0 or not (addresses or form.upload))
        if (has_file, bool(addresses), bool(form.upload)).count(True) != 1:
            raise InvalidRequest("Send one of `file`, `upload` and `audio_address`.", param="file")
        if wanted.options.diarization and asked.speaker_references:
            known = await known_speakers(asked.speaker_references)
            diarization = replace(wanted.options.diarization, known_speakers=known)
            wanted = replace(wanted, options=replace(wanted.options, diarization=diarization))
        wanted = replace(wanted, audio_name=received.file_name or "")
        arrived = _arrived(wanted, addresses, form.upload, file)
        idempotency = await _idempotency(request, received.fields, file)
        accepted = await jobs.submit(key, arrived, idempotency=idempotency, is_task=len(addresses) > 1)
    told = [await _body(jobs, job) for job in accepted]
    body: JobBody | JobList = told[0] if len(addresses) <= 1 else JobList(data=told)
    headers = {"Location": f"{request.url.path.rstrip('/')}/{accepted[0].id}"} if len(accepted) == 1 else {}
    return Response(body.model_dump_json(), 202, headers, "application/json")


def _arrived(wanted: JobRequest, addresses: Sequence[str], upload: str, file: IO[bytes]) -> list[Arrived]:
    if upload:
        return [Arrived(wanted, upload=upload)]
    if not addresses:
        return [Arrived(wanted, file)]
    return [Arrived(replace(wanted, audio_address=address)) for address in addresses]


async def _idempotency(request: Request, fields: Fields, file: IO[bytes]) -> tuple[str, str] | None:
    """Returns the client's key and a digest of what it stands for; None without one."""
    name = request.headers.get("idempotency-key", "").strip()
    if not name:
        return None
    if len(name) > _LONGEST_IDEMPOTENCY_KEY:
        raise InvalidRequest(f"`Idempotency-Key` is longer than {_LONGEST_IDEMPOTENCY_KEY} characters.")

    def digest() -> str:
        file.flush()
        told = hashlib.sha256()
        with open(file.name, "rb") as content:
            while block := content.read(_BLOCK_BYTES):
                told.update(block)
        told.update(json.dumps(sorted(fields.items()), ensure_ascii=False).encode())
        return told.hexdigest()

    return name, await asyncio.to_thread(digest)


@router.get("", summary="List jobs, the newest first")
async def list_jobs(
    jobs: _Jobs,
    key: _Caller,
    status: Literal["queued", "running", "completed", "failed", "cancelled"] | None = None,
    label: Annotated[str | None, Query(max_length=LONGEST_LABEL)] = None,
    task: Annotated[str | None, Query(max_length=100, description="Of several submitted in one request.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str | None, Query(max_length=100, description="The last job of the page before.")] = None,
) -> JobList:
    """Only the key's own jobs are listed."""
    if task is not None:
        return JobList(data=[await _body(jobs, job) for job in await jobs.task(key, task)])
    found = await jobs.page(key, status=status, label=label, limit=limit + 1, after=after)
    return JobList(data=[await _body(jobs, job) for job in found[:limit]], has_more=len(found) > limit)


@router.get("/{job_id}", summary="Look up a job")
async def retrieve_job(jobs: _Jobs, key: _Caller, job_id: _Id) -> JobBody:
    """Tells how far a job has come."""
    return await _body(jobs, await jobs.find(key, job_id))


@router.delete("/{job_id}", summary="Cancel or forget a job", response_model=JobBody | ForgottenJob)
async def delete_job(jobs: _Jobs, key: _Caller, job_id: _Id) -> JobBody | ForgottenJob:
    """Cancels a job that is not finished; of a finished one nothing is kept, neither text nor audio."""
    job = await jobs.find(key, job_id)
    if not job.is_finished:
        return await _body(jobs, await jobs.cancel(key, job_id))
    await jobs.forget(key, job_id)
    return ForgottenJob(id=job_id)


_FORMAT = Query(
    description="`json`, `text`, `srt`, `vtt`, `verbose_json` or `diarized_json`; absent: as the job was submitted."
)


@router.get(
    "/{job_id}/transcript",
    summary="Read a transcript",
    response_model=bodies.VerboseTranscriptionBody | bodies.DiarizedTranscriptionBody | bodies.TranscriptionBody,
    responses=failures(bodies.ErrorBody, 400),
)
async def read_transcript(
    jobs: _Jobs,
    key: _Caller,
    job_id: _Id,
    response_format: Annotated[str, _FORMAT] = "",
    original: Annotated[bool, Query(description="As it was recognised, without corrections.")] = False,
) -> Response:
    """While a job is running: what there is so far, with `"partial": true` (and a header `X-Partial: true`)."""
    job = await jobs.find(key, job_id)
    shown = Shown.named(response_format.strip().lower()) if response_format else Shown.of(job.request.details)
    transcript = await jobs.transcript(job, original=original)
    content, media_type = await asyncio.to_thread(rendered, transcript, shown)
    headers = warning_headers(transcript.warnings)
    if job.status != "completed":
        headers["X-Partial"] = "true"
        if media_type == "application/json":
            content = json.dumps({**json.loads(content), "partial": True}, ensure_ascii=False)
    return Response(content, headers=headers, media_type=media_type)


@router.patch(
    "/{job_id}/transcript",
    summary="Correct a transcript",
    responses=failures(bodies.ErrorBody, 400, 408),
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": Correction.model_json_schema()}}}
    },
)
async def correct_transcript(request: Request, jobs: _Jobs, key: _Caller, job_id: _Id) -> JobBody:
    """Renames speakers everywhere and replaces the text of segments; its words are spread over their time."""
    job = await jobs.find(key, job_id)
    correction = Correction.from_body(await receive_small_body(request))
    texts = {one.id: one.text for one in correction.segments}
    await jobs.correct(job, lambda transcript: corrected(transcript, correction.speakers, texts))
    return await _body(jobs, job)


@router.get("/{job_id}/events", summary="Follow a job", responses=failures(bodies.ErrorBody, 400))
async def follow_job(request: Request, jobs: _Jobs, key: _Caller, job_id: _Id) -> Response:
    """Sends server-sent events `status`, `progress`, `segment` and `done`; `Last-Event-ID` resumes after that one."""
    last = request.headers.get("last-event-id") or request.query_params.get("last_event_id") or "0"
    if not (last.isascii() and last.isdigit() and len(last) < 10):
        raise InvalidRequest("`Last-Event-ID` must be the id of an event.", param="last_event_id")
    job = await jobs.find(key, job_id)
    return EventStream(_told(jobs, job, int(last)), {})


async def _told(jobs: Jobs, job: Job, after: int) -> AsyncGenerator[NamedEvent, None]:
    number = after
    async for event in jobs.events(job, after):
        number = event.number
        yield NamedEvent(event.number, event.kind, _shown(event))
    job = await jobs.find(job.key, job.id)
    if number <= await jobs.last_event(job):  # else `done` was told before
        yield NamedEvent(number + 1, "done", job_body(job).model_dump_json())


def _shown(event: Event) -> str:
    if event.kind != "segment":
        return event.data
    segment = json.loads(event.data)
    return json.dumps(
        {"id": segment["index"], "start": segment["start_s"], "end": segment["end_s"], "text": segment["text"]},
        ensure_ascii=False,
    )


@router.get("/{job_id}/audio", summary="Hear the recording", response_model=None)
async def hear_job(request: Request, jobs: _Jobs, key: _Caller, job_id: _Id) -> Response:
    """Answers range requests; the recording is kept as long as the job."""
    job = await jobs.find(key, job_id)
    content = await asyncio.to_thread(jobs.audio, job)
    size = job.audio_bytes
    start, end, status = _range(request.headers.get("range", ""), size)
    name = job.request.audio_name or job.id
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(end - start),
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name, safe='')}",
        "X-Content-Type-Options": "nosniff",
    }
    if status != 200:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}" if status == 206 else f"bytes */{size}"
    kind = mimetypes.guess_type(name)[0] or ""
    media_type = kind if kind.startswith(("audio/", "video/")) else "application/octet-stream"
    return StreamingResponse(_blocks(content, start, end), status, headers, media_type)


def _range(header: str, size: int) -> tuple[int, int, int]:
    """Returns (first byte, end, status) of the part that is asked for; all of it where that can't be read."""
    found = _RANGE.fullmatch(header.replace(" ", ""))
    if found is None or not any(found.groups()):
        return 0, size, 200
    first, last = (int(text) if text else None for text in found.groups())
    start = max(0, size - (last or 0)) if first is None else first
    end = size if first is None or last is None else min(size, last + 1)
    return (start, end, 206) if start < end else (0, 0, 416)


async def _blocks(content: Any, start: int, end: int) -> AsyncGenerator[bytes, None]:
    with content:
        await asyncio.to_thread(content.seek, start)
        while start < end and (block := await asyncio.to_thread(content.read, min(_BLOCK_BYTES, end - start))):
            start += len(block)
            yield block
