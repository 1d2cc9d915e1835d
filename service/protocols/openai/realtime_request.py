"""Reads what a client of OpenAI's Realtime API may say in a transcription session, and what it comes down to."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from runners import catalog
from service.audio import g711
from service.audio.stream import AudioStream
from service.domain import Hotword, RecognitionOptions
from service.errors import InvalidRequest, ModelNotFound
from service.live.options import SessionOptions
from service.protocols.openai.transcriptions_request import resolve_model
from service.protocols.shared.hotwords import MOST_HOTWORDS, prompt_hotwords
from service.protocols.shared.names import known_language

_MODEL_PARAM = "session.audio.input.transcription.model"
# Names of OpenAI's live models; like whisper-1 they mean the default model.
_ALIASES = ("gpt-*realtime*", "gpt-live-transcribe*")
# What counts as the end of a sentence is bounded: below, words are torn apart; above, nothing ever ends.
_SILENCE_MS = (200, 6000)
_LOGPROBS = "item.input_audio_transcription.logprobs"
_LAWS: dict[str, g711.Law] = {"audio/pcmu": "mu", "audio/pcma": "a"}


class Format(BaseModel):
    """Describes the audio that is appended.

    Attributes:
        type: PCM16, or G.711 by mu-law (pcmu) or A-law (pcma); mono.
        rate: Of PCM16, in Hz; G.711 has always 8000.
    """

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: int = Field(default=24_000, ge=8000, le=96_000)

    @property
    def law(self) -> g711.Law | None:
        """Returns the law of G.711; None for PCM16."""
        return _LAWS.get(self.type)

    @property
    def bytes_per_s(self) -> int:
        """Returns how many bytes make a second of audio."""
        return g711.RATE_HZ if self.law else 2 * self.rate

    def stream(self) -> AudioStream:
        """Makes a stream of what ``pcm16`` returns."""
        return AudioStream("pcm", g711.RATE_HZ if self.law else self.rate)

    def pcm16(self, data: bytes) -> bytes:
        """Returns appended bytes as PCM16 at their own rate."""
        return g711.pcm16(data, self.law) if self.law else data


class Transcription(BaseModel):
    """Says how audio is recognised.

    Attributes:
        model: The id of a loaded model, or a name that means the default one, as null does.
        language: A code or a name; null: the model finds it.
        prompt: Names and terms that may occur; null: none.
        keywords: Hotwords.
    """

    model: str | None = None
    language: str | None = None
    prompt: str | None = None
    keywords: list[Annotated[str, Field(max_length=200)]] = Field(default=[], max_length=MOST_HOTWORDS)


def _within_bounds(value: object) -> object:
    return min(max(value, _SILENCE_MS[0]), _SILENCE_MS[1]) if isinstance(value, int | float) else value


class TurnDetection(BaseModel):
    """Says how the server finds where a sentence begins and ends.

    Attributes:
        type: The only kind there is.
        threshold: How sure to be of speech, from 0 to 1; 0.5 is the VAD's own.
        prefix_padding_ms: How much earlier than it was found speech is told to start.
        silence_duration_ms: The silence that ends a sentence; beyond what is sensible it is the nearest that is.
    """

    type: Literal["server_vad"] = "server_vad"
    threshold: float = Field(default=0.5, ge=0, le=1)
    prefix_padding_ms: int = Field(default=300, ge=0, le=60_000)
    silence_duration_ms: Annotated[int, BeforeValidator(_within_bounds)] = 500


class AudioInput(BaseModel):
    """Says what comes in, and what is done with it.

    Attributes:
        format: What the bytes of the audio are.
        noise_reduction: Accepted; it does nothing: the near-field filter is the server's setting.
        transcription: How the audio is recognised.
        turn_detection: How sentences become items; null: what the client commits does.
    """

    format: Format = Format()
    noise_reduction: dict[str, Any] | None = None
    transcription: Transcription = Transcription()
    turn_detection: TurnDetection | None = TurnDetection()


class Audio(BaseModel):
    """Holds the settings of audio; there is none but the client's."""

    input: AudioInput = AudioInput()


