"""Filters out sound that is too quiet to come from who holds the microphone: it starts no sentence.

Levels are compared frame by frame, but a word is not: a frame of enough level lets the 300 ms after it
pass, so that consonants, the dips inside words and their ends are not cut off. What is filtered
is taken for silence by the endpointer; the recognisers hear the audio as it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.audio.endpoint import FRAME_MS
from service.audio.spans import SAMPLES_PER_MS
from service.domain import Pcm
from service.live.options import NearFieldFilter

HOLD_MS = 300
_WITHIN_SENTENCE = 0.6
# A word or more that was filtered, and not much less than was heard, may be a speaker with a quiet microphone.
_WARNING_MS = 400
_WARNING_SHARE = 0.2
_HOP = FRAME_MS * SAMPLES_PER_MS
_FULL_SCALE = 32_768.0


def frame_levels(pcm: Pcm) -> NDArray[np.float64]:
    """Computes the RMS, full scale 1, over 20 ms every 10 ms."""
    hops = pcm[: len(pcm) // _HOP * _HOP].reshape(-1, _HOP).astype(np.float64) / _FULL_SCALE
    power = np.square(hops).mean(1)
    levels: NDArray[np.float64] = np.sqrt((power[:-1] + power[1:]) / 2)
    return levels


class NearFieldGate:
    """Decides, frame by frame of one session, what is near enough; counts what is not.

    Attributes:
        filtered_frames: How many frames of 10 ms were not.
    """

    def __init__(self, settings: NearFieldFilter) -> None:
        self._settings = settings
        self._holding = 0
        self.filtered_frames = 0
        self._filtered_speech_ms = 0
        self._passed_speech_ms = 0

    def passes(self, level: float, *, in_sentence: bool, speech: bool) -> bool:
        """Says whether a frame of RMS ``level`` is near.

        ``speech``: whether it would count as speech if it is. ``in_sentence``: whether a sentence is open, within which
        less level is enough.
        """
        if not self._settings.enabled:
            return True
        threshold = self._settings.rms_threshold
        if level >= (threshold * _WITHIN_SENTENCE if in_sentence else threshold):
            self._holding = HOLD_MS // FRAME_MS
        elif self._holding:
            self._holding -= 1
        else:
            self.filtered_frames += 1
            self._filtered_speech_ms += speech * FRAME_MS
            return False
        self._passed_speech_ms += speech * FRAME_MS
        return True

    @property
    def warning(self) -> str:
        """Says when the filter may keep out who should be heard; empty when it does not."""
        filtered_ms = self._filtered_speech_ms
        if filtered_ms < max(_WARNING_MS, _WARNING_SHARE * self._passed_speech_ms):
            return ""
        return (
            f"{filtered_ms / 1000:.1f} s of what sounds like speech were quieter than ASR_NEARFIELD_RMS_THRESHOLD "
            f"({self._settings.rms_threshold:g}) and not recognised, {self._passed_speech_ms / 1000:.1f} s were loud "
            "enough; lower the threshold, or set ASR_ENABLE_NEARFIELD_FILTER=false, if it should have been heard."
        )
