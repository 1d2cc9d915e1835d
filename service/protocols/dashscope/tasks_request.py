"""Reads what a request for an asynchronous transcription may say, in either of its forms, and what it comes down to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from runners.catalog import Model
from runners.languages import language_code
from service.domain import Diarization, RecognitionOptions
from service.errors import InvalidRequest
from service.jobs.job import JobRequest, Status
from service.protocols.dashscope.tasks_response import TIME_ZONE, Shown, TaskStatus
from service.protocols.shared.fields import field_schemas
from service.protocols.shared.hotwords import Hotwords
from service.protocols.shared.names import check_language, loaded_model
from service.protocols.shared.values import (
    FLAG,
    ClientValues,
    Flag,
    Items,
    Language,
    Nearest,
    Text,
    cleaned,
    listed,
    unknown_fields,
)

DIALECT = "dashscope"
MOST_FILES = 100
_MOST_CHANNELS = 64
_STATUSES: dict[TaskStatus, Status] = {
    "PENDING": "queued",
    "RUNNING": "running",
    "SUCCEEDED": "completed",
    "FAILED": "failed",
    "CANCELED": "cancelled",
}


def _channels(value: object) -> object:
    found = listed([value] if isinstance(value, int | float) else value, r"\s*[,，]\s*")
    if not isinstance(found, list) or any(isinstance(channel, list | dict) for channel in found):
        return found
    return list(dict.fromkeys(found)) or [0]


Channels = Annotated[
    list[Annotated[int, Field(ge=0, lt=_MOST_CHANNELS)]],
    BeforeValidator(_channels),
    WithJsonSchema({"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": _MOST_CHANNELS - 1}}),
]
MaybeFlag = Annotated[bool, FLAG] | SkipJsonSchema[None]


class Submission(ClientValues):
    """Holds the body of a request but its input and its parameters."""

    model: Annotated[str, Text(1000)] = Field(
        default="", description="`paraformer-v2`, `fun-asr`, `qwen3-asr-flash-filetrans`, …; absent: the default model."
    )
    resources: list[dict[str, Any]] = Field(
        default=[],
        max_length=100,
        description="`resource_id` of a hotword list, with `resource_type` `asr_phrase`.",
    )


class TranscriptionInput(ClientValues):
    """Holds ``input``: one form has several files, the other one."""

    file_urls: Annotated[list[Annotated[str, Text(10_000)]], Items(between="")] = Field(
        default=[], max_length=MOST_FILES, description="http(s) URLs of the recordings."
    )
    file_url: Annotated[str, Text(10_000)] = Field(
        default="", description="The http(s) URL of one recording, in Qwen's form."
    )


class TranscriptionParameters(ClientValues):
    """Holds ``parameters``."""

    channel_id: Channels = Field(default=[0], description="The channels that are recognised, each on its own, from 0.")
    vocabulary_id: Hotwords = Field(default=(), description="The id of a hotword list, or the words themselves.")
    language_hints: Annotated[list[Annotated[str, Text()]], Items()] = Field(
        default=[], max_length=100, description="Languages; one alone is what is recognised."
    )
    language: Language = Field(default=None, description="The language, in Qwen's form.")
    diarization_enabled: Flag = Field(default=False, description="`speaker_id` in the sentences; of one channel.")
    speaker_count: Annotated[int, Nearest(2, 100, less_is_none=True)] | SkipJsonSchema[None] = Field(
        default=None, description="How many speakers there are; absent: it is found."
    )
    enable_itn: MaybeFlag = Field(
        default=None, description="Numbers, dates and units in digits; absent: in Qwen's form not."
    )
    enable_words: MaybeFlag = Field(default=None, description="`words` in the sentences; absent: in Qwen's form not.")
    timestamp_alignment_enabled: Flag = Field(
        default=False, description="Accepted; the times of words are always found in the audio."
    )


def body_schema() -> dict[str, Any]:
    """Describes the body in the OpenAPI document's words."""

    def described(model: type[ClientValues]) -> dict[str, Any]:
        return {"type": "object", "properties": field_schemas(model)}

    parts = {"input": described(TranscriptionInput), "parameters": described(TranscriptionParameters)}
    return {"type": "object", "properties": {**field_schemas(Submission), **parts}, "required": ["input"]}


