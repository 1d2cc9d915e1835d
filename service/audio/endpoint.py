"""Finds speech by FSMN-VAD's endpoint rules: silence probabilities per 10 ms in, speech regions out.

The same decisions as FunASR's ``FsmnVADStreaming`` (E2E-VAD state machine), frame by frame but over
plain booleans: a window of frames turns to speech or to silence when enough of them say so; a region
begins a little before the turn and ends after enough silence.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from runners.interface import VadOptions
from service.audio.spans import Span

FRAME_MS = 10


class Endpointer:
    """Finds the speech regions of one recording as its scores come in."""

    def __init__(
        self,
        options: VadOptions,
        *,
        max_end_silence_ms: int | None = None,
        trim_end: bool = False,
        restart_ms: int | None = None,
    ) -> None:
        """Begins a recording; what is None is the model's own, or as FunASR has it.

        ``max_end_silence_ms``: so much silence ends a region. ``trim_end``: silence at the recording's end, too short
        to end a region, is left out of it as a longer one would be (FunASR keeps it). ``restart_ms``: so much unbroken
        speech in a silence begins it anew (FunASR waits until the window turns, by when the silence may have become
        long enough).
        """
        end_silence_ms = options.max_end_silence_time if max_end_silence_ms is None else max_end_silence_ms
        self._window = [0] * (options.window_size_ms // FRAME_MS)
        self._to_speech = options.sil_to_speech_time_thres // FRAME_MS
        self._to_silence = options.speech_to_sil_time_thres // FRAME_MS
        self._end_silence = max(0, end_silence_ms - options.speech_to_sil_time_thres) / FRAME_MS
        extend = bool(options.do_extend)
        self._look_back = len(self._window) + (options.lookback_time_start_point // FRAME_MS if extend else 0)
        self._look_ahead = options.lookahead_time_end_point // FRAME_MS + 1 if extend else 0
        self._longest = options.max_single_segment_time // FRAME_MS
        # speech when (1 - silence) >= silence + threshold
        self._threshold = (1 - options.speech_noise_thres) / 2
        self._trim_end = trim_end
        self._restart = math.inf if restart_ms is None else restart_ms // FRAME_MS
        self._frame = 0
        self._next_free = 0  # first frame that belongs to no region yet
        self._start: int | None = None
        self._reset()

    def _reset(self) -> None:
        self._sum = 0
        self._window = [0] * len(self._window)
        self._position = 0
        self._speaking = False
        self._silent_frames = 0
        self._unbroken = 0
        self._start = None

    @property
    def settled_ms(self) -> int:
        """Returns the time before which no region yet to come begins."""
        if self._start is not None:
            return self._start * FRAME_MS
        return max(self._next_free, self._frame - self._look_back) * FRAME_MS

    @property
    def start_ms(self) -> int | None:
        """Returns where the open region starts; None while there is none."""
        return None if self._start is None else self._start * FRAME_MS

    @property
    def frames_to_end(self) -> float:
        """Returns how many more frames of silence end the open region; infinite unless it is in a silence."""
        if self._start is None or self._speaking:
            return math.inf
        return self._end_silence - self._silent_frames

    def accept(self, silence: NDArray[np.float32], *, is_last: bool = False) -> list[Span]:
        """Returns regions completed by the next scores; with ``is_last`` an open region ends with the recording."""
        regions = [r for speech in self.is_speech(silence) if (r := self.step(speech))]
        if is_last and self._start is not None:
            trim = self._trim_end and not self._speaking
            trailing = max(0, self._silent_frames - self._look_ahead) if trim else 0
            regions.append(self._end(self._frame - 1 - trailing))
        return regions

    def is_speech(self, silence: NDArray[np.float32]) -> list[bool]:
        """Says of each score whether its frame is speech."""
        decisions: list[bool] = (silence <= self._threshold).tolist()
        return decisions

    def begin_at(self, time_ms: int) -> None:
        """Moves the start of the open region to ``time_ms``, or as near to it as no other region has been."""
        self._start = max(self._next_free, time_ms // FRAME_MS)

    def cut(self, time_ms: int) -> Span:
        """Ends the open region at ``time_ms`` and begins the next one there; there must be one."""
        assert self._start is not None
        region = Span(self._start * FRAME_MS, time_ms)
        self._start = self._next_free = time_ms // FRAME_MS
        return region

    def step(self, speech: bool) -> Span | None:
        """Returns the region that the next frame, speech or not, completes; None where it completes none."""
        frame = self._frame
        self._frame += 1
        self._unbroken = self._unbroken + 1 if speech else 0
        self._sum += speech - self._window[self._position]
        self._window[self._position] = speech
        self._position = (self._position + 1) % len(self._window)
        if not self._speaking and self._sum >= self._to_speech:
            self._speaking = True
            self._silent_frames = 0
            if self._start is None:
                self._start = max(self._next_free, frame - self._look_back)
                return None
        elif self._speaking and self._sum <= self._to_silence:
            self._speaking = False
            self._silent_frames = 0
        elif self._speaking or self._unbroken >= self._restart:
            self._silent_frames = 0
        else:
            self._silent_frames += 1
            if self._start is not None and self._silent_frames >= self._end_silence:
                return self._end(frame - max(0, int(self._end_silence) - self._look_ahead))
        if self._start is not None and frame - self._start + 1 > self._longest:
            return self._end(frame)
        return None

    def _end(self, frame: int) -> Span:
        assert self._start is not None
        region = Span(self._start * FRAME_MS, (frame + 1) * FRAME_MS)
        self._next_free = frame + 1
        self._reset()
        return region
