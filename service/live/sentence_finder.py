"""Finds where sentences begin and end, from silence scores and levels of a session's frames."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runners.interface import VadOptions
from service.audio.endpoint import FRAME_MS, Endpointer
from service.audio.spans import SAMPLES_PER_MS, Span, quietest_ms
from service.live.nearfield import HOLD_MS, NearFieldGate
from service.live.tape import Tape

# A sound may be speech from its first 10 ms, but coughs, clicks and beeps have ended before this much of it.
PROOF_MS = 400
# The last sound of a sentence is too quiet for the VAD.
_RELEASE_MS = 40
# In a pause, a sound of this length is the next word.
_RESTART_MS = 50
_CUT_WITHIN_MS = 5_000


@dataclass(frozen=True, slots=True)
class Opened:
    """Says that a sound has begun that may be speech; its audio starts at ``start_ms``."""

    start_ms: int


@dataclass(frozen=True, slots=True)
class Proven:
    """Says that the open sound is speech, and began at ``begin_ms``."""

    begin_ms: int


# Why a sentence ended: somebody paused, went on for too long, plainly began another, or there is no more audio.
EndReason = Literal["silence", "max_duration", "mark", "stop"]


@dataclass(frozen=True, slots=True)
class Closed:
    """Says that the open sound has ended.

    Attributes:
        audio: What to recognise.
        speech: What of it was spoken.
        reason: Why it ended.
    """

    audio: Span
    speech: Span
    reason: EndReason


Change = Opened | Proven | Closed


class SentenceFinder:
    """Follows a session frame by frame; what it finds does not depend on how the frames come.

    A sentence ends after ``max_silence_ms`` without speech; one that goes on for ``longest_ms`` (less if the model's
    VAD says so) is cut at the quietest point of its last 5 s.
    """

    def __init__(
        self, options: VadOptions, gate: NearFieldGate, tape: Tape, max_silence_ms: int, longest_ms: int = 30_000
    ) -> None:
        # FunASR counts from where its window turns to silence; here the silence counts from the end of speech.
        window_ms = options.window_size_ms - 2 * options.speech_to_sil_time_thres
        end_silence_ms = max_silence_ms + _RELEASE_MS - window_ms
        self._endpointer = Endpointer(options, max_end_silence_ms=end_silence_ms, trim_end=True, restart_ms=_RESTART_MS)
        self._gate = gate
        self._tape = tape
        self._longest_ms = min(longest_ms, options.max_single_segment_time)
        self._frame = 0
        # The latest frames of speech, near enough and not.
        self._near: collections.deque[int] = collections.deque(maxlen=_CUT_WITHIN_MS // FRAME_MS)
        self._far: collections.deque[int] = collections.deque(maxlen=HOLD_MS // FRAME_MS)
        # Of the open sentence: its first and latest frame of speech, how many there were, whether they were enough.
        self._first = 0
        self._latest = 0
        self._heard = 0
        self._proven = False

    @property
    def open_ms(self) -> int | None:
        """Returns where the open sentence's audio starts; None while there is none."""
        return self._endpointer.start_ms

    @property
    def needed_ms(self) -> int:
        """Returns the time before which no sentence, open or yet to come, begins."""
        start_ms = self._endpointer.start_ms
        return max(0, self._endpointer.settled_ms - HOLD_MS) if start_ms is None else start_ms

    @property
    def frames_to_end(self) -> float:
        """Returns how many more frames of silence end the open sentence; infinite unless it is in a silence."""
        return self._endpointer.frames_to_end

    def accept(self, silence: NDArray[np.float32], levels: NDArray[np.float64]) -> Iterator[Change]:
        """Yields what the next frames of 10 ms bring, given their silence scores and their RMS."""
        decisions: Sequence[bool] = self._endpointer.is_speech(silence)
        for speech, level in zip(decisions, levels.tolist(), strict=True):
            yield from self._step(speech, level)

    def finish(self) -> Iterator[Change]:
        """Yields what the end of the audio brings."""
        for region in self._endpointer.accept(np.empty(0, np.float32), is_last=True):
            yield self._closed(region, "stop")

    def _step(self, speech: bool, level: float) -> Iterator[Change]:
        frame = self._frame
        self._frame += 1
        was_open = self._endpointer.start_ms is not None
        near = self._gate.passes(level, in_sentence=was_open, speech=speech)
        if speech and near:
            self._near.append(frame)
            self._latest = frame
            self._heard += 1
        elif speech:
            self._far.append(frame)
        region = self._endpointer.step(speech and near)
        if region is not None:
            yield self._closed(region, "silence")
        start_ms = self._endpointer.start_ms
        if start_ms is None:
            return
        if not was_open:
            self._begin_at_the_first_sound(start_ms)
            yield from self._opened()
        yield from self._proof()
        if frame * FRAME_MS + FRAME_MS - start_ms >= self._longest_ms:
            yield from self._cut(start_ms)

    def _begin_at_the_first_sound(self, start_ms: int) -> None:
        """Moves the start to a consonant that the gate found too quiet, with which a word may begin."""
        loud = first = next((f for f in self._near if f * FRAME_MS >= start_ms), start_ms // FRAME_MS)
        for frame in reversed(self._far):
            if frame == first - 1:
                first = frame
        if first < loud:
            self._endpointer.begin_at(start_ms - (loud - first) * FRAME_MS)

    def _opened(self) -> Iterator[Change]:
        start_ms = self._endpointer.start_ms
        assert start_ms is not None
        start = start_ms // FRAME_MS
        self._first = min((f for f in (*self._far, *self._near) if f >= start), default=start)
        self._heard = sum(f >= start for f in self._near)
        self._proven = False
        yield Opened(start_ms)

    def _proof(self) -> Iterator[Change]:
        if not self._proven and self._heard * FRAME_MS >= PROOF_MS:
            self._proven = True
            yield Proven(self._first * FRAME_MS)

    def cut(self, from_ms: int, to_ms: int) -> Iterator[Change]:
        """Ends the open sentence between two times, at the quietest place; does nothing where that can't be."""
        start_ms = self._endpointer.start_ms
        now_ms = self._frame * FRAME_MS
        if start_ms is None or not self._proven or from_ms <= start_ms or now_ms - from_ms > _CUT_WITHIN_MS:
            return
        yield from self._cut_between(from_ms, min(to_ms, now_ms), "mark")
        yield from self._proof()

    def _cut(self, start_ms: int) -> Iterator[Change]:
        now_ms = self._frame * FRAME_MS
        yield from self._cut_between(max(start_ms + FRAME_MS, now_ms - _CUT_WITHIN_MS), now_ms, "max_duration")

    def _cut_between(self, from_ms: int, to_ms: int, reason: EndReason) -> Iterator[Change]:
        pcm = self._tape.read(from_ms * SAMPLES_PER_MS, to_ms * SAMPLES_PER_MS)
        cut_ms = from_ms + quietest_ms(pcm, 0, to_ms - from_ms)
        cut_ms -= cut_ms % FRAME_MS
        yield self._closed(self._endpointer.cut(cut_ms), reason)
        yield from self._opened()

    def _closed(self, region: Span, reason: EndReason) -> Closed:
        begin_ms = self._first * FRAME_MS
        end_ms = min(region.end_ms, (self._latest + 1) * FRAME_MS + _RELEASE_MS)
        return Closed(region, Span(min(begin_ms, end_ms), end_ms), reason)
