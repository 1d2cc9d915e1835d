"""Turns speech regions into what is recognised and what is returned.

A region is an utterance: what the model takes in one piece. One over the model's limit is cut where it
is quietest. Utterances are joined greedily to segments, which is what clients see, while they fit a
limit and no long pause lies between them. (Recognising 20 s stretches of them cost a tenth more: pauses
and longer attention.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from service.domain import SAMPLE_RATE_HZ, Pcm

SAMPLES_PER_MS = SAMPLE_RATE_HZ // 1000
LONGEST_PAUSE_IN_SEGMENT_MS = 3_000
_QUIET_WINDOW_MS = 100


@dataclass(frozen=True, slots=True)
class Span:
    """Goes from ``start_ms`` to ``end_ms`` of the recording."""

    start_ms: int
    end_ms: int


class GreedyMerger:
    """Joins consecutive spans into groups of at most ``limit_ms`` without a pause over ``longest_pause_ms``."""

    def __init__(self, limit_ms: int, longest_pause_ms: int) -> None:
        self._limit_ms = limit_ms
        self._longest_pause_ms = longest_pause_ms
        self._open: list[Span] = []

    def add(self, span: Span) -> list[Span]:
        """Returns the group that ``span`` closes because it doesn't fit in; empty while it fits."""
        if self._open and (
            span.end_ms - self._open[0].start_ms > self._limit_ms
            or span.start_ms - self._open[-1].end_ms > self._longest_pause_ms
        ):
            closed, self._open = self._open, [span]
            return closed
        self._open.append(span)
        return []

    def close(self) -> list[Span]:
        """Returns the group that was open, empty if none was."""
        closed, self._open = self._open, []
        return closed

    def close_before(self, time_ms: int) -> list[Span]:
        """Returns the open group, if nothing that begins at ``time_ms`` or later could still join it."""
        if self._open and time_ms - self._open[-1].end_ms > self._longest_pause_ms:
            return self.close()
        return []


def cut_long(span: Span, limit_ms: int, pcm: Pcm) -> Iterator[Span]:
    """Yields ``span`` in pieces of at most ``limit_ms``, cut at the quietest point of each piece's second half.

    ``pcm`` is the audio of the span.
    """
    start_ms = span.start_ms
    while span.end_ms - start_ms > limit_ms:
        remaining_ms = span.end_ms - start_ms
        earliest_ms = limit_ms // 2
        # leave no crumb: the last two pieces share what is left
        latest_ms = min(limit_ms, remaining_ms - min(limit_ms // 4, remaining_ms - limit_ms + _QUIET_WINDOW_MS))
        offset = start_ms - span.start_ms
        cut_ms = start_ms + quietest_ms(pcm, offset + earliest_ms, offset + latest_ms) - offset
        yield Span(start_ms, cut_ms)
        start_ms = cut_ms
    yield Span(start_ms, span.end_ms)


def quietest_ms(pcm: Pcm, from_ms: int, to_ms: int) -> int:
    """Returns the middle of the 100 ms of least energy between two times of ``pcm``."""
    step_ms = _QUIET_WINDOW_MS // 10
    samples = pcm[from_ms * SAMPLES_PER_MS : to_ms * SAMPLES_PER_MS].astype(np.float32)
    frames = samples[: len(samples) // (step_ms * SAMPLES_PER_MS) * step_ms * SAMPLES_PER_MS]
    energy = np.square(frames.reshape(-1, step_ms * SAMPLES_PER_MS)).mean(1)
    if len(energy) < 10:
        return (from_ms + to_ms) // 2
    smooth = np.convolve(energy, np.ones(10, np.float32), "valid")
    return from_ms + int(smooth.argmin()) * step_ms + _QUIET_WINDOW_MS // 2
