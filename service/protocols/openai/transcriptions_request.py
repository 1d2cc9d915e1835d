"""Reads what a transcription request of the OpenAI Audio API may say, and what it comes down to.

A request is read in two steps: ``TranscriptionForm`` checks each field by itself, so that a wrong one is
refused before the file behind it is read; ``resolve`` checks the fields together once all are known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import ConfigDict, Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from runners import catalog
from service.domain import Diarization, Hotword, RecognitionOptions
from service.errors import InvalidRequest
from service.intake.uploads import FieldLimit
from service.protocols.openai.transcriptions_response import Granularity
from service.protocols.shared.hotwords import Keywords, prompt_hotwords, unused_warnings
from service.protocols.shared.names import check_language, loaded_model
from service.protocols.shared.values import (
    COMMAS,
    LONGEST_NAME,
    LONGEST_PROMPT,
    Choice,
    ClientValues,
    Flag,
    Items,
    Language,
    Nearest,
    Text,
    is_chosen,
    number,
    unknown_fields,
)

ResponseFormat = Literal["json", "text", "srt", "vtt", "verbose_json", "diarized_json"]

_MOST_SPEAKERS = 4
# A speaker reference is up to 10 s of audio as a data URL: 48 kHz stereo PCM16 fits.
FIELD_LIMITS = {"known_speaker_references": FieldLimit(3 * 2**20, _MOST_SPEAKERS)}
# Fields that have no effect, and so no wrong value.
_UNUSED = ("temperature", "chunking_strategy")


_FormT = TypeVar("_FormT", bound="TranscriptionForm")


class TranscriptionForm(ClientValues):
    """Holds the fields of ``POST /v1/audio/transcriptions`` but ``file``; an empty field counts as one not sent."""

    audio_address: Annotated[str, Text(10_000)] = Field(
        default="", description="An http(s) URL of the audio, instead of `file`."
    )
    audio_track: Annotated[int, Nearest(1, 1000, less_is_none=True)] | SkipJsonSchema[None] = Field(
        default=None,
        description="Which audio track of a file that has several, from 1; absent: the one that the file marks as its "
        "default.",
    )
    model: Annotated[str, Text(1000)] = Field(
        default="",
        description="A model id of `/v1/models`, its hub repository, or its family's name. Absent, `whisper-1`, other "
        "`whisper-*` and `gpt-4o-*transcribe*` names mean the default model.",
    )
    language: Language = Field(
        default=None,
        description="Language of the audio: ISO-639-1 such as `zh`, or a name such as `Chinese`; a Chinese dialect "
        "such as `Sichuan` means Chinese or Cantonese. Absent or `auto`, Qwen3-ASR finds it and the answer has it.",
    )
    languages: Annotated[list[Language], Items()] = Field(
        default=[], alias="languages[]", description="Languages that the audio may be in, as in `language`."
    )
    prompt: Annotated[str, Text(LONGEST_PROMPT, cut=True)] = Field(
        default="",
        description="Context: names and terms that occur in the recording. Qwen3-ASR reads it word for word (2,000 "
        "characters); Paraformer prefers its words, separated by spaces or commas, like `keywords[]`.",
    )
    keywords: Keywords = Field(
        default=[],
        alias="keywords[]",
        description="Words to prefer (hotwords), also several in one field, between commas or spaces.",
    )
    temperature: Annotated[list[Any], WithJsonSchema({"type": "number"})] = Field(
        default=[], description="Accepted; recognition is deterministic."
    )
    response_format: Annotated[ResponseFormat, Choice()] | SkipJsonSchema[None] = Field(
        default=None,
        description="Default `verbose_json`; `json` where `include[]=logprobs` is asked for.",
    )
    timestamp_granularities: Annotated[list[Annotated[Granularity, Choice()]], Items()] = Field(
        default=[], alias="timestamp_granularities[]", description="What `verbose_json` gives times of."
    )
    include: Annotated[list[Annotated[Literal["logprobs"], Choice()]], Items()] = Field(
        default=[], alias="include[]", description="`logprobs`: the words' log probabilities, in `json` or a stream."
    )
    chunking_strategy: Annotated[list[Any], WithJsonSchema({"type": "string", "examples": ["auto"]})] = Field(
        default=[], description="Accepted; segments follow the model's own VAD."
    )
    known_speaker_names: Annotated[list[Annotated[str, Text(LONGEST_NAME)]], Items("")] = Field(
        default=[],
        alias="known_speaker_names[]",
        max_length=_MOST_SPEAKERS,
        description="Names for at most four speakers.",
    )
    known_speaker_references: Annotated[list[str], Items(r",(?=data:)")] = Field(
        default=[],
        alias="known_speaker_references[]",
        max_length=_MOST_SPEAKERS,
        description="How each of them sounds: data URLs of 2 to 10 s of audio, as many as names.",
    )
    stream: Flag = Field(default=False, description="Server-sent events: text as sentences settle.")
    enable_speaker_diarization: Flag = Field(
        default=True,
        description="Tell speakers apart, in the formats that say who speaks: `verbose_json`, `diarized_json`, "
        "`srt`, `vtt`.",
    )
    word_timestamps: Flag = Field(
        default=True,
        description="Words with times in `verbose_json`, unless `timestamp_granularities[]` says. Qwen3-ASR has them "
        "in 11 languages; in others a warning says that there are none.",
    )
    enable_inverse_text_normalization: Flag = Field(default=True, description="Numbers, dates and units in digits.")
    enable_punctuation_prediction: Flag = Field(default=True, description="Punctuated text.")
    speaker_count: Annotated[int, Nearest(1, 100, less_is_none=True)] | SkipJsonSchema[None] = Field(
        default=None, description="How many speakers there are, if that is known; absent or 0: it is found."
    )

    model_config = ConfigDict(populate_by_name=True)

    @classmethod
    def from_fields(cls: type[_FormT], fields: Mapping[str, Sequence[str]]) -> _FormT:
        """Reads form fields, in brackets or without.

        Raises:
            InvalidRequest: a field is given twice or has a value that it can't have; ``param`` names it.
        """
        return cls.read(_grouped(fields))


_LISTS = frozenset(f.alias.removesuffix("[]") for f in TranscriptionForm.model_fields.values() if f.alias)


def _grouped(fields: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Returns ``a[]``, ``a[0]`` and repeated ``a`` as lists where ``a`` is one, and one value of the rest."""
    grouped: dict[str, Any] = {}
    for given_name, values in fields.items():
        name, _, key = given_name.removesuffix("[]").partition("[")
        given = list(dict.fromkeys(value for value in values if value))
        if name in _LISTS:
            grouped.setdefault(name, []).extend(value for value in values if value)
        elif name in _UNUSED:
            grouped.setdefault(name, []).extend({key.removesuffix("]"): value} if key else value for value in given)
        elif len(given) > 1 or (given and grouped.get(name, given[0]) != given[0]):
            raise InvalidRequest(f"`{name}` was given more than once.", param=name)
        elif given:
            grouped[name] = given[0]
    return grouped


