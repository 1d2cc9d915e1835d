"""Greedy merging: no group over the limit, none across a long pause, nothing lost."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.audio.spans import SAMPLES_PER_MS, GreedyMerger, Span, cut_long


def merged(spans: list[Span], limit_ms: int, pause_ms: int) -> list[list[Span]]:
    merger = GreedyMerger(limit_ms, pause_ms)
    groups = [merger.add(span) for span in spans]
    return [g for g in [*groups, merger.close()] if g]


@st.composite
def recordings(draw: st.DrawFn) -> list[Span]:
    spans, time_ms = [], 0
    for pause_ms, length_ms in draw(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 9000)))):
        spans.append(Span(time_ms + pause_ms, time_ms + pause_ms + length_ms))
        time_ms = spans[-1].end_ms
    return spans


@given(recordings())
def test_nothing_is_lost_or_reordered(spans: list[Span]) -> None:
    assert [s for group in merged(spans, 10_000, 3000) for s in group] == spans


@given(recordings())
def test_groups_respect_limit_and_pause(spans: list[Span]) -> None:
    for group in merged(spans, 10_000, 3000):
        assert group[-1].end_ms - group[0].start_ms <= 10_000
        assert all(b.start_ms - a.end_ms <= 3000 for a, b in itertools.pairwise(group))


@given(recordings())
def test_a_group_ends_only_where_the_next_span_does_not_fit(spans: list[Span]) -> None:
    groups = merged(spans, 10_000, 3000)
    for group, following in itertools.pairwise(groups):
        fits = following[0].end_ms - group[0].start_ms <= 10_000
        assert not fits or following[0].start_ms - group[-1].end_ms > 3000


def test_a_group_closes_early_once_nothing_can_join_it() -> None:
    merger = GreedyMerger(10_000, 3000)
    merger.add(Span(0, 1000))
    assert merger.close_before(4000) == []
    assert merger.close_before(4001) == [Span(0, 1000)]


def test_a_long_region_is_cut_at_its_quietest_point() -> None:
    pcm = np.full(30_000 * SAMPLES_PER_MS, 8000, np.int16)
    pcm[::2] *= -1
    pcm[14_000 * SAMPLES_PER_MS : 14_200 * SAMPLES_PER_MS] = 0
    first, second = cut_long(Span(5000, 35_000), 20_000, pcm)
    assert 19_000 <= first.end_ms <= 19_200
    assert (first.start_ms, second.start_ms, second.end_ms) == (5000, first.end_ms, 35_000)


@given(st.integers(1, 200_000), st.integers(5000, 90_000))
def test_pieces_are_within_the_limit_and_cover_the_region(length_ms: int, limit_ms: int) -> None:
    pcm = np.zeros(length_ms * SAMPLES_PER_MS, np.int16)
    pieces = list(cut_long(Span(0, length_ms), limit_ms, pcm))
    assert all(p.end_ms - p.start_ms <= limit_ms for p in pieces)
    assert [p.start_ms for p in pieces] == [0, *(p.end_ms for p in pieces[:-1])]
    assert pieces[-1].end_ms == length_ms
