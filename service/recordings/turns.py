"""Tells who says which words: windows with a speaker each, words given to them, turns made segments.

Turns become segments in two layers: pieces of one speaker accumulate until they last 10 s, then such
blocks accumulate to at most 60 s. Neither reaches over a long pause or past the longest segment.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.audio.spans import Span
from service.domain import Segment, Speaker, Word, join_words
from service.text.words import ends_sentence

_ACCUMULATE_MS = 10_000
_LONGEST_BLOCK_MS = 60_000
# A window tells who speaks to about half its length; within that, a change is put where the talk pauses.
_CHANGE_TOLERANCE_S = 0.8


@dataclass(frozen=True, slots=True)
class Window:
    """Marks a stretch of an utterance in which ``voice`` (any number) talks."""

    span: Span
    voice: int

    @property
    def middle_s(self) -> float:
        """Returns the time halfway through the window."""
        return (self.span.start_ms + self.span.end_ms) / 2000


@dataclass(frozen=True, slots=True)
class SpokenUtterance:
    """Holds an utterance's place in the recording and its finished words, in order; there is at least one."""

    span: Span
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Holds words of one voice in a row."""

    span: Span
    words: tuple[Word, ...]
    voice: int


def regroup(
    utterances: Sequence[SpokenUtterance],
    windows: Sequence[Window],
    names: dict[int, str],
    *,
    longest_ms: int,
    longest_pause_ms: int,
) -> list[Segment]:
    """Makes segments of one speaker each, from utterances and windows in order of time.

    A word belongs to the window whose middle is nearest; where there are no windows at all, everything was said
    by one speaker. ``names`` are those of known speakers; the others are labelled in order of appearance.
    """
    turns = [piece for utterance in utterances for piece in _turns(utterance, windows)]
    limit_ms = min(longest_ms, _LONGEST_BLOCK_MS)
    blocks = _accumulate(turns, _ACCUMULATE_MS, longest_ms=limit_ms, longest_pause_ms=longest_pause_ms)
    joined = _accumulate(blocks, limit_ms, longest_ms=limit_ms, longest_pause_ms=longest_pause_ms)
    speakers = _named((piece.voice for piece in joined), names)
    return [
        Segment(
            index=index,
            start_s=piece.span.start_ms / 1000,
            end_s=piece.span.end_ms / 1000,
            text=join_words(piece.words),
            words=piece.words,
            speaker=speakers[piece.voice],
        )
        for index, piece in enumerate(joined)
    ]


def utterances_of(words: Sequence[Word], spans: Sequence[Span]) -> list[SpokenUtterance]:
    """Gives finished words back to the utterances, in order of time, during which they begin."""
    starts_s = [span.start_ms / 1000 for span in spans]
    said: list[list[Word]] = [[] for _ in spans]
    for word in words:
        said[max(0, bisect_right(starts_s, word.start_s) - 1)].append(word)
    return [SpokenUtterance(span, tuple(own)) for span, own in zip(spans, said, strict=True) if own]


def _turns(utterance: SpokenUtterance, windows: Sequence[Window]) -> list[_Piece]:
    """Cuts the utterance where its voice changes."""
    words = utterance.words
    voices = _voices(words, windows)
    cuts = [0]
    for at in (i for i in range(1, len(words)) if voices[i] != voices[i - 1]):
        moved = _likeliest_change(words, at)
        if moved > cuts[-1]:
            cuts.append(moved)
    edges_ms = [
        utterance.span.start_ms,
        *(round(500 * (words[cut - 1].end_s + words[cut].start_s)) for cut in cuts[1:]),
        utterance.span.end_ms,
    ]
    pieces = []
    for (first, last), (start_ms, end_ms) in zip(
        itertools.pairwise([*cuts, len(words)]), itertools.pairwise(edges_ms), strict=True
    ):
        said = voices[first:last]
        pieces.append(_Piece(Span(start_ms, end_ms), words[first:last], max(set(said), key=said.count)))
    return pieces


def _voices(words: Sequence[Word], windows: Sequence[Window]) -> list[int]:
    if not windows:
        return [0] * len(words)
    middles_s = [window.middle_s for window in windows]
    found = []
    for word in words:
        at_s = (word.start_s + word.end_s) / 2
        after = bisect_left(middles_s, at_s)
        nearby = range(max(0, after - 1), min(len(windows), after + 1))
        found.append(windows[min(nearby, key=lambda i: abs(middles_s[i] - at_s))].voice)
    return found


def _likeliest_change(words: Sequence[Word], at: int) -> int:
    """Finds the word near ``at`` that most likely begins a turn.

    It is one after a sentence's end, else after the longest pause.
    """
    change_s = words[at].start_s

    def likelihood(i: int) -> tuple[bool, float, float]:
        pause_s = words[i].start_s - words[i - 1].end_s
        return ends_sentence(words[i - 1]), round(pause_s, 2), -abs(words[i].start_s - change_s)

    near = [i for i in range(1, len(words)) if abs(words[i].start_s - change_s) <= _CHANGE_TOLERANCE_S]
    return max(near, key=likelihood)


def _accumulate(pieces: Iterable[_Piece], until_ms: int, *, longest_ms: int, longest_pause_ms: int) -> list[_Piece]:
    """Joins a piece to those of the same voice before it while they last less than ``until_ms``."""
    joined: list[_Piece] = []
    for piece in pieces:
        block = joined[-1] if joined else None
        if (
            block is not None
            and block.voice == piece.voice
            and block.span.end_ms - block.span.start_ms < until_ms
            and piece.span.start_ms - block.span.end_ms <= longest_pause_ms
            and piece.span.end_ms - block.span.start_ms <= longest_ms
        ):
            span = Span(block.span.start_ms, piece.span.end_ms)
            joined[-1] = _Piece(span, block.words + piece.words, piece.voice)
        else:
            joined.append(piece)
    return joined


def _named(voices: Iterable[int], names: dict[int, str]) -> dict[int, Speaker]:
    speakers = {voice: Speaker(name) for voice, name in names.items()}
    unnamed = itertools.count(1)
    for voice in voices:
        if voice not in speakers:
            speakers[voice] = Speaker.unnamed(next(unnamed))
    return speakers
