"""Reads what a request of Alibaba Cloud's REST APIs may say in its query, and what it comes down to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from service.domain import Diarization, RawPcm, RecognitionOptions
from service.errors import InvalidRequest
from service.protocols.shared.fields import field_schemas
from service.protocols.shared.hotwords import Hotwords
from service.protocols.shared.names import loaded_model
from service.protocols.shared.values import (
    FORMAT_NAMES,
    Choice,
    ClientValues,
    Flag,
    Nearest,
    PcmRate,
    Text,
    unknown_fields,
)

AudioFormat = Literal["pcm", "wav", "mp3", "aac", "amr", "opus", "speex", "flac", "m4a", "mp4"]
SAMPLE_RATES_HZ = (8000, 16000, 22050, 24000, 44100, 48000)

# Read before the query is: see service/auth.py.
_TOKEN = "token"

QueryT = TypeVar("QueryT", bound="AudioQuery")


class AudioQuery(ClientValues):
    """Holds what every query says of its audio and its text; an empty parameter counts as one not sent."""

    appkey: str = Field(default="", description="Accepted; this service has no projects.")
    format: Annotated[AudioFormat, Choice(FORMAT_NAMES, needless=True)] | SkipJsonSchema[None] = Field(
        default=None,
        description="`pcm`: headerless 16-bit mono PCM. Any other format is found from the bytes.",
    )
    sample_rate: Annotated[int, PcmRate(rates=SAMPLE_RATES_HZ)] = Field(
        default=16000, description="What headerless PCM was sampled at, in Hz; other audio says so itself."
    )
    model_id: Annotated[str, Text(1000)] = Field(
        default="", description="A model id of `/stream/v1/asr/models`; absent: the default model."
    )
    audio_address: Annotated[str, Text(10_000)] = Field(
        default="", description="An http(s) URL of the audio, instead of a body."
    )
    audio_track: Annotated[int, Nearest(1, 1000, less_is_none=True)] | SkipJsonSchema[None] = Field(
        default=None,
        description="Which audio track of a file that has several, from 1; absent: the one that the file marks as its "
        "default. Ours.",
    )
    vocabulary_id: Hotwords = Field(
        default=(), description="Hotwords with weights from 1 to 100: `词1 权重1 词2 权重2`."
    )
    enable_inverse_text_normalization: Flag = Field(default=True, description="Numbers, dates and units in digits.")

    @classmethod
    def from_items(cls: type[QueryT], items: Iterable[tuple[str, str]]) -> QueryT:
        """Reads a query's names and values; unknown names are left to ``all_warnings``.

        Raises:
            InvalidRequest: a parameter is given twice, is not UTF-8, or has a value that it can't have;
                ``param`` names it.
        """
        given: dict[str, str] = {}
        for name, value in items:
            if name in cls.model_fields and value:
                if given.setdefault(name, value) != value:
                    raise InvalidRequest(f"`{name}` was given more than once.", param=name)
                if "\ufffd" in value:
                    raise InvalidRequest(f"The text of `{name}` is not UTF-8.", param=name)
        return cls.read(given)

    @property
    def raw(self) -> RawPcm | None:
        """Says how to read headerless PCM; None where the client named something else."""
        return RawPcm(self.sample_rate) if self.format == "pcm" else None

    def all_warnings(self, names: Iterable[str]) -> tuple[str, ...]:
        """Says what of a query that has ``names`` had no effect, for people."""
        return (*self.warnings, *unknown_fields(names, {*type(self).model_fields, _TOKEN}))


class RecognitionQuery(AudioQuery):
    """Holds the query of ``POST /stream/v1/asr``."""

    enable_speaker_diarization: Flag = Field(default=True, description="`speaker_id` in the segments.")
    speaker_count: Annotated[int, Nearest(1, 100, less_is_none=True)] | SkipJsonSchema[None] = Field(
        default=None, description="How many speakers there are, if that is known; absent or 0: it is found. Ours."
    )
    word_timestamps: Flag = Field(default=True, description="`word_tokens` in the segments: words with their times.")
    enable_punctuation_prediction: Flag = Field(default=True, description="Punctuated text.")


@dataclass(frozen=True, slots=True)
class RecognitionRequest:
    """Says what is to be done, free of the query's spellings.

    Attributes:
        options: What is asked of recognition.
        audio_address: Where the audio is to be fetched; "": it is the body.
        raw: How to read headerless PCM; None where the client named something else.
        audio_track: Which of several audio tracks is meant, from 1; None: the file's default.
        warnings: What of the query has no effect, for people.
    """

    options: RecognitionOptions
    audio_address: str
    raw: RawPcm | None
    audio_track: int | None
    warnings: tuple[str, ...]


def resolve(query: RecognitionQuery, names: Iterable[str], enabled: Sequence[str]) -> RecognitionRequest:
    """Turns a query into the request that it makes.

    ``names`` are those that were sent, ``enabled`` the loaded models.

    Raises:
        ModelNotFound: the model is not among ``enabled``.
    """
    model = loaded_model(query.model_id, enabled)
    tell_apart = query.enable_speaker_diarization and model.speaker is not None
    return RecognitionRequest(
        options=RecognitionOptions(
            model=model,
            hotwords=query.vocabulary_id,
            word_timestamps=query.word_timestamps,
            punctuation=query.enable_punctuation_prediction,
            inverse_text_normalization=query.enable_inverse_text_normalization,
            diarization=Diarization(query.speaker_count) if tell_apart else None,
        ),
        audio_address=query.audio_address,
        raw=query.raw,
        audio_track=query.audio_track,
        warnings=query.all_warnings(names),
    )


def query_parameters(query: type[AudioQuery]) -> list[dict[str, Any]]:
    """Describes a query in the OpenAPI document's words."""
    return [
        {"name": name, "in": "query", "required": False, "description": schema.pop("description"), "schema": schema}
        for name, schema in field_schemas(query).items()
    ]