def part(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns an object in the body; empty where there is none.

    Raises:
        InvalidRequest: there is something else.
    """
    found = body.get(name) or {}
    if not isinstance(found, dict):
        raise InvalidRequest(f"`{name}` must be an object.", param=name)
    return found


def named_vocabulary(body: Mapping[str, Any]) -> object:
    """Returns the id of the hotword list that a body names, in whichever place."""
    given = part(body, "parameters")
    lists = [one.get("resource_id") for one in Submission.read(body).resources]
    return given.get("vocabulary_id") or given.get("phrase_id") or next(filter(None, lists), None)


def resolve(body: Mapping[str, Any], vocabulary: object, enabled: Sequence[str]) -> list[JobRequest]:
    """Returns the jobs that a body asks for; ``vocabulary`` stands for its hotwords.

    Raises:
        ModelNotFound: the model is not among ``enabled``.
        InvalidRequest: there is no recording, or a value is wrong; ``param`` names it.
    """
    submitted = Submission.read(body)
    source = TranscriptionInput.read(part(body, "input"), within="input")
    given = {**part(body, "parameters"), "vocabulary_id": vocabulary}
    asked = TranscriptionParameters.read(given, within="parameters")
    is_single = bool(source.file_url)
    addresses = [source.file_url] if is_single else [address for address in source.file_urls if address.strip()]
    if not addresses:
        raise InvalidRequest("`input.file_urls` must have the http(s) URL of a recording.", param="input.file_urls")
    model = loaded_model(submitted.model, enabled)
    language, language_warnings = _language(asked, model)
    diarization, diarization_warnings = _diarization(asked, model)
    # Of what the cloud has more, only what was switched on is worth a word.
    unknown = [name for name, value in given.items() if value not in (None, False, "", [])]
    shown = Shown(submitted.model or model.id, is_single=is_single, with_words=_chosen(asked.enable_words, is_single))
    request = JobRequest(
        RecognitionOptions(
            model=model,
            language=language,
            hotwords=asked.vocabulary_id,
            inverse_text_normalization=_chosen(asked.enable_itn, is_single),
            diarization=diarization,
        ),
        channels=tuple(asked.channel_id),
        warnings=(
            *submitted.warnings,
            *asked.warnings,
            *language_warnings,
            *diarization_warnings,
            *unknown_fields(unknown, {*TranscriptionParameters.model_fields, "phrase_id"}),
        ),
        dialect=DIALECT,
        details=shown.to_details(),
    )
    return [replace(request, audio_address=address) for address in addresses]


def _chosen(flag: bool | None, is_single: bool) -> bool:
    """Returns what a flag says; absent it is off in Qwen's form alone, as in the cloud."""
    return not is_single if flag is None else flag


def _language(asked: TranscriptionParameters, model: Model) -> tuple[str | None, Iterable[str]]:
    if asked.language is not None:
        return check_language(asked.language, "parameters.language", model), ()
    codes = {hint: language_code(cleaned(hint)) for hint in asked.language_hints}
    known = {code for code in codes.values() if code in model.languages}
    unknown = [hint for hint, code in codes.items() if code not in model.languages]
    warnings = [f"language_hints: the model {model.id} does not know {', '.join(unknown)[:200]}."] if unknown else []
    return (known.pop() if len(codes) == len(known) == 1 else None), warnings


def _diarization(asked: TranscriptionParameters, model: Model) -> tuple[Diarization | None, Iterable[str]]:
    if not asked.diarization_enabled:
        return None, ()
    if model.speaker is None:
        return None, [f"diarization_enabled had no effect: {model.id} has no model of speakers."]
    if len(asked.channel_id) > 1:
        return None, ["diarization_enabled had no effect: it is of one channel."]
    return Diarization(asked.speaker_count), ()


def moment(text: str, param: str) -> float | None:
    """Reads a time such as ``20261128100000``, in seconds of the epoch; None where there is none.

    Raises:
        InvalidRequest: it is none.
    """
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=TIME_ZONE).timestamp()
    except (ValueError, OverflowError):
        raise InvalidRequest(f"`{param}` must be a time such as 20261128100000.", param=param) from None


def job_status(status: Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED"]) -> Status:
    """Returns what a task's status is called here."""
    return _STATUSES[status]
