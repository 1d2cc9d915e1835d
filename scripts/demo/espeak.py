"""Synthesises speech with espeak-ng's library, which also tells when each character is said."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 22_050
# Constants of espeak-ng's speak_lib.h.
_RETRIEVAL, _PHONEME_EVENTS = 2, 1
_WORD, _PHONEME = 1, 7
_RATE, _PITCH = 1, 3
_UTF8, _END_PAUSE = 1, 0x1000
_PAUSES = ("_", "(")


class _Identifier(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Identifier),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Spoken:
    """Holds what was synthesised.

    Attributes:
        samples: At 22.05 kHz.
        characters: Of each character said, its position in the text and its first and last sample.
    """

    samples: NDArray[np.int16]
    characters: list[tuple[int, int, int]]


class _Library:
    """Calls the library, which keeps its state for the process, so that there is one of these."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        rate = self._library.espeak_Initialize(_RETRIEVAL, 0, None, _PHONEME_EVENTS)
        assert rate == SAMPLE_RATE_HZ, rate
        self._sound: list[bytes] = []
        self._events: list[tuple[int, int, int, bytes]] = []
        self._callback = _Callback(self._take)  # kept: the library holds no reference
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, sound: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if sound and count:
            self._sound.append(ctypes.string_at(sound, 2 * count))
        i = 0
        while events[i].type:
            event = events[i]
            name = event.id.string if event.type == _PHONEME else b""
            self._events.append((event.type, event.text_position, event.sample, name))
            i += 1
        return 0

    def speak(self, text: str, voice: str, speed_wpm: int, pitch: int) -> Spoken:
        self._sound, self._events = [], []
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"espeak-ng has no voice {voice}")
        self._library.espeak_SetParameter(_RATE, speed_wpm, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8 | _END_PAUSE, None, None)
        self._library.espeak_Synchronize()
        return Spoken(np.frombuffer(b"".join(self._sound), np.int16), list(self._characters()))

    def _characters(self) -> list[tuple[int, int, int]]:
        """Finds the characters.

        A character begins with its first phoneme and ends where the pause mark after its last one stands.
        """
        found: list[tuple[int, int, int]] = []
        position, start = 0, -1
        for kind, text_position, sample, name in self._events:
            if kind == _WORD:
                position, start = text_position - 1, -1
            elif kind == _PHONEME and not name.decode("utf-8", "replace").startswith(_PAUSES):
                start = sample if start < 0 else start
            elif kind == _PHONEME and start >= 0:
                found.append((position, start, sample))
                start = -1
        return found


@functools.cache
def _library() -> _Library:
    return _Library()


def speak(text: str, voice: str, *, speed_wpm: int, pitch: int) -> Spoken:
    """Says ``text`` in a voice such as ``cmn-latn-pinyin+m1``.

    Raises:
        ValueError: there is no such voice.
    """
    return _library().speak(text, voice, speed_wpm, pitch)
