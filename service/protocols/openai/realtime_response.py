"""The server events of OpenAI's Realtime API that a transcription session has."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field

from service.errors import ServiceError
from service.protocols.openai.transcriptions_response import ErrorDetail, TokenLogprob, error_body

_T = TypeVar("_T")
_Omissible = Annotated[_T | None, Field(exclude_if=lambda value: value is None)]
ItemEventType = Literal["conversation.item.added", "conversation.item.done", "conversation.item.created"]


def new_id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex[:24]}"


class ServerEvent(BaseModel):
    event_id: str = Field(default_factory=lambda: new_id("event"))


class SessionEvent(ServerEvent):
    """``session`` is the whole configuration that holds from now on."""

    type: Literal["session.created", "session.updated", "transcription_session.updated"]
    session: dict[str, Any]


class SpeechStarted(ServerEvent):
    """Times are ms from the start of all audio that was appended on this connection."""

    type: Literal["input_audio_buffer.speech_started"] = "input_audio_buffer.speech_started"
    audio_start_ms: int
    item_id: str


class SpeechStopped(ServerEvent):
    type: Literal["input_audio_buffer.speech_stopped"] = "input_audio_buffer.speech_stopped"
    audio_end_ms: int
    item_id: str


class Committed(ServerEvent):
    type: Literal["input_audio_buffer.committed"] = "input_audio_buffer.committed"
    previous_item_id: str | None
    item_id: str


class Cleared(ServerEvent):
    type: Literal["input_audio_buffer.cleared"] = "input_audio_buffer.cleared"


class AudioPart(BaseModel):
    type: Literal["input_audio"] = "input_audio"
    transcript: str | None = None


class Item(BaseModel):
    id: str
    object: Literal["realtime.item"] = "realtime.item"
    type: Literal["message"] = "message"
    status: Literal["completed"] = "completed"
    role: Literal["user"] = "user"
    content: list[AudioPart] = [AudioPart()]


class ItemEvent(ServerEvent):
    """``conversation.item.created`` is what the API's clients were told before there were the other two."""

    type: ItemEventType
    previous_item_id: str | None
    item: Item


class Delta(ServerEvent):
    """What the item's text so far has grown by. It may come before the item is committed."""

    type: Literal["conversation.item.input_audio_transcription.delta"] = (
        "conversation.item.input_audio_transcription.delta"
    )
    item_id: str
    content_index: int = 0
    delta: str


class DurationUsage(BaseModel):
    type: Literal["duration"] = "duration"
    seconds: float


class Completed(ServerEvent):
    """The item's text, whatever the deltas were: the second pass knows better."""

    type: Literal["conversation.item.input_audio_transcription.completed"] = (
        "conversation.item.input_audio_transcription.completed"
    )
    item_id: str
    content_index: int = 0
    transcript: str
    usage: DurationUsage
    logprobs: _Omissible[list[TokenLogprob]] = None


class Failed(ServerEvent):
    type: Literal["conversation.item.input_audio_transcription.failed"] = (
        "conversation.item.input_audio_transcription.failed"
    )
    item_id: str
    content_index: int = 0
    error: ErrorDetail


class ClientError(ErrorDetail):
    """``event_id`` is that of the client's event at fault."""

    event_id: str | None


class ErrorEvent(ServerEvent):
    type: Literal["error"] = "error"
    error: ClientError


def failed(item_id: str, failure: ServiceError) -> Failed:
    return Failed(item_id=item_id, error=error_body(failure).error)


def error_event(failure: ServiceError, client_event_id: str | None = None) -> ErrorEvent:
    detail = error_body(failure).error
    return ErrorEvent(error=ClientError(**detail.model_dump(), event_id=client_event_id))
