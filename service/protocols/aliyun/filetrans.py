"""Speaks Alibaba Cloud's file transcription, the calls SubmitTask and GetTaskResult: recordings as jobs."""

from __future__ import annotations

import asyncio
from typing import Any

from service.auth import caller
from service.domain import Transcript
from service.errors import InvalidRequest, ModelNotFound, NotFound, ServiceError
from service.jobs.job import Job
from service.jobs.jobs import Arrived, Jobs
from service.protocols.aliyun.filetrans_request import read_task, resolve, task_object
from service.protocols.aliyun.filetrans_response import (
    TaskResultBody,
    TaskStatusBody,
    accepted_body,
    callback_body,
    expired_body,
    refused_body,
    result_body,
)
from service.protocols.aliyun.pop_request import Call
from service.protocols.shared.vocabularies import with_own_words
from service.serving import counted, serving_of

LABEL = "aliyun_filetrans"
_LONGEST_ID = 200


async def submit_task(call: Call) -> TaskStatusBody:
    """Makes a job of the parameter ``Task``; what is wrong with it is told by its code, as the cloud does."""
    serving = serving_of(call.request)
    jobs = serving.jobs
    try:
        with counted(LABEL):
            given = task_object(call.parameters.get("Task", ""))
            words = await with_own_words(call.request, given.get("vocabulary_id"))
            wanted = resolve(read_task({**given, "vocabulary_id": words}), given, serving.settings.enabled_models)
            (job,) = await jobs.submit(caller(call.request), [Arrived(wanted)])
    except (InvalidRequest, ModelNotFound) as failure:
        return refused_body(failure)
    return accepted_body(job)


async def get_task_result(call: Call) -> TaskResultBody:
    """Tells how the caller's job of that ``TaskId`` stands, whatever protocol brought it."""
    task_id = call.parameters.get("TaskId", "")
    if not task_id:
        raise ServiceError("TaskId is mandatory for this action.", status=400, code="MissingTaskId")
    jobs = serving_of(call.request).jobs
    try:
        job = await jobs.find(caller(call.request), task_id)
    except NotFound as failure:
        return expired_body(task_id[:_LONGEST_ID], failure)
    # Long recordings take a while to render.
    return await asyncio.to_thread(result_body, job, await _transcript(jobs, job))


async def describe_end(jobs: Jobs, job: Job) -> dict[str, Any]:
    """Describes a job that has ended, as GetTaskResult does."""
    return await asyncio.to_thread(callback_body, job, await _transcript(jobs, job))


async def _transcript(jobs: Jobs, job: Job) -> Transcript | None:
    return await jobs.transcript(job) if job.status == "completed" else None
