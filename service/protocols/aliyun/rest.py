"""Speaks Alibaba Cloud's REST speech API: /stream/v1/asr, /stream/v1/asr/models, /stream/v1/asr/health."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import IO, Annotated, Literal

import psutil
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from runners import catalog
from service.domain import AudioSource
from service.errors import InvalidRequest, ServiceError
from service.intake import disk
from service.intake.disconnect import unless_disconnected
from service.intake.recording import Admitted, admitted, audio_source, fetch_recording
from service.intake.uploads import receive_body, refuse_body
from service.observability import request_id
from service.protocols.aliyun import rest_response as bodies
from service.protocols.aliyun.rest_request import RecognitionQuery, RecognitionRequest, query_parameters, resolve
from service.protocols.shared.fields import failures
from service.protocols.shared.vocabularies import with_own_words
from service.serving import serving_of
from service.settings import Settings

_TASK_ID_HEADER = "task_id"
_TASK_ID = re.compile(r"[0-9a-f]{32}")
DOCUMENTED_TASK_ID = {_TASK_ID_HEADER: {"description": "The body's `task_id`.", "schema": {"type": "string"}}}
REQUEST_BODY = {
    "description": "The audio, in any format that ffmpeg reads; nothing with `audio_address`.",
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}

LABEL = "aliyun_rest"
router = APIRouter(
    prefix="/stream/v1/asr", tags=["Alibaba Cloud REST API"], responses=failures(bodies.FailureBody, 401)
)
health_router = APIRouter(prefix="/stream/v1/asr", tags=["Alibaba Cloud REST API"])


def task_id() -> str:
    """Returns the request's id, which has a task id's form unless the client chose it; else a new one."""
    given = request_id.get()
    return given if _TASK_ID.fullmatch(given) else uuid.uuid4().hex


def error_response(failure: ServiceError) -> Response:
    """Makes the response that tells a failure, with its true HTTP status and a task id."""
    return response_of(bodies.failure_body(failure, task_id()), failure.status)


def response_of(body: bodies.TaskBody, status: int = 200) -> Response:
    """Makes the response that holds a body, with its task id in the headers."""
    headers = {_TASK_ID_HEADER: body.task_id}
    return Response(body.model_dump_json(), status, headers, media_type="application/json")


async def _admitted(request: Request) -> AsyncIterator[Admitted[RecognitionRequest]]:
    async with admitted(request, LABEL, _receive) as let_in:
        yield let_in


async def _receive(request: Request, settings: Settings, file: IO[bytes]) -> tuple[RecognitionRequest, AudioSource]:
    """Returns the query, understood before the body is read, and the audio in ``file``."""
    query = request.query_params
    wanted = resolve(RecognitionQuery.from_items(await items_of(request)), query.keys(), settings.enabled_models)
    return wanted, await receive_audio(request, settings, file, wanted)


async def receive_audio(
    request: Request, settings: Settings, file: IO[bytes], wanted: RecognitionRequest
) -> AudioSource:
    """Puts the audio of the body, or of the address that is ``wanted``, into ``file``.

    Raises:
        ServiceError: there is none, there is one too many, or it is too large or can't be fetched.
    """
    if wanted.audio_address:
        await refuse_body(request, "Send either a body or `audio_address`, not both.")
        await fetch_recording(wanted.audio_address, file, request, settings)
    elif request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise InvalidRequest("The body must be the audio itself, not a form (with curl: --data-binary @FILE).")
    elif not await receive_body(request, file, max_bytes=settings.max_audio_size):
        raise InvalidRequest("There is no audio: send it as the body, or its address as `audio_address`.")
    return await disk.in_thread(lambda: audio_source(file.name, wanted.raw, wanted.audio_track))


async def items_of(request: Request) -> list[tuple[str, str]]:
    """Returns a query's names and values; the id of a hotword list of the caller's is its words."""
    items = request.query_params.multi_items()
    return [(name, await with_own_words(request, value) if name == "vocabulary_id" else value) for name, value in items]


@router.post(
    "",
    summary="Recognise a recording",
    response_model=bodies.RecognitionBody,
    responses={
        200: {"headers": DOCUMENTED_TASK_ID},
        **failures(bodies.FailureBody, 400, 404, 408, 413, 415, 429, 500, 503, 507),
    },
    openapi_extra={"parameters": query_parameters(RecognitionQuery), "requestBody": REQUEST_BODY},
)
async def recognise(request: Request, let_in: Annotated[Admitted[RecognitionRequest], Depends(_admitted)]) -> Response:
    """Give the audio as the body or as `audio_address`."""
    started = time.monotonic()
    transcript = await unless_disconnected(request.receive, let_in.transcription.finish())
    task = bodies.Task(
        id=task_id(),
        processing_s=time.monotonic() - started,
        status_style=serving_of(request).settings.aliyun_status_style,
        word_tokens=let_in.request.options.word_timestamps,
    )
    told = replace(transcript, warnings=(*transcript.warnings, *let_in.request.warnings))
    # Long recordings take a while to render.
    response = await asyncio.to_thread(lambda: response_of(bodies.recognition_body(told, task)))
    await let_in.release()
    return response


class LoadedModel(BaseModel):
    """Describes a model that recognises here; all that are listed are loaded.

    ``default``: whether it is what no ``model_id`` means.
    """

    id: str
    name: str
    description: str
    languages: list[str]
    dialects: list[str]
    default: bool
    loaded: Literal[True] = True
    demo: bool


class LoadedModels(BaseModel):
    """Lists the loaded models, the default first."""

    models: list[LoadedModel]
    total: int


@router.get("/models", summary="List the loaded models")
async def list_models(request: Request) -> LoadedModels:
    """Each `id` can be a `model_id` of a request; the default model comes first."""
    enabled = serving_of(request).settings.enabled_models
    models = [_loaded_model(catalog.models()[id], is_default=id == enabled[0]) for id in enabled]
    return LoadedModels(models=models, total=len(models))


def _loaded_model(model: catalog.Model, *, is_default: bool) -> LoadedModel:
    return LoadedModel(
        id=model.id,
        name=model.title,
        description=model.description,
        languages=list(model.languages),
        dialects=list(model.dialects),
        default=is_default,
        demo=model.demo,
    )


class Health(BaseModel):
    """Says what is loaded and what is waiting.

    ``device`` is where recognition computes; ``queue_audio_seconds`` and ``queue_requests`` are waiting or in work;
    ``memory_mb`` is this process's resident memory, without the runners' own.
    """

    status: Literal["healthy"] = "healthy"
    loaded_models: list[str]
    device: str
    queue_audio_seconds: float
    queue_requests: int
    memory_mb: float


@health_router.get("/health", summary="Whether models are loaded", responses=failures(bodies.FailureBody, 503))
async def health(request: Request) -> Health:
    """Needs no key; answers 503 until the models are loaded."""
    serving = serving_of(request)
    return Health(
        device=await serving.device(),
        loaded_models=list(serving.settings.enabled_models),
        queue_audio_seconds=round(serving.admission.audio_s, 3),
        queue_requests=serving.admission.requests,
        memory_mb=round(psutil.Process().memory_info().rss / 2**20, 1),
    )
