"""The OpenAI Audio API: /v1/audio/transcriptions, /v1/audio/translations, /v1/models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import IO, Annotated, Any, Literal, cast

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from runners import catalog
from service import observability
from service.admission import AdmissionQueue, estimate_audio_s
from service.domain import AudioSource, Segment, Transcript
from service.edge import unless_disconnected
from service.errors import InvalidRequest, NotReady, ServiceError
from service.pipeline.fetch import fetch_audio
from service.pipeline.transcribe import Transcriber, Transcription
from service.protocols.event_stream import EventStream
from service.protocols.openai_form import (
    FIELD_LIMITS,
    TranscriptionForm,
    TranscriptionRequest,
    resolve,
    resolve_model,
)
from service.rendering import openai as bodies
from service.rendering import subtitles
from service.settings import Settings
from service.uploads import Fields, receive_form, temporary_audio_file

# Models load for seconds, not minutes: a short wait spares most clients the retry.
_READY_WAIT_S = 2.0
_READY_RETRY_S = 5


@dataclass(frozen=True, slots=True)
class Serving:
    """What the routes work with; ``app.state.serving``. ``started_at`` is in seconds of the epoch."""

    transcriber: Transcriber
    admission: AdmissionQueue
    settings: Settings
    started_at: int


@dataclass(frozen=True, slots=True)
class _Job:
    """A transcription that has been let in."""

    request: TranscriptionRequest
    transcription: Transcription


class ModelObject(BaseModel):
    """A loaded model. ``title``, ``description``, ``languages`` and ``demo`` are ours."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    title: str
    description: str
    languages: list[str]
    demo: bool


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelObject]


def _failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": bodies.ErrorBody, "description": _FAILURES[status]} for status in statuses}


_FAILURES = {
    400: "The request is wrong; `param` names the field.",
    401: "The API key is missing or wrong.",
    404: "There is no such model.",
    413: "The audio is too large or too long.",
    415: "The file is not audio that can be decoded.",
    429: "The queue is full; `Retry-After` says when to try again.",
    500: "The service failed; the message has the request id.",
    503: "Models are loading, or a runner is restarting; `Retry-After` says when to try again.",
}

router = APIRouter(prefix="/v1", tags=["OpenAI Audio API"], responses=_failures(401))


def _serving(request: Request) -> Serving:
    serving: Serving = request.app.state.serving
    return serving


async def _job(request: Request) -> AsyncIterator[_Job]:
    """Takes a request in, as far as recognition; its audio file and its place are held until it is answered."""
    serving = _serving(request)
    with _counted():
        await _check_ready(serving)
        serving.admission.check()
        with temporary_audio_file() as file:
            wanted, source = await _receive(request, serving.settings, file)
            audio_s = await asyncio.to_thread(estimate_audio_s, source)
            with serving.admission.admit(min(audio_s, serving.settings.max_audio_duration_sec)):
                yield _Job(wanted, serving.transcriber.start(source, wanted.options))


@contextmanager
def _counted() -> Iterator[None]:
    outcome = "internal_error"
    try:
        yield
        outcome = "ok"
    except ServiceError as failure:
        outcome = failure.code
        raise
    except (ClientDisconnect, asyncio.CancelledError):
        outcome = "client_disconnected"
        raise
    finally:
        observability.requests.labels("openai", outcome).inc()


async def _check_ready(serving: Serving) -> None:
    try:
        ready = await asyncio.wait_for(serving.transcriber.is_ready(serving.settings.enabled_models[0]), _READY_WAIT_S)
    except asyncio.TimeoutError:
        ready = False
    if not ready:
        raise NotReady("Models are loading; try again shortly.", retry_after_s=_READY_RETRY_S)


async def _receive(request: Request, settings: Settings, file: IO[bytes]) -> tuple[TranscriptionRequest, AudioSource]:
    """The form, read and understood, with its audio in ``file``."""

    def check_early(fields: Fields) -> None:
        resolve_model(TranscriptionForm.from_fields(fields).model, settings.enabled_models)

    form = await receive_form(
        request, file, max_file_bytes=settings.max_audio_size, field_limits=FIELD_LIMITS, on_file=check_early
    )
    wanted = resolve(TranscriptionForm.from_fields(form.fields), form.fields, settings.enabled_models)
    if form.file_name is None and not wanted.audio_address:
        raise InvalidRequest("There is no audio: send `file` or `audio_address`.", param="file")
    # A browser sends an empty file part where no file was chosen.
    if wanted.audio_address and form.file_bytes:
        raise InvalidRequest("Send either `file` or `audio_address`, not both.", param="audio_address")
    if wanted.audio_address:
        await unless_disconnected(
            request.receive,
            fetch_audio(
                wanted.audio_address,
                file,
                max_bytes=settings.max_audio_size,
                allow_private=settings.allow_private_audio_urls,
                timeout_s=settings.audio_url_timeout_sec,
            ),
        )
        await asyncio.to_thread(file.flush)
    return wanted, AudioSource(file.name, name=form.file_name or "")


