"""Reads what a FunASR client says before its audio, and at its end, and what it comes down to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from service.domain import RawPcm, RecognitionOptions
from service.errors import InvalidRequest
from service.live.options import SessionOptions
from service.protocols.funasr.live_response import Mode
from service.protocols.shared.fields import json_object
from service.protocols.shared.hotwords import Hotwords
from service.protocols.shared.names import loaded_model
from service.protocols.shared.values import FLAG, FORMAT_NAMES, Choice, ClientValues, Flag, PcmRate, Text

_LONGEST_WAV_NAME = 1000
_LIVE_FORMATS = ("pcm", "wav", "opus", "speex", "amr", "mp3", "aac")


class Opening(ClientValues):
    """Holds the first text frame of a recording.

    What clients send beyond it is for FunASR's own models and not read.

    Attributes:
        mode: Absent in what clients of FunASR's offline server send; those expect one result and no more.
        wav_name: What the client calls the recording; its results repeat it.
        wav_format: What the bytes of the audio are, in the client's words.
        audio_fs: The rate of headerless PCM, in Hz.
        is_speaking: Whether audio follows.
        hotwords: Words to prefer.
        itn: Whether numbers, dates and units are written in digits.
    """

    mode: Annotated[Mode, Choice()] | None = None
    wav_name: Annotated[str, Text(_LONGEST_WAV_NAME, cut=True)] = "microphone"
    wav_format: Annotated[str, Text(cut=True, lower=True)] = "pcm"
    audio_fs: Annotated[int, PcmRate("wav_format")] = 16_000
    is_speaking: Flag = True
    hotwords: Hotwords = ()
    itn: Flag = True

    @property
    def result_mode(self) -> Mode:
        """Returns the mode that results are told in: offline where the client named none."""
        return self.mode or "offline"

    @property
    def stream_format(self) -> str:
        """Returns what AudioStream is to take the bytes for: "any" is found from them."""
        name = FORMAT_NAMES.get(self.wav_format, self.wav_format)
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


class Closing(ClientValues):
    """Holds a text frame after the first: the recording's end.

    Attributes:
        is_speaking: Whether audio follows: no longer.
        is_end: Whether the client waits for the acknowledgement.
    """

    is_speaking: Annotated[Literal[False], FLAG]
    is_end: Flag = False


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
