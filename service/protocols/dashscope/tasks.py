"""Speaks DashScope's asynchronous transcription: a task is submitted, looked at, cancelled, and its results opened."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel

from service.auth import caller
from service.errors import InvalidRequest, NotFound, ServiceError
from service.intake.uploads import receive_small_body
from service.jobs.job import Job
from service.jobs.jobs import Arrived, Jobs
from service.protocols.dashscope.envelope import Answer, RefusalBody
from service.protocols.dashscope.tasks_request import body_schema, job_status, moment, named_vocabulary, resolve
from service.protocols.dashscope.tasks_response import (
    SubmittedBody,
    TaskBody,
    TaskList,
    TranscriptionBody,
    submitted_body,
    task_body,
    task_list,
    transcription_body,
    unknown_body,
)
from service.protocols.shared.addresses import public_url
from service.protocols.shared.fields import failures, json_object
from service.protocols.shared.names import loaded_model
from service.protocols.shared.vocabularies import with_own_words
from service.serving import counted, serving_of

LABEL = "dashscope"
RESULTS = "/api/v1/results"
_TAGS = ["DashScope"]
router = APIRouter(prefix="/api/v1", tags=[*_TAGS], responses=failures(RefusalBody, 401, 404, 503))
results_router = APIRouter(prefix=RESULTS, tags=[*_TAGS], responses=failures(RefusalBody, 404, 503))


def _jobs(request: Request) -> Jobs:
    return serving_of(request).jobs


_Jobs = Annotated[Jobs, Depends(_jobs)]
_Caller = Annotated[str, Depends(caller)]
_ASYNC = {
    "name": "X-DashScope-Async",
    "in": "header",
    "required": True,
    "description": "`enable`, always.",
    "schema": {"type": "string", "enum": ["enable"]},
}


@router.post(
    "/services/audio/asr/transcription",
    summary="Submit recordings",
    response_model=SubmittedBody,
    responses=failures(RefusalBody, 400, 403, 408, 429, 507),
    openapi_extra={
        "parameters": [_ASYNC],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body_schema()}}},
    },
)
async def submit(request: Request, jobs: _Jobs, key: _Caller) -> Response:
    """Give up to 100 addresses as `input.file_urls`, or one as `input.file_url`."""
    with counted(LABEL):
        body = json_object((await receive_small_body(request)).decode("utf-8", "replace"))
        if request.headers.get("x-dashscope-async", "").strip().lower() != "enable":
            raise ServiceError(
                "Recordings are transcribed asynchronously: send the header `X-DashScope-Async: enable`.",
                status=403,
                code="AccessDenied",
            )
        if body is None:
            raise InvalidRequest("The body must be a JSON object.")
        vocabulary = await with_own_words(request, named_vocabulary(body))
        wanted = resolve(body, vocabulary, serving_of(request).settings.enabled_models)
        accepted = await jobs.submit(key, [Arrived(each) for each in wanted], is_task=len(wanted) > 1)
    return _answer(submitted_body(accepted[0].task or accepted[0].id))


@router.get("/tasks", summary="List tasks, the newest first", responses=failures(RefusalBody, 400))
async def list_tasks(
    request: Request,
    jobs: _Jobs,
    key: _Caller,
    start_time: Annotated[str, Query(max_length=20, description="Submitted then or later: `20261128100000`.")] = "",
    end_time: Annotated[str, Query(max_length=20, description="Submitted then or before.")] = "",
    model_name: Annotated[str, Query(max_length=100)] = "",
    status: Literal["", "PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED"] = "",
    page_no: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=100)] = 10,
) -> TaskList:
    """Only the key's own tasks are listed, whatever protocol brought them; times are Beijing's."""
    model = loaded_model(model_name, serving_of(request).settings.enabled_models).id if model_name else None
    total, tasks = await jobs.tasks(
        key,
        status=job_status(status) if status else None,
        model=model,
        since=moment(start_time, "start_time"),
        until=moment(end_time, "end_time"),
        limit=page_size,
        offset=(page_no - 1) * page_size,
    )
    return task_list(tasks, page_no=page_no, page_size=page_size, total=total)


@router.post("/tasks/{task_id}", summary="Look at a task", response_model=TaskBody, include_in_schema=False)
@router.get("/tasks/{task_id}", summary="Look at a task", response_model=TaskBody)
async def look(request: Request, jobs: _Jobs, key: _Caller, task_id: str) -> Response:
    """A task that is not known has the status `UNKNOWN`; a job of any protocol is a task."""
    try:
        found = await jobs.task(key, task_id)
    except NotFound:
        return _answer(unknown_body(task_id))

    def url(job: Job) -> str:
        return public_url(request, f"{RESULTS}/{jobs.link(job)}")

    return _answer(task_body(task_id, found, url))


@router.post("/tasks/{task_id}/cancel", summary="Cancel a task", responses=failures(RefusalBody, 400))
async def cancel(jobs: _Jobs, key: _Caller, task_id: str) -> Answer:
    """What is running is cancelled, too; what has ended stays."""
    try:
        found = await jobs.task(key, task_id)
    except NotFound as error:
        raise ServiceError("There is no such task of yours.", status=404, code="UNKNOWN_TASK") from error
    unfinished = [job for job in found if not job.is_finished]
    if not unfinished:
        raise ServiceError(
            "The task can't be cancelled: it has ended already.", status=400, code="UnsupportedOperation"
        )
    for job in unfinished:
        await jobs.cancel(key, job.id)
    return Answer()


@results_router.get("/{link}", summary="Read a transcript", response_model=TranscriptionBody)
async def read_result(jobs: _Jobs, link: str) -> Response:
    """What `transcription_url` opens, without a key, for a day."""
    job = await jobs.linked(link)
    if job.status != "completed":
        raise NotFound("There is no transcript of this job.")
    # Long recordings take a while to render.
    transcript = await jobs.transcript(job)
    return Response(
        await asyncio.to_thread(lambda: transcription_body(job, transcript).model_dump_json()),
        media_type="application/json",
    )


def _answer(body: BaseModel) -> Response:
    return Response(body.model_dump_json(), media_type="application/json")
