"""Defines the server events of OpenAI's Realtime API that a transcription session has."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field

from service.errors import ServiceError
from service.protocols.openai.transcriptions_response import ErrorDetail, SpokenLanguage, TokenLogprob, error_body

_T = TypeVar("_T")
_Omissible = Annotated[_T | None, Field(exclude_if=lambda value: value is None)]
ItemEventType = Literal["conversation.item.added", "conversation.item.done", "conversation.item.created"]


def new_id(kind: str) -> str:
    """Makes an id that says what kind of thing it is of, such as ``item_0123…``."""
    return f"{kind}_{uuid.uuid4().hex[:24]}"


class ServerEvent(BaseModel):
    """Holds what every event has: an id of its own."""

    event_id: str = Field(default_factory=lambda: new_id("event"))


class SessionEvent(ServerEvent):
    """Tells the whole configuration that holds from now on."""

    type: Literal["session.created", "session.updated", "transcription_session.updated"]
    session: dict[str, Any]


class SpeechStarted(ServerEvent):
    """Tells that a sentence begins.

    Attributes:
        audio_start_ms: When, in ms from the start of all audio that was appended on this connection.
        item_id: The item that the sentence will be.
    """

    type: Literal["input_audio_buffer.speech_started"] = "input_audio_buffer.speech_started"
    audio_start_ms: int
    item_id: str


class SpeechStopped(ServerEvent):
    """Tells that a sentence has ended; ``audio_end_ms`` counts as ``SpeechStarted.audio_start_ms``."""

    type: Literal["input_audio_buffer.speech_stopped"] = "input_audio_buffer.speech_stopped"
    audio_end_ms: int
    item_id: str


class Committed(ServerEvent):
    """Tells that audio has become an item; ``previous_item_id`` is null for the first."""

    type: Literal["input_audio_buffer.committed"] = "input_audio_buffer.committed"
    previous_item_id: str | None
    item_id: str


class Cleared(ServerEvent):
    """Tells that what was appended since the last item is thrown away."""

    type: Literal["input_audio_buffer.cleared"] = "input_audio_buffer.cleared"


class AudioPart(BaseModel):
    """Stands for an item's audio; its ``transcript`` comes in an event of its own."""

    type: Literal["input_audio"] = "input_audio"
    transcript: str | None = None


class Item(BaseModel):
    """Stands for committed audio in the conversation."""

    id: str
    object: Literal["realtime.item"] = "realtime.item"
    type: Literal["message"] = "message"
    status: Literal["completed"] = "completed"
    role: Literal["user"] = "user"
    content: list[AudioPart] = [AudioPart()]


class ItemEvent(ServerEvent):
    """Tells that an item is in the conversation.

    ``conversation.item.created`` is what the API's clients were told before there were the other two.
    """

    type: ItemEventType
    previous_item_id: str | None
    item: Item


class Delta(ServerEvent):
    """Tells what the item's text so far has grown by; it may come before the item is committed."""

    type: Literal["conversation.item.input_audio_transcription.delta"] = (
        "conversation.item.input_audio_transcription.delta"
    )
    item_id: str
    content_index: int = 0
    delta: str


class DurationUsage(BaseModel):
    """Says what an item is measured by: the seconds of its audio."""

    type: Literal["duration"] = "duration"
    seconds: float


class Completed(ServerEvent):
    """Tells the item's text, whatever the deltas were: the second pass knows better.

    ``languages`` is empty where it is not known what was spoken; ``warnings``, ours, tell what had no effect.
    """

    type: Literal["conversation.item.input_audio_transcription.completed"] = (
        "conversation.item.input_audio_transcription.completed"
    )
    item_id: str
    content_index: int = 0
    transcript: str
    languages: list[SpokenLanguage] = []
    usage: DurationUsage
    logprobs: _Omissible[list[TokenLogprob]] = None
    warnings: _Omissible[list[str]] = None


class Failed(ServerEvent):
    """Tells that an item will get no text."""

    type: Literal["conversation.item.input_audio_transcription.failed"] = (
        "conversation.item.input_audio_transcription.failed"
    )
    item_id: str
    content_index: int = 0
    error: ErrorDetail


class ClientError(ErrorDetail):
    """Tells a failure; ``event_id`` is that of the client's event at fault, null where none is."""

    event_id: str | None


class ErrorEvent(ServerEvent):
    """Tells a failure that is no single item's."""

    type: Literal["error"] = "error"
    error: ClientError


def failed(item_id: str, failure: ServiceError) -> Failed:
    """Renders a failure that costs an item its text."""
    return Failed(item_id=item_id, error=error_body(failure).error)


def error_event(failure: ServiceError, client_event_id: str | None = None) -> ErrorEvent:
    """Renders a failure, with the client's id of its event at fault, if one is and has an id."""
    detail = error_body(failure).error
    return ErrorEvent(error=ClientError(**detail.model_dump(), event_id=client_event_id))
