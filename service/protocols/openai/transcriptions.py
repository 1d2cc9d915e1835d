"""Speaks the OpenAI Audio API: /v1/audio/transcriptions, /v1/audio/translations, /v1/models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import IO, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from runners import catalog
from service.domain import AudioSource, Transcript
from service.errors import InvalidRequest
from service.intake.disconnect import unless_disconnected
from service.intake.recording import Admitted, admitted, fetch_recording
from service.intake.uploads import Fields, receive_form
from service.protocols.openai import transcriptions_response as bodies
from service.protocols.openai.event_stream import EventStream
from service.protocols.openai.speaker_references import known_speakers
from service.protocols.openai.transcriptions_request import (
    FIELD_LIMITS,
    Presentation,
    TranscriptionForm,
    TranscriptionRequest,
    resolve,
)
from service.protocols.shared import subtitles
from service.protocols.shared.fields import failures, field_schemas
from service.protocols.shared.names import loaded_model
from service.recordings.transcribe import SettledSentence
from service.serving import serving_of
from service.settings import Settings


class ModelObject(BaseModel):
    """Describes a loaded model; ``title``, ``description``, ``languages``, ``dialects`` and ``demo`` are ours."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    title: str
    description: str
    languages: list[str]
    dialects: list[str]
    demo: bool


