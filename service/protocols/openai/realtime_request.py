"""Reads what a client of OpenAI's Realtime API may say in a transcription session, and what it comes down to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ValidationInfo

from runners import catalog
from service.audio import g711
from service.audio.stream import AudioStream
from service.domain import Hotword, RecognitionOptions
from service.errors import InvalidRequest, ModelNotFound
from service.live.options import SessionOptions
from service.protocols.shared.hotwords import Keywords, prompt_hotwords, unused_warnings
from service.protocols.shared.names import check_language, loaded_model
from service.protocols.shared.values import (
    LONGEST_NAME,
    LONGEST_PROMPT,
    Choice,
    ClientValues,
    Items,
    Language,
    Nearest,
    PcmRate,
    Text,
    decode_base64,
    is_chosen,
    warn,
)
from service.text.words import cut_context_warnings

_TRANSCRIPTION = "session.audio.input.transcription"
_LOGPROBS = "item.input_audio_transcription.logprobs"
_LAWS: dict[str, g711.Law] = {"audio/pcmu": "mu", "audio/pcma": "a"}
_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_FORMAT_NAMES = {**_FORMATS, "pcm": "audio/pcm", "pcmu": "audio/pcmu", "pcma": "audio/pcma"}
# What clients call turn detection that is switched off.
_OFF = ("", "none", "null", "off", "disabled", "false", "manual")


class Format(BaseModel):
    """Describes the audio that is appended.

    Attributes:
        type: PCM16, or G.711 by mu-law (pcmu) or A-law (pcma); mono.
        rate: Of PCM16, in Hz; G.711 has always 8000.
    """

    type: Annotated[Literal["audio/pcm", "audio/pcmu", "audio/pcma"], Choice(_FORMAT_NAMES)] = "audio/pcm"
    rate: Annotated[int, PcmRate("type", pcm="audio/pcm")] = 24_000

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
        model: The name of a loaded model, or one that means the default one, as null does.
        language: A code, read from any name; null: the model finds it.
        prompt: Names and terms that may occur; null: none.
        keywords: Hotwords.
    """

    model: Annotated[str, Text(1000)] | None = None
    language: Language = None
    prompt: Annotated[str, Text(LONGEST_PROMPT, cut=True)] | None = None
    keywords: Keywords = []


class TurnDetection(BaseModel):
    """Says how the server finds where a sentence begins and ends.

    Attributes:
        type: The only kind there is.
        threshold: How sure to be of speech, from 0 to 1; 0.5 is the VAD's own.
        prefix_padding_ms: How much earlier than it was found speech is told to start.
        silence_duration_ms: The silence that ends a sentence. It is bounded: below, words are torn apart; above,
            nothing ever ends.
    """

    type: Annotated[Literal["server_vad"], Choice()] = "server_vad"
    threshold: Annotated[float, Nearest(0, 1)] = 0.5
    prefix_padding_ms: Annotated[int, Nearest(0, 60_000)] = 300
    silence_duration_ms: Annotated[int, Nearest(200, 6000)] = 500


def _detection(value: object, info: ValidationInfo) -> object:
    """Reads turn detection that is only named, or switched off by a name; ``semantic_vad`` is served as server_vad."""
    given = {"type": value} if isinstance(value, str) else value
    if value is False or (isinstance(given, dict) and str(given.get("type", "server_vad")).lower() in _OFF):
        return None
    if isinstance(given, dict) and str(given.get("type")).lower() == "semantic_vad":
        warn(info, "semantic_vad is served as server_vad.")
        return {**given, "type": "server_vad"}
    return given


def _named_format(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


def _named_reduction(value: object) -> object:
    """Keeps the name of a noise reduction, which is all that there is to tell again."""
    kind = value.get("type") if isinstance(value, dict) else value
    return {"type": kind} if isinstance(kind, str) and is_chosen(kind) and len(kind) <= LONGEST_NAME else None


class AudioInput(BaseModel):
    """Says what comes in, and what is done with it.

    Attributes:
        format: What the bytes of the audio are.
        noise_reduction: Accepted; it does nothing: the near-field filter is the server's setting.
        transcription: How the audio is recognised.
        turn_detection: How sentences become items; null: what the client commits does.
    """

    format: Annotated[Format, BeforeValidator(_named_format)] = Format()
    noise_reduction: Annotated[dict[str, Any] | None, BeforeValidator(_named_reduction)] = None
    transcription: Transcription = Transcription()
    turn_detection: Annotated[TurnDetection | None, BeforeValidator(_detection)] = TurnDetection()


class Audio(BaseModel):
    """Holds the settings of audio; there is none but the client's."""

    input: AudioInput = AudioInput()


class SessionSettings(ClientValues):
    """Holds a transcription session's configuration, in the API's own shape.

    Fields that mean nothing here are not read.

    Attributes:
        type: The only kind there is.
        audio: What comes in, and what is done with it.
        include: What the client wants beside text; of that there is "item.input_audio_transcription.logprobs".
    """

    type: Annotated[Literal["transcription"], Choice()] = "transcription"
    audio: Audio = Audio()
    include: Annotated[list[str], Items()] | None = None

    def updated(self, session: dict[str, Any], enabled: Sequence[str]) -> SessionSettings:
        """Returns the settings with what a ``session`` changes, in the shape of today or the flat one of before.

        Raises:
            InvalidRequest: a value that is wrong or not to be had; ``param`` is its path.
            ModelNotFound: the model is not among ``enabled``.
        """
        changed = SessionSettings.read(_merged(self.model_dump(), _nested(session)), within="session")
        prompt = changed.audio.input.transcription.prompt or ""
        _, unused = prompt_hotwords(prompt, changed._model(enabled))
        changed._warnings += unused_warnings(unused) + cut_context_warnings(changed.recognition(enabled))
        return changed

    def recognition(self, enabled: Sequence[str]) -> RecognitionOptions:
        """Makes the options of recognition.

        Raises:
            InvalidRequest, ModelNotFound: as ``updated``.
        """
        wanted = self.audio.input.transcription
        model = self._model(enabled)
        language = wanted.language
        prompted, _ = prompt_hotwords(wanted.prompt or "", model)
        return RecognitionOptions(
            model=model,
            language=check_language(language, f"{_TRANSCRIPTION}.language", model) if language else None,
            prompt=wanted.prompt or "",
            hotwords=(*prompted, *(Hotword(word) for word in wanted.keywords)),
            word_timestamps=False,
        )

    def _model(self, enabled: Sequence[str]) -> catalog.Model:
        try:
            return loaded_model(self.audio.input.transcription.model or "", enabled)
        except ModelNotFound as failure:
            failure.param = f"{_TRANSCRIPTION}.model"
            raise

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
        """Describes the session as events show it, with what is really used, and what of an update had no effect."""
        given = self.audio.input
        format = given.format.model_dump(exclude={"rate"} if given.format.law else None)
        transcription = {**given.transcription.model_dump(), "model": self.recognition(enabled).model.id}
        audio = {"input": {**given.model_dump(), "format": format, "transcription": transcription}}
        identity = {"id": session_id, "object": "realtime.transcription_session"}
        warnings = {"warnings": list(self.warnings)} if self.warnings else {}
        return {**identity, **self.model_dump(), "audio": audio, **warnings}


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
        given["format"] = {"type": name}
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
            return decode_base64(text)
    except ValueError:
        pass
    raise RefusedEvent("`audio` must be base64-encoded audio bytes.", event_id, param="audio")
