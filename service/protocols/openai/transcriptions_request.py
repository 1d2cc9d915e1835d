"""Reads what a transcription request of the OpenAI Audio API may say, and what it comes down to.

A request is read in two steps: ``TranscriptionForm`` checks each field by itself, so that a wrong one is
refused before the file behind it is read; ``resolve`` checks the fields together once all are known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, field_validator
from pydantic.json_schema import SkipJsonSchema

from runners import catalog
from service.domain import Diarization, Hotword, RecognitionOptions
from service.errors import InvalidRequest
from service.protocols.openai.transcriptions_response import Granularity
from service.protocols.shared.fields import invalid_field
from service.protocols.shared.hotwords import MOST_HOTWORDS, prompt_hotwords
from service.protocols.shared.names import known_language, loaded_model

ResponseFormat = Literal["json", "text", "srt", "vtt", "verbose_json", "diarized_json"]

# Names that OpenAI's clients send of their own accord; they mean the default model.
_ALIASES = ("whisper-*", "gpt-4o-*transcribe*", "gpt-transcribe*")
# A speaker reference is up to 10 s of audio as a data URL: 48 kHz stereo PCM16 fits.
FIELD_LIMITS = {"known_speaker_references": 3 * 2**20}


class ChunkingStrategy(BaseModel):
    """Holds OpenAI's voice activity settings, which are checked and not applied."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["auto", "server_vad"]
    threshold: float | None = Field(default=None, ge=0, le=1)
    prefix_padding_ms: int | None = Field(default=None, ge=0)
    silence_duration_ms: int | None = Field(default=None, ge=0)


class TranscriptionForm(BaseModel):
    """Holds the fields of ``POST /v1/audio/transcriptions`` but ``file``; an empty field counts as one not sent."""

    audio_address: str = Field(default="", description="An http(s) URL of the audio, instead of `file`.")
    audio_track: Annotated[int, Field(ge=1, le=1000)] | SkipJsonSchema[None] = Field(
        default=None,
        description="Which audio track of a file that has several, from 1; absent: the one that the file marks as its "
        "default.",
    )
    model: str = Field(
        default="",
        description="A model id of `/v1/models`. Absent, `whisper-1`, other `whisper-*` and "
        "`gpt-4o-*transcribe*` names mean the default model.",
    )
    language: str = Field(
        default="",
        description="Language of the audio: ISO-639-1 such as `zh`, or a name such as `Chinese`. Absent, "
        "Qwen3-ASR finds it and the answer has it.",
    )
    languages: list[str] = Field(
        default=[], alias="languages[]", description="Languages that the audio may be in, as in `language`."
    )
    prompt: str = Field(
        default="",
        description="Context: names and terms that occur in the recording. Qwen3-ASR reads it word for word (2,000 "
        "characters); Paraformer prefers its words, separated by spaces or commas, like `keywords[]`.",
    )
    keywords: list[Annotated[str, Field(max_length=200)]] = Field(
        default=[], alias="keywords[]", max_length=MOST_HOTWORDS, description="Words to prefer (hotwords)."
    )
    temperature: float = Field(
        default=0, ge=0, le=1, allow_inf_nan=False, description="Accepted; recognition is deterministic."
    )
    response_format: ResponseFormat | SkipJsonSchema[None] = Field(
        default=None,
        description="Default `verbose_json`; `json` where `include[]=logprobs` is asked for.",
    )
    timestamp_granularities: list[Granularity] = Field(
        default=[], alias="timestamp_granularities[]", description="What `verbose_json` gives times of."
    )
    include: list[Literal["logprobs"]] = Field(
        default=[], alias="include[]", description="`logprobs`: the words' log probabilities, in `json` or a stream."
    )
    chunking_strategy: Annotated[
        ChunkingStrategy | SkipJsonSchema[None], WithJsonSchema({"type": "string", "examples": ["auto"]})
    ] = Field(
        default=None,
        description="`auto`, or `server_vad` settings as JSON or as `chunking_strategy[type]` and so on; "
        "the settings are checked and not applied.",
    )
    known_speaker_names: list[str] = Field(
        default=[], alias="known_speaker_names[]", max_length=4, description="Names for at most four speakers."
    )
    known_speaker_references: list[str] = Field(
        default=[],
        alias="known_speaker_references[]",
        max_length=4,
        description="How each of them sounds: data URLs of 2 to 10 s of audio, as many as names.",
    )
    stream: bool = Field(default=False, description="Server-sent events: text as segments finish.")
    enable_speaker_diarization: bool = Field(
        default=True,
        description="Tell speakers apart, in the formats that say who speaks: `verbose_json`, `diarized_json`, "
        "`srt`, `vtt`.",
    )
    word_timestamps: bool = Field(
        default=True,
        description="Words with times in `verbose_json`, unless `timestamp_granularities[]` says. Qwen3-ASR has them "
        "in 11 languages; in others a warning says that there are none.",
    )
    enable_inverse_text_normalization: bool = Field(default=True, description="Numbers, dates and units in digits.")
    enable_punctuation_prediction: bool = Field(default=True, description="Punctuated text.")
    speaker_count: Annotated[int, Field(ge=1, le=100)] | SkipJsonSchema[None] = Field(
        default=None, description="How many speakers there are, if that is known; absent: it is found."
    )

    model_config = ConfigDict(populate_by_name=True, hide_input_in_errors=True)

    @field_validator("chunking_strategy", mode="before")
    @classmethod
    def _read_strategy(cls, value: object) -> object:
        if value == "auto":
            return {"type": "auto"}
        if isinstance(value, str):
            try:
                return json.loads(value)
            except (ValueError, RecursionError):
                raise ValueError("must be `auto` or a JSON object") from None
        return value

    @classmethod
    def from_fields(cls, fields: Mapping[str, Sequence[str]]) -> TranscriptionForm:
        """Reads form fields, in brackets or without.

        Raises:
            InvalidRequest: a field is given twice or has a value that it can't have; ``param`` names it.
        """
        try:
            return cls.model_validate(_grouped(fields))
        except ValidationError as error:
            raise invalid_field(error) from None


