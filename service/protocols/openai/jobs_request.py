"""Reads what a request for jobs may say: a transcription's fields, and what is a job's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.domain import RecognitionOptions
from service.errors import InvalidRequest
from service.jobs.job import JobRequest
from service.protocols.openai.transcriptions_request import (
    ResponseFormat,
    TranscriptionForm,
    TranscriptionRequest,
    resolve,
)
from service.protocols.openai.transcriptions_response import Granularity
from service.protocols.shared.fields import invalid_field, json_object
from service.protocols.shared.values import Choice, Text

MOST_ADDRESSES = 100
LONGEST_LABEL = 200


class JobForm(TranscriptionForm):
    """Holds the fields of ``POST /v1/audio/jobs`` but ``file``; ``audio_address[]`` may come several times."""

    callback_url: Annotated[str, Text(10_000)] = Field(
        default="", description="An http(s) URL that is sent the job when it has ended."
    )
    priority: Annotated[Literal["batch", "interactive"], Choice()] = Field(
        default="batch", description="`interactive` goes before the other jobs of the same key."
    )
    label: Annotated[str, Text(LONGEST_LABEL)] = Field(default="", description="Free text, to find the job by.")
    upload: Annotated[str, Text(200)] = Field(
        default="", description="The id of a finished upload of `/v1/audio/uploads`, instead of `file`."
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """Says how a job's transcript is shown where the one who reads it doesn't say."""

    response_format: ResponseFormat = "verbose_json"
    granularities: tuple[Granularity, ...] = ("segment", "word")
    logprobs: bool = False

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Shown:
        """Reads it from a job that another protocol may have brought."""
        if not details.get("response_format"):
            return cls()
        return cls(details["response_format"], tuple(details["granularities"]), details["logprobs"])

    @classmethod
    def named(cls, response_format: str) -> Shown:
        """Takes a format by its name.

        Raises:
            InvalidRequest: there is none of that name.
        """
        if response_format not in get_args(ResponseFormat):
            formats = ", ".join(get_args(ResponseFormat))
            raise InvalidRequest(f"`response_format` must be one of {formats}.", param="response_format")
        return cls(response_format)  # type: ignore[arg-type]


def split_addresses(fields: Mapping[str, Sequence[str]]) -> tuple[dict[str, Sequence[str]], list[str]]:
    """Returns the fields without ``audio_address``, and its values.

    Raises:
        InvalidRequest: they are too many.
    """
    others = {name: values for name, values in fields.items() if name.partition("[")[0] != "audio_address"}
    addresses = [value for name, values in fields.items() if name not in others for value in values if value]
    if len(addresses) > MOST_ADDRESSES:
        raise InvalidRequest(f"`audio_address` has more than {MOST_ADDRESSES} values.", param="audio_address")
    return others, addresses


def resolve_job(
    form: JobForm, fields: Mapping[str, object], enabled: Sequence[str]
) -> tuple[JobRequest, TranscriptionRequest]:
    """Returns what a job is to do, and the transcription request that its fields make.

    The answer may be asked for in any format later: what any of them needs is found.

    Raises:
        ModelNotFound, InvalidRequest: as for transcriptions.
    """
    known = JobForm.model_fields.keys() - TranscriptionForm.model_fields.keys()
    asked = resolve(
        form.model_copy(update={"stream": False}), {n: v for n, v in fields.items() if n not in known}, enabled
    )
    widest = form.model_copy(
        update={"response_format": None, "stream": False, "include": [], "timestamp_granularities": []}
    )
    options: RecognitionOptions = resolve(widest, {}, enabled).options
    shown = Shown(asked.response_format, asked.granularities, asked.logprobs)
    details = {
        "response_format": shown.response_format,
        "granularities": list(shown.granularities),
        "logprobs": shown.logprobs,
    }
    warnings = [warning for warning in asked.warnings if "speaker" not in warning or options.diarization is None]
    if form.stream:
        warnings.append("stream had no effect: a job's events tell its segments as they finish.")
    request = JobRequest(
        options=options,
        audio_track=asked.audio_track,
        callback_url=form.callback_url,
        label=form.label,
        interactive=form.priority == "interactive",
        warnings=tuple(warnings),
        details=details,
    )
    return request, replace(asked, options=options)


class SegmentCorrection(BaseModel):
    """Gives a segment another text."""

    model_config = ConfigDict(extra="forbid")

    id: int = Field(ge=0)
    text: Annotated[str, Field(max_length=20_000)]


class Correction(BaseModel):
    """Corrects a transcript: the names of speakers, by the labels that are shown, and the text of segments."""

    model_config = ConfigDict(extra="forbid")

    speakers: dict[Annotated[str, Field(max_length=200)], Annotated[str, Field(min_length=1, max_length=200)]] = {}
    segments: list[SegmentCorrection] = []

    @classmethod
    def from_body(cls, body: bytes) -> Correction:
        """Reads the body of a request, whatever its Content-Type says.

        Raises:
            InvalidRequest: it is no JSON object, or has a field that it can't have.
        """
        given = json_object(body.decode("utf-8", "replace"))
        if given is None:
            raise InvalidRequest("The body must be a JSON object with `speakers` or `segments`.")
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise invalid_field(error) from None