class SessionSettings(BaseModel):
    """Holds a transcription session's configuration, in the API's own shape.

    Fields that mean nothing here are not read.

    Attributes:
        type: The only kind there is.
        audio: What comes in, and what is done with it.
        include: What the client wants beside text; of that there is "item.input_audio_transcription.logprobs".
    """

    type: Literal["transcription"] = "transcription"
    audio: Audio = Audio()
    include: list[str] | None = None

    model_config = ConfigDict(hide_input_in_errors=True)

    def updated(self, session: dict[str, Any], enabled: Sequence[str]) -> SessionSettings:
        """Returns the settings with what a ``session`` changes, in the shape of today or the flat one of before.

        Raises:
            InvalidRequest: a value that is wrong or not to be had; ``param`` is its path.
            ModelNotFound: the model is not among ``enabled``.
        """
        try:
            changed = SessionSettings.model_validate(_merged(self.model_dump(), _nested(session)))
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            param = ".".join(["session", *map(str, problem["loc"])])
            raise InvalidRequest(f"`{param}`: {problem['msg']}", param=param) from None
        changed.recognition(enabled)
        return changed

    def recognition(self, enabled: Sequence[str]) -> RecognitionOptions:
        """Makes the options of recognition.

        Raises:
            InvalidRequest, ModelNotFound: as ``updated``.
        """
        wanted = self.audio.input.transcription
        model = _model(wanted.model or "", enabled)
        language = wanted.language
        prompted, _ = prompt_hotwords(wanted.prompt or "", model)
        return RecognitionOptions(
            model=model,
            language=known_language(language, "session.audio.input.transcription.language", model)
            if language
            else None,
            prompt=wanted.prompt or "",
            hotwords=(*prompted, *(Hotword(word) for word in wanted.keywords)),
        )

    def session_options(self, enabled: Sequence[str], own_threshold: float) -> SessionOptions:
        """Makes the options of a session; raises as ``recognition``.

        ``own_threshold`` is the VAD's speech_noise_thres, which a threshold of 0.5 stands for.
        """
        detection = self.audio.input.turn_detection or TurnDetection()
        return SessionOptions(
            recognition=self.recognition(enabled),
            # Deltas can be appended only where marks don't change what was sent already.
            partial_punctuation=False,
            max_sentence_silence_ms=detection.silence_duration_ms,
            speech_noise_threshold=_noise_threshold(detection.threshold, own_threshold),
        )

    @property
    def logprobs(self) -> bool:
        """Says whether the client wants log probabilities."""
        return _LOGPROBS in (self.include or [])

    def described(self, session_id: str, enabled: Sequence[str]) -> dict[str, Any]:
        """Describes the session as events show it, with what is really used."""
        given = self.audio.input
        format = given.format.model_dump(exclude={"rate"} if given.format.law else None)
        transcription = {**given.transcription.model_dump(), "model": self.recognition(enabled).model.id}
        audio = {"input": {**given.model_dump(), "format": format, "transcription": transcription}}
        identity = {"id": session_id, "object": "realtime.transcription_session"}
        return {**identity, **self.model_dump(), "audio": audio}


def _model(name: str, enabled: Sequence[str]) -> catalog.Model:
    is_alias = any(fnmatchcase(name.strip().lower(), alias) for alias in _ALIASES)
    try:
        return resolve_model("" if is_alias else name, enabled)
    except ModelNotFound as failure:
        failure.param = _MODEL_PARAM
        raise


def _noise_threshold(threshold: float, own: float) -> float:
    """Puts 0 to 1 on the VAD's scale of -1 to 1, with 0.5 at its own setting."""
    return own + (threshold - 0.5) * 2 * (own + 1 if threshold < 0.5 else 1 - own)