class ModelList(BaseModel):
    """Lists the loaded models, the default first."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


# Clients and proxies take some 8 KB of headers; the bodies have all warnings.
_MOST_HEADER_BYTES = 4096

LABEL = "openai"
router = APIRouter(prefix="/v1", tags=["OpenAI Audio API"], responses=failures(bodies.ErrorBody, 401))


async def _admitted(request: Request) -> AsyncIterator[Admitted[TranscriptionRequest]]:
    async with admitted(request, LABEL, _receive) as let_in:
        yield let_in


async def _receive(request: Request, settings: Settings, file: IO[bytes]) -> tuple[TranscriptionRequest, AudioSource]:
    """Returns the form, read and understood, with its audio in ``file``."""

    def check_early(fields: Fields) -> None:
        loaded_model(TranscriptionForm.from_fields(fields).model, settings.enabled_models)

    form = await receive_form(
        request,
        file,
        max_file_bytes=settings.max_audio_size,
        known_fields=TranscriptionForm.model_fields,
        field_limits=FIELD_LIMITS,
        on_file=check_early,
    )
    wanted = resolve(TranscriptionForm.from_fields(form.fields), form.fields, settings.enabled_models)
    if form.file_name is None and not wanted.audio_address:
        raise InvalidRequest("There is no audio: send `file` or `audio_address`.", param="file")
    # A browser sends an empty file part where no file was chosen.
    if wanted.audio_address and form.file_bytes:
        raise InvalidRequest("Send either `file` or `audio_address`, not both.", param="audio_address")
    if wanted.options.diarization and wanted.speaker_references:
        known = await known_speakers(wanted.speaker_references)
        diarization = replace(wanted.options.diarization, known_speakers=known)
        wanted = replace(wanted, options=replace(wanted.options, diarization=diarization))
    if wanted.audio_address:
        await fetch_recording(wanted.audio_address, file, request, settings)
    return wanted, AudioSource(file.name, track=wanted.audio_track, name=form.file_name or "")


def _form_schema() -> dict[str, Any]:
    file = {"type": "string", "format": "binary", "description": "The audio, in any format that ffmpeg reads."}
    return {"type": "object", "properties": {"file": file, **field_schemas(TranscriptionForm)}}


_TRANSCRIPTION_FORMATS = {
    "text/plain": {"schema": {"type": "string"}},
    "application/x-subrip": {"schema": {"type": "string"}},
    "text/vtt": {"schema": {"type": "string"}},
    "text/event-stream": {
        "schema": {"type": "string"},
        "example": 'data: {"type":"transcript.text.delta","delta":"你好。"}\n\n'
        'data: {"type":"transcript.text.done","text":"你好。","languages":[{"code":"zh"}]}\n\n',
    },
}


@router.post(
    "/audio/transcriptions",
    summary="Transcribe a recording",
    response_model=bodies.VerboseTranscriptionBody | bodies.DiarizedTranscriptionBody | bodies.TranscriptionBody,
    responses={
        200: {"content": _TRANSCRIPTION_FORMATS, "description": "The transcript, in `response_format`."},
        **failures(bodies.ErrorBody, 400, 404, 408, 413, 429, 500, 503, 507),
    },
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _form_schema()}}}},
)
async def create_transcription(
    request: Request, let_in: Annotated[Admitted[TranscriptionRequest], Depends(_admitted)]
) -> Response:
    """Give the audio as `file` or as `audio_address`."""
    if let_in.request.stream:
        return EventStream(_events(let_in), warning_headers(let_in.request.warnings))
    transcript = _with_warnings(
        await unless_disconnected(request.receive, let_in.transcription.finish()), let_in.request
    )
    # Long recordings take a while to render.
    content, media_type = await asyncio.to_thread(rendered, transcript, let_in.request)
    await let_in.release()
    return Response(content, headers=warning_headers(transcript.warnings), media_type=media_type)


async def _events(let_in: Admitted[TranscriptionRequest]) -> AsyncGenerator[BaseModel, None]:
    """Yields text as sentences settle; who said what comes when all voices have been heard."""
    logprobs = let_in.request.logprobs
    told = aiter(let_in.transcription)
    sent = ""
    async with aclosing(told):
        async for sentence in told:
            if isinstance(sentence, SettledSentence):
                event = bodies.delta_event(sent, sentence.words, logprobs=logprobs)
                sent = event.delta or sent
                yield event
    await let_in.release()
    if let_in.request.response_format == "diarized_json":
        for segment in bodies.diarized_segments(let_in.transcription.transcript):
            yield segment
    yield bodies.done_event(_with_warnings(let_in.transcription.transcript, let_in.request), logprobs=logprobs)


def rendered(transcript: Transcript, request: Presentation) -> tuple[str, str]:
    """Returns (body, media type) of a transcript."""
    if request.response_format == "text":
        return transcript.text, "text/plain"
    if request.response_format == "srt":
        return subtitles.srt(transcript), "application/x-subrip; charset=utf-8"
    if request.response_format == "vtt":
        return subtitles.vtt(transcript), "text/vtt"
    if request.response_format == "json":
        body: BaseModel = bodies.json_body(transcript, logprobs=request.logprobs)
    elif request.response_format == "diarized_json":
        body = bodies.diarized_json_body(transcript)
    else:
        body = bodies.verbose_json_body(transcript, request.granularities)
    return body.model_dump_json(), "application/json"


def _with_warnings(transcript: Transcript, request: TranscriptionRequest) -> Transcript:
    return replace(transcript, warnings=(*transcript.warnings, *request.warnings))


def warning_headers(warnings: tuple[str, ...]) -> dict[str, str]:
    """Puts warnings in a header, which works for every format: text and subtitles have no place for them."""
    told = ""
    for index, warning in enumerate(warnings):
        escaped = warning.encode("unicode_escape").decode()
        if len(told) + len(escaped) > _MOST_HEADER_BYTES:
            told += f" And {len(warnings) - index} others."
            break
        told += f" {escaped}"
    return {"X-Warnings": told.strip()} if told else {}


@router.post(
    "/audio/translations", summary="Not available", response_model=None, responses=failures(bodies.ErrorBody, 400)
)
async def create_translation() -> Response:
    """No model here translates."""
    raise InvalidRequest("No model here translates; use /v1/audio/transcriptions for the text as it is spoken.")


@router.get("/models", summary="List the loaded models")
async def list_models(request: Request) -> ModelList:
    """Each `id` can be the `model` of a request; the default model comes first."""
    serving = serving_of(request)
    models = catalog.models()
    return ModelList(data=[_model_object(models[id], serving.started_at) for id in serving.settings.enabled_models])


@router.get("/models/{model:path}", summary="Look up a model", responses=failures(bodies.ErrorBody, 404))
async def retrieve_model(request: Request, model: str) -> ModelObject:
    """Finds a model by its id, its hub repository, or a name that means the default model, such as `whisper-1`."""
    serving = serving_of(request)
    return _model_object(loaded_model(model, serving.settings.enabled_models), serving.started_at)


def _model_object(model: catalog.Model, created: int) -> ModelObject:
    return ModelObject(
        id=model.id,
        created=created,
        owned_by=model.owner,
        title=model.title,
        description=model.description,
        languages=list(model.languages),
        dialects=list(model.dialects),
        demo=model.demo,
    )
