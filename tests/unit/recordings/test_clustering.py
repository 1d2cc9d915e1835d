"""Speakers are counted and told apart from their vectors, however few, many or alike these are."""

import numpy as np
import pytest
from numpy.typing import NDArray

from runners.interface import DiarizationOptions
from service.recordings import clustering
from service.recordings.clustering import cluster

OPTIONS = DiarizationOptions(same_speaker=0.45, different_speaker=0.2)
SIZE = 192
Vectors = NDArray[np.float32]


def voices(count: int, seed: int = 0) -> Vectors:
    """Directions at right angles."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((SIZE, SIZE)))[0][:count].astype(np.float32)


def said(order: list[int], spread: float = 0.6, seed: int = 1) -> Vectors:
    """A vector for each window: its speaker's voice, and what differs from window to window (cosine 0.74 for 0.6)."""
    noise = np.random.default_rng(seed).standard_normal((len(order), SIZE)) / np.sqrt(SIZE)
    return (7 * (voices(max(order) + 1)[order] + spread * noise)).astype(np.float32)


def turns(speakers: int, windows: int, seed: int = 2) -> list[int]:
    """Who speaks in each window: turns of one to five windows; speakers appear in order of their numbers."""
    rng = np.random.default_rng(seed)
    order = [speaker for speaker in range(speakers) for _ in range(3)]
    while len(order) < windows:
        order += [int(rng.integers(speakers))] * int(rng.integers(1, 6))
    return order[:windows]


@pytest.mark.parametrize("speakers", [1, 2, 3, 4, 8, 15])
def test_speakers_are_counted_and_told_apart(speakers: int) -> None:
    order = turns(speakers, 200)
    assert cluster(said(order), OPTIONS).tolist() == order


def test_speakers_are_numbered_in_order_of_appearance() -> None:
    assert cluster(said([2, 2, 2, 0, 0, 0, 1, 1, 1, 0]), OPTIONS).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 1]


def test_no_vectors_no_speakers() -> None:
    assert cluster(np.empty((0, 0), np.float32), OPTIONS).tolist() == []


@pytest.mark.parametrize("count", [None, 1, 2, 5])
def test_one_vector_is_one_speaker(count: int | None) -> None:
    assert cluster(said([0]), OPTIONS, count=count).tolist() == [0]


def test_two_vectors_are_two_speakers_only_if_they_differ() -> None:
    assert cluster(said([0, 0]), OPTIONS).tolist() == [0, 0]
    assert cluster(said([0, 1]), OPTIONS).tolist() == [0, 1]


@pytest.mark.parametrize("count", [None, 1, 3])
def test_identical_vectors_are_one_speaker(count: int | None) -> None:
    assert set(cluster(np.ones((40, SIZE), np.float32), OPTIONS, count=count).tolist()) == {0}


def test_vectors_of_nothing_do_not_fail() -> None:
    assert len(cluster(np.zeros((5, SIZE), np.float32), OPTIONS)) == 5


def test_an_odd_window_is_no_speaker_if_somebody_sounds_like_it() -> None:
    vectors = said([0] * 20)
    first, second = voices(2)
    vectors[7] = 7 * (0.35 * first + 0.94 * second)
    assert set(cluster(vectors, OPTIONS).tolist()) == {0}


def test_a_single_answer_of_somebody_else_is_a_speaker() -> None:
    assert cluster(said([0] * 10 + [1] + [0] * 10), OPTIONS).tolist() == [0] * 10 + [1] + [0] * 10


def test_in_a_long_recording_single_odd_windows_are_no_speakers() -> None:
    order = turns(2, 600)
    vectors = said([*order, 2])
    assert set(cluster(vectors, OPTIONS).tolist()) == {0, 1}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_the_hinted_count_is_followed(count: int) -> None:
    labels = cluster(said(turns(3, 60), spread=1.2), OPTIONS, count=count)
    assert len(set(labels.tolist())) == count


def test_a_hint_gathers_the_windows_that_belong_together() -> None:
    order = turns(3, 60)
    assert cluster(said(order, spread=1.3), OPTIONS, count=3).tolist() == order


def test_the_hint_is_not_spent_on_an_odd_window() -> None:
    order = turns(2, 400)
    labels = cluster(said([*order, 2]), OPTIONS, count=2)
    assert labels[:-1].tolist() == order


def test_a_hint_of_what_is_found_anyway_changes_nothing() -> None:
    vectors = said(turns(4, 30), spread=1.0)
    found = cluster(vectors, OPTIONS)
    assert cluster(vectors, OPTIONS, count=int(found.max()) + 1).tolist() == found.tolist()


def test_there_are_at_most_so_many_speakers() -> None:
    options = OPTIONS.model_copy(update={"most_speakers": 4})
    assert len(set(cluster(said(turns(6, 120)), options).tolist())) == 4


def test_a_monologue_of_half_an_hour_is_one_speaker() -> None:
    assert set(cluster(said([0] * 2400), OPTIONS).tolist()) == {0}


def test_ten_hours_are_clustered_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "_MOST_CLUSTERED", 300)
    order = turns(3, 5000)
    assert cluster(said(order), OPTIONS).tolist() == order


def test_the_models_threshold_counts() -> None:
    close = said([0, 0, 0, 0, 1, 1, 1, 1], spread=0.2) + 7 * voices(3)[2] * np.float32(1.2)  # cosine about 0.6
    assert len(set(cluster(close, OPTIONS).tolist())) == 1
    assert len(set(cluster(close, OPTIONS.model_copy(update={"same_speaker": 0.8})).tolist())) == 2