def _form_schema() -> dict[str, Any]:
    """The form as OpenAPI wants it: inline, and without defaults that mean "absent"."""
    schema = TranscriptionForm.model_json_schema()
    for field in schema["properties"].values():
        field.pop("title")
        if field.get("default") in (None, "", []):
            field.pop("default", None)
    file = {"type": "string", "format": "binary", "description": "The audio, in any format that ffmpeg reads."}
    return {"type": "object", "properties": {"file": file, **schema["properties"]}}


_TRANSCRIPTION_FORMATS = {
    "text/plain": {"schema": {"type": "string"}},
    "application/x-subrip": {"schema": {"type": "string"}},
    "text/vtt": {"schema": {"type": "string"}},
    "text/event-stream": {
        "schema": {"type": "string"},
        "example": 'data: {"type":"transcript.text.delta","delta":"你好。"}\n\n'
        'data: {"type":"transcript.text.done","text":"你好。"}\n\n',
    },
}


@router.post(
    "/audio/transcriptions",
    summary="Transcribe a recording",
    response_model=bodies.VerboseTranscriptionBody | bodies.TranscriptionBody,
    responses={
        200: {"content": _TRANSCRIPTION_FORMATS, "description": "The transcript, in `response_format`."},
        **_failures(400, 404, 413, 415, 429, 500, 503),
    },
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _form_schema()}}}},
)
async def create_transcription(request: Request, job: Annotated[_Job, Depends(_job)]) -> Response:
    """Give the audio as `file` or as `audio_address`."""
    headers = _warning_headers(job.request.warnings)
    if job.request.stream:
        return EventStream(_events(job), headers)
    transcript = _with_warnings(await unless_disconnected(request.receive, job.transcription.finish()), job.request)
    # Long recordings take a while to render.
    content, media_type = await asyncio.to_thread(_rendered, transcript, job.request)
    return Response(content, headers=headers, media_type=media_type)


async def _events(job: _Job) -> AsyncGenerator[BaseModel, None]:
    logprobs = job.request.logprobs
    segments = cast(AsyncGenerator[Segment, None], aiter(job.transcription))
    sent = ""
    async with aclosing(segments):
        async for segment in segments:
            event = bodies.delta_event(sent, segment, logprobs=logprobs)
            sent = event.delta or sent
            yield event
    yield bodies.done_event(_with_warnings(job.transcription.transcript, job.request), logprobs=logprobs)


def _rendered(transcript: Transcript, request: TranscriptionRequest) -> tuple[str, str]:
    """(body, media type) of a transcript."""
    if request.response_format == "text":
        return transcript.text, "text/plain"
    if request.response_format == "srt":
        return subtitles.srt(transcript), "application/x-subrip; charset=utf-8"
    if request.response_format == "vtt":
        return subtitles.vtt(transcript), "text/vtt"
    if request.response_format == "json":
        body: BaseModel = bodies.json_body(transcript, logprobs=request.logprobs)
    else:
        body = bodies.verbose_json_body(transcript, request.granularities)
    return body.model_dump_json(), "application/json"


def _with_warnings(transcript: Transcript, request: TranscriptionRequest) -> Transcript:
    return replace(transcript, warnings=(*transcript.warnings, *request.warnings))


def _warning_headers(warnings: tuple[str, ...]) -> dict[str, str]:
    """Text and subtitles have no place for warnings; a header works for every format."""
    return {"X-Warnings": " ".join(warnings).encode("unicode_escape").decode()} if warnings else {}


@router.post("/audio/translations", summary="Not available", response_model=None, responses=_failures(400))
async def create_translation() -> Response:
    """No model here translates."""
    raise InvalidRequest("No model here translates; use /v1/audio/transcriptions for the text as it is spoken.")


@router.get("/models", summary="List the loaded models")
async def list_models(request: Request) -> ModelList:
    serving = _serving(request)
    models = catalog.models()
    return ModelList(data=[_model_object(models[id], serving.started_at) for id in serving.settings.enabled_models])


@router.get("/models/{model}", summary="Look up a model", responses=_failures(404))
async def retrieve_model(request: Request, model: str) -> ModelObject:
    """By its id, or by a name that means the default model, such as `whisper-1`."""
    serving = _serving(request)
    return _model_object(resolve_model(model, serving.settings.enabled_models), serving.started_at)


def _model_object(model: catalog.Model, created: int) -> ModelObject:
    return ModelObject(
        id=model.id,
        created=created,
        owned_by=model.owner,
        title=model.title,
        description=model.description,
        languages=list(model.languages),
        demo=model.demo,
    )