class Presentation(Protocol):
    """Says what an answer looks like."""

    @property
    def response_format(self) -> ResponseFormat:
        """Names the format."""

    @property
    def granularities(self) -> tuple[Granularity, ...]:
        """Says what ``verbose_json`` gives times of."""

    @property
    def logprobs(self) -> bool:
        """Says whether the answer has the words' log probabilities."""


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """Says what is to be done, free of the form's spellings.

    Attributes:
        options: What is asked of recognition; ``diarization`` has no known speakers yet.
        speaker_references: (name, data URL) of the known speakers, to be decoded.
        audio_address: Where the audio is to be fetched; "": it is the form's file.
        audio_track: Which of several audio tracks is meant, from 1; None: the file's default.
        response_format: What the answer looks like.
        granularities: What ``verbose_json`` gives times of.
        logprobs: Whether the answer has the words' log probabilities.
        stream: Whether text is sent as sentences settle.
        warnings: What of the form has no effect, for people.
    """

    options: RecognitionOptions
    speaker_references: tuple[tuple[str, str], ...]
    audio_address: str
    audio_track: int | None
    response_format: ResponseFormat
    granularities: tuple[Granularity, ...]
    logprobs: bool
    stream: bool
    warnings: tuple[str, ...]


def resolve(form: TranscriptionForm, fields: Mapping[str, object], enabled: Sequence[str]) -> TranscriptionRequest:
    """Turns a complete form into the request that it makes.

    ``fields`` are those that were sent, ``enabled`` the loaded models.

    Raises:
        ModelNotFound: the model is not among ``enabled``.
        InvalidRequest: fields that don't go together, a language that the model doesn't know.
    """
    model = loaded_model(form.model, enabled)
    logprobs = "logprobs" in form.include
    response_format = form.response_format or ("json" if logprobs else "verbose_json")
    names, references = _known_speakers(form)
    _check_formats(form, response_format, model)
    diarization = _diarization(form, response_format, model)
    prompted, unused = prompt_hotwords(form.prompt, model)
    words = form.word_timestamps and not form.timestamp_granularities
    granularities = tuple(form.timestamp_granularities) or (("segment", "word") if words else ("segment",))
    return TranscriptionRequest(
        options=RecognitionOptions(
            model=model,
            language=_language(form, model),
            prompt=form.prompt,
            hotwords=(*prompted, *(Hotword(word) for word in form.keywords)),
            word_timestamps=_shows_word_times(form, response_format, granularities),
            punctuation=form.enable_punctuation_prediction,
            inverse_text_normalization=form.enable_inverse_text_normalization,
            diarization=diarization,
        ),
        speaker_references=tuple(zip(names, references, strict=True)),
        audio_address=form.audio_address,
        audio_track=form.audio_track,
        response_format=response_format,
        granularities=granularities,
        logprobs=logprobs,
        stream=form.stream,
        warnings=(
            *form.warnings,
            *unused_warnings(unused),
            *_unused_warnings(form, response_format, speakers_told=diarization is not None),
            *unknown_fields((name.partition("[")[0] for name in fields), {"file", *TranscriptionForm.model_fields}),
        ),
    )