_LISTS = frozenset(f.alias.removesuffix("[]") for f in TranscriptionForm.model_fields.values() if f.alias)


def _grouped(fields: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Returns ``a[]`` and repeated ``a`` as lists where ``a`` is one, ``a[b]`` as a dict, everything else as it is."""
    grouped: dict[str, Any] = {}
    for given_name, values in fields.items():
        name, _, key = given_name.removesuffix("[]").partition("[")
        given = [value for value in values if value]
        if name in _LISTS:
            grouped.setdefault(name, []).extend(given)
        elif len(given) > 1 or (given and not key and name in grouped):
            raise InvalidRequest(f"`{name}` was given more than once.", param=name)
        elif given and key:
            settings = grouped.setdefault(name, {})
            if not isinstance(settings, dict):
                raise InvalidRequest(f"`{name}` was given both with and without brackets.", param=name)
            settings[key.removesuffix("]")] = given[0]
        elif given:
            grouped[name] = given[0]
    return grouped


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
        stream: Whether text is sent as segments finish.
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
    model = resolve_model(form.model, enabled)
    logprobs = "logprobs" in form.include
    response_format = form.response_format or ("json" if logprobs else "verbose_json")
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
        speaker_references=tuple(zip(form.known_speaker_names, form.known_speaker_references, strict=True)),
        audio_address=form.audio_address,
        audio_track=form.audio_track,
        response_format=response_format,
        granularities=granularities,
        logprobs=logprobs,
        stream=form.stream,
        warnings=tuple(_warnings(form, fields, unused, speakers_told=diarization is not None)),
    )


def _shows_word_times(
    form: TranscriptionForm, response_format: ResponseFormat, granularities: Sequence[Granularity]
) -> bool:
    """Says whether the answer has, or is cut by, times that some models have to find in a pass of their own."""
    if response_format in ("srt", "vtt"):
        return True
    return response_format == "verbose_json" and "word" in granularities and not form.stream


def resolve_model(name: str, enabled: Sequence[str]) -> catalog.Model:
    """Returns the loaded model that a client's name means.

    Raises:
        ModelNotFound: it is not among ``enabled``, which the message lists.
    """
    is_alias = any(fnmatchcase(name.strip().lower(), alias) for alias in _ALIASES)
    return loaded_model("" if is_alias else name, enabled)


def _check_formats(form: TranscriptionForm, response_format: ResponseFormat, model: catalog.Model) -> None:
    if form.stream and response_format in ("srt", "vtt"):
        raise InvalidRequest(f"`{response_format}` can't be streamed; use `json` or `text`.", param="response_format")
    if form.timestamp_granularities and (form.stream or response_format != "verbose_json"):
        raise InvalidRequest(
            "`timestamp_granularities[]` needs `response_format=verbose_json`, not streamed.",
            param="timestamp_granularities",
        )
    if len(form.known_speaker_names) != len(form.known_speaker_references):
        raise InvalidRequest(
            "`known_speaker_names[]` and `known_speaker_references[]` go together, one reference for each name.",
            param="known_speaker_references",
        )
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


def _language(form: TranscriptionForm, model: catalog.Model) -> str | None:
    """Returns the code that recognition is told; None when the form leaves it open."""
    if form.language and form.language.lower() != "auto":
        return known_language(form.language, "language", model)
    codes = [known_language(name, "languages", model) for name in form.languages]
    return codes[0] if len(codes) == 1 else None


def _warnings(
    form: TranscriptionForm, fields: Mapping[str, object], unused: Sequence[str], *, speakers_told: bool
) -> list[str]:
    warnings = []
    if unused:
        warnings.append(f"prompt: {len(unused)} of its parts had no effect: only words of 2 to 10 characters have.")
    if (form.known_speaker_names or form.speaker_count) and not speakers_told:
        warnings.append("known_speaker_names and speaker_count had no effect: the answer doesn't say who speaks.")
    if form.chunking_strategy and form.chunking_strategy.model_fields_set - {"type"}:
        warnings.append("chunking_strategy settings had no effect: segments follow the model's own VAD.")
    known = {"file", *TranscriptionForm.model_fields}
    unknown = sorted({name.partition("[")[0] for name in fields} - known)
    if unknown:
        warnings.append(f"Unknown fields had no effect: {', '.join(name[:50] for name in unknown)}.")
    return warnings
