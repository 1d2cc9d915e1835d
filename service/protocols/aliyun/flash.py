"""Speaks Alibaba Cloud's FlashRecognizer, /stream/v1/FlashRecognizer: a recording's sentences, channel by channel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import IO, Annotated

from fastapi import APIRouter, Depends, Request, Response

from service.domain import AudioSource, Transcript
from service.intake.disconnect import unless_disconnected
from service.intake.recording import Admitted, admitted
from service.protocols.aliyun.flash_request import FlashQuery, FlashRequest, resolve
from service.protocols.aliyun.flash_response import FlashBody, FlashTask, flash_body
from service.protocols.aliyun.rest import (
    DOCUMENTED_TASK_ID,
    REQUEST_BODY,
    items_of,
    receive_audio,
    response_of,
    task_id,
)
from service.protocols.aliyun.rest_request import query_parameters
from service.protocols.aliyun.rest_response import FailureBody
from service.protocols.shared.fields import failures
from service.settings import Settings

LABEL = "aliyun_flash"
router = APIRouter(prefix="/stream/v1", tags=["Alibaba Cloud REST API"])


async def _admitted(request: Request) -> AsyncIterator[Admitted[FlashRequest]]:
    async with admitted(request, LABEL, _receive, FlashRequest.channels) as let_in:
        yield let_in


async def _receive(request: Request, settings: Settings, file: IO[bytes]) -> tuple[FlashRequest, AudioSource]:
    """Returns the query, understood before the body is read, and the audio in ``file``."""
    query = request.query_params
    wanted = resolve(FlashQuery.from_items(await items_of(request)), query.keys(), settings.enabled_models)
    return wanted, await receive_audio(request, settings, file, wanted)


@router.post(
    "/FlashRecognizer",
    summary="Recognise a recording, channel by channel",
    response_model=FlashBody,
    responses={
        200: {"headers": DOCUMENTED_TASK_ID},
        **failures(FailureBody, 400, 401, 404, 408, 413, 415, 429, 500, 503, 507),
    },
    openapi_extra={"parameters": query_parameters(FlashQuery), "requestBody": REQUEST_BODY},
)
async def recognise(request: Request, let_in: Annotated[Admitted[FlashRequest], Depends(_admitted)]) -> Response:
    """Give the audio as the body or as `audio_address`."""
    started = time.monotonic()
    channels = await unless_disconnected(request.receive, _transcripts(let_in))
    wanted = let_in.request
    task = FlashTask(
        id=task_id(),
        latency_s=time.monotonic() - started,
        with_words=wanted.with_words,
        sentence_max_length=wanted.sentence_max_length,
        warnings=wanted.warnings,
    )
    # Long recordings take a while to render.
    response = await asyncio.to_thread(lambda: response_of(flash_body(channels, task)))
    await let_in.release()
    return response


async def _transcripts(let_in: Admitted[FlashRequest]) -> list[Transcript]:
    return [await transcription.finish() for transcription in let_in.transcriptions]
