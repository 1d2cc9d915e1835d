"""Reads what a FunASR client says before its audio, and at its end, and what it comes down to."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from service.domain import Hotword, RawPcm, RecognitionOptions
from service.errors import InvalidRequest
from service.live.options import SessionOptions
from service.protocols.funasr.live_response import Mode
from service.protocols.shared.fields import invalid_field, json_object
from service.protocols.shared.hotwords import MOST_HOTWORDS
from service.protocols.shared.names import loaded_model

log = logging.getLogger(__name__)

_LIVE_FORMATS = ("pcm", "wav", "opus", "speex", "amr", "mp3", "aac")


def _as_sizes(value: object) -> object:
    """Reads `5, 10, 5` and `[5, 10, 5]` in a string as the list that they stand for."""
    return value.strip("[] ").split(",") if isinstance(value, str) else value


def _check_hotwords(value: tuple[Hotword, ...]) -> tuple[Hotword, ...]:
    if len(value) > MOST_HOTWORDS:
        raise ValueError(f"more than {MOST_HOTWORDS} words")
    return value


class Opening(BaseModel):
    """Holds the first text frame of a recording.

    What clients send beyond it is for FunASR's own models and not read.

    Attributes:
        mode: Absent in what clients of FunASR's offline server send; those expect one result and no more.
        chunk_size: Checked; it has no effect.
        wav_name: What the client calls the recording; its results repeat it.
        wav_format: What the bytes of the audio are, in the client's words.
        audio_fs: The rate of headerless PCM, in Hz.
        is_speaking: Whether audio follows.
        hotwords: Words to prefer.
        itn: Whether numbers, dates and units are written in digits.
    """

    mode: Mode | None = None
    chunk_size: Annotated[list[int], BeforeValidator(_as_sizes), Field(min_length=3, max_length=3)] = [5, 10, 5]
    wav_name: str = Field(default="microphone", max_length=1000)
    wav_format: str = Field(default="pcm", max_length=100)
    audio_fs: int = Field(default=16_000, ge=8000, le=96_000)
    is_speaking: bool = True
    hotwords: Annotated[tuple[Hotword, ...], AfterValidator(_check_hotwords)] = ()
    itn: bool = True

    model_config = ConfigDict(hide_input_in_errors=True)

    @field_validator("hotwords", mode="before")
    @classmethod
    def _read_hotwords(cls, value: object) -> object:
        return parse_hotwords(value)

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Opening:
        """Reads an opening; a field that is null counts as absent.

        Raises:
            InvalidRequest: ``param`` names a field whose value it can't have.
        """
        try:
            return cls.model_validate({name: value for name, value in message.items() if value is not None})
        except ValidationError as error:
            raise invalid_field(error) from None

    @property
    def result_mode(self) -> Mode:
        """Returns the mode that results are told in: offline where the client named none."""
        return self.mode or "offline"

    @property
    def stream_format(self) -> str:
        """Returns what AudioStream is to take the bytes for: "any" is found from them."""
        name = self.wav_format.lower()
        return name if name in _LIVE_FORMATS else "any"

    @property
    def raw(self) -> RawPcm | None:
        """Says how a file of these bytes is to be read, where they have no header."""
        return RawPcm(self.audio_fs) if self.stream_format == "pcm" else None

    def recognition(self, enabled: Sequence[str]) -> RecognitionOptions:
        """Makes the options of recognition, by the first of ``enabled``."""
        # Deltas can be appended only where marks and digits don't change what was sent already.
        is_final = self.mode != "online"
        return RecognitionOptions(
            model=loaded_model("", enabled),
            hotwords=self.hotwords,
            punctuation=is_final,
            inverse_text_normalization=is_final and self.itn,
        )

    def session_options(self, enabled: Sequence[str]) -> SessionOptions:
        """Makes the options of a session, for the modes that are recognised while they come: online and 2pass."""
        return SessionOptions(
            recognition=self.recognition(enabled),
            finals=self.mode == "2pass",
            partial_punctuation=False,
            ends_at_marks=self.mode == "2pass",
        )


class Closing(BaseModel):
    """Holds a text frame after the first: the recording's end.

    Attributes:
        is_speaking: Whether audio follows: no longer.
        is_end: Whether the client waits for the acknowledgement.
    """

    is_speaking: Literal[False]
    is_end: bool = False


def read_message(message: str | bytes) -> dict[str, Any]:
    """Reads a text frame.

    Raises:
        InvalidRequest: it is no JSON object, or audio that no recording has been begun for.
    """
    if isinstance(message, bytes):
        raise InvalidRequest('A recording begins with a JSON text frame such as {"mode":"2pass"}.')
    found = json_object(message)
    if found is None:
        raise InvalidRequest("A text frame must be a JSON object.")
    return found


def parse_hotwords(value: object) -> tuple[Hotword, ...]:
    """Reads words with their weights (a JSON object, also in a string), or separated by commas or spaces, without.

    Weights outside of 1 to 100 count as the nearest that there is.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("must be a JSON object of words and weights, or words") from None
    if isinstance(value, dict):
        return tuple(Hotword(word.strip(), _weight(word, weight)) for word, weight in value.items() if word.strip())
    if isinstance(value, str):
        words = re.split(r"[,，]", value) if re.search(r"[,，]", value) else value.split()
        return tuple(Hotword(word.strip()) for word in words if word.strip())
    raise ValueError("must be a JSON object of words and weights, or words")


def _weight(word: str, value: object) -> int:
    try:
        given = round(float(value)) if isinstance(value, str | int | float) else None
    except (ValueError, OverflowError):
        given = None
    if given is None:
        raise ValueError(f"the weight of {word[:50]!r} is no number")
    weight = min(max(given, 1), 100)
    if weight != given:
        log.warning("hotword %.50r: its weight %d is outside of 1 to 100 and counts as %d", word, given, weight)
    return weight