def _shows_word_times(
    form: TranscriptionForm, response_format: ResponseFormat, granularities: Sequence[Granularity]
) -> bool:
    """Says whether the answer has, or is cut by, times that some models have to find in a pass of their own."""
    if response_format in ("srt", "vtt"):
        return True
    return response_format == "verbose_json" and "word" in granularities and not form.stream


def _check_formats(form: TranscriptionForm, response_format: ResponseFormat, model: catalog.Model) -> None:
    if form.stream and response_format in ("srt", "vtt"):
        raise InvalidRequest(f"`{response_format}` can't be streamed; use `json` or `text`.", param="response_format")
    if response_format == "diarized_json" and (not form.enable_speaker_diarization or model.speaker is None):
        reason = (
            "with speaker diarization" if model.speaker else f"with a model that tells voices apart, not {model.id}"
        )
        raise InvalidRequest(f"`diarized_json` can only be had {reason}.", param="response_format")
    if form.include and not form.stream and response_format != "json":
        raise InvalidRequest("`include[]=logprobs` needs `response_format=json` or `stream=true`.", param="include")


def _diarization(form: TranscriptionForm, response_format: ResponseFormat, model: catalog.Model) -> Diarization | None:
    """Returns None where the answer would not say who speaks, or nobody asked."""
    told = response_format == "diarized_json" or (response_format in ("verbose_json", "srt", "vtt") and not form.stream)
    if not told or not form.enable_speaker_diarization or model.speaker is None:
        return None
    return Diarization(form.speaker_count)


def _known_speakers(form: TranscriptionForm) -> tuple[list[str], list[str]]:
    """Returns (names, references), one of these for each of those; one field may hold all names, between commas."""
    names, references = form.known_speaker_names, form.known_speaker_references
    if len(names) == 1 and len(references) > 1:
        names = [name for name in re.split(COMMAS, names[0]) if name]
    if len(names) != len(references):
        raise InvalidRequest(
            "`known_speaker_names[]` and `known_speaker_references[]` go together, one reference for each name.",
            param="known_speaker_references",
        )
    return names, references


def _language(form: TranscriptionForm, model: catalog.Model) -> str | None:
    """Returns the code that recognition is told; None when the form leaves it open."""
    if form.language:
        return check_language(form.language, "language", model)
    codes = [check_language(code, "languages", model) for code in form.languages if code]
    return codes[0] if len(codes) == 1 else None


def _unused_warnings(form: TranscriptionForm, response_format: ResponseFormat, *, speakers_told: bool) -> Iterator[str]:
    if (form.known_speaker_names or form.speaker_count) and not speakers_told:
        yield "known_speaker_names and speaker_count had no effect: the answer doesn't say who speaks."
    if form.timestamp_granularities and (form.stream or response_format != "verbose_json"):
        yield "timestamp_granularities had no effect: only verbose_json, not streamed, chooses what has times."
    temperatures = [number(value) for value in form.temperature if is_chosen(value)]
    if len(temperatures) > 1 or any(value is None or not 0 <= value <= 1 for value in temperatures):
        yield "temperature had no effect: recognition is deterministic."
    if not all(_is_own_strategy(value) for value in form.chunking_strategy):
        yield "chunking_strategy settings had no effect: segments follow the model's own VAD."


def _is_own_strategy(value: object) -> bool:
    """Says whether a chunking strategy is what happens anyway: the server's, without settings."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return False
    kind = value["type"] if isinstance(value, dict) and value.keys() == {"type"} else value
    return not is_chosen(kind) or (isinstance(kind, str) and kind.strip().lower() == "server_vad")