def flattened(session: dict[str, Any]) -> dict[str, Any]:
    """Returns a described session in the flat shape that `transcription_session.updated` has."""
    given = session["audio"]["input"]
    names = {kind: name for name, kind in _FORMATS.items()}
    return {
        **{name: value for name, value in session.items() if name not in ("audio", "type")},
        "input_audio_format": names[given["format"]["type"]],
        **{flat: given[name] for flat, name in _FLAT.items()},
    }


_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_FLAT = {
    "input_audio_noise_reduction": "noise_reduction",
    "input_audio_transcription": "transcription",
    "turn_detection": "turn_detection",
}


def _nested(session: dict[str, Any]) -> dict[str, Any]:
    """Returns a flat session, as `transcription_session.update` brings it, in the shape of today."""
    given: dict[str, Any] = {_FLAT[name]: value for name, value in session.items() if name in _FLAT}
    if session.get("input_audio_format") is not None:
        name = session["input_audio_format"]
        given["format"] = {"type": _FORMATS.get(name, name) if isinstance(name, str) else name}
    rest = {name: value for name, value in session.items() if name in SessionSettings.model_fields}
    return _merged(rest, {"audio": {"input": given}}) if given else rest


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Replaces what was by what is given; null takes a setting back to its default, and switches turn detection off."""
    merged = dict(old)
    for name, value in new.items():
        was = merged.get(name)
        if isinstance(value, dict) and isinstance(was, dict):
            merged[name] = _merged(was, value)
        elif value is None and name != "turn_detection":
            merged.pop(name, None)
        else:
            merged[name] = value
    return merged


class RefusedEvent(InvalidRequest):
    """A client's event can't be followed; the session goes on.

    Attributes:
        event_id: What the client calls the event; None where it doesn't say.
    """

    code = "invalid_value"

    def __init__(self, message: str, event_id: str | None, *, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.event_id = event_id


@dataclass(frozen=True, slots=True)
class Append:
    """Appends audio, in the session's format."""

    audio: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """Ends an item: what was appended since the last one."""

    event_id: str | None


@dataclass(frozen=True, slots=True)
class Clear:
    """Throws away what was appended since the last item."""


@dataclass(frozen=True, slots=True)
class Update:
    """Changes the session's configuration.

    Attributes:
        session: What changes, as the client sent it.
        answer: The type of the event that tells the client that it was done.
        event_id: What the client calls the event; None where it doesn't say.
    """

    session: dict[str, Any]
    answer: Literal["session.updated", "transcription_session.updated"]
    event_id: str | None


ClientEvent = Append | Commit | Clear | Update


def read_event(message: str | bytes) -> ClientEvent:
    """Reads a message.

    Raises:
        RefusedEvent: it is no event, or none that a transcription session knows.
    """
    try:
        event = json.loads(message)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise RefusedEvent("An event must be a JSON object in a text frame.", None)
    given_id = event.get("event_id")
    event_id = given_id if isinstance(given_id, str) else None
    kind = event.get("type")
    if kind == "input_audio_buffer.append":
        return Append(_audio(event.get("audio"), event_id))
    if kind == "input_audio_buffer.commit":
        return Commit(event_id)
    if kind == "input_audio_buffer.clear":
        return Clear()
    if kind in ("session.update", "transcription_session.update"):
        session = event.get("session")
        if not isinstance(session, dict):
            raise RefusedEvent("`session` must be an object.", event_id, param="session")
        answer: Literal["session.updated", "transcription_session.updated"] = (
            "session.updated" if kind == "session.update" else "transcription_session.updated"
        )
        return Update(session, answer, event_id)
    raise RefusedEvent(
        f"A transcription session knows no event {str(kind)[:100]!r}: send session.update, "
        "input_audio_buffer.append, input_audio_buffer.commit or input_audio_buffer.clear.",
        event_id,
        param="type",
    )


def _audio(text: object, event_id: str | None) -> bytes:
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise RefusedEvent("`audio` must be base64-encoded audio bytes.", event_id, param="audio")
