"""The near-field filter keeps distant sound out, words whole, and says when it keeps out too much."""

import numpy as np
import pytest

from service.live.nearfield import HOLD_MS, NearFieldGate, frame_levels
from service.live.options import NearFieldFilter

SETTINGS = NearFieldFilter(enabled=True, rms_threshold=0.01)


def passed(levels: list[float], *, in_sentence: bool = False, settings: NearFieldFilter = SETTINGS) -> list[bool]:
    gate = NearFieldGate(settings)
    return [gate.passes(level, in_sentence=in_sentence, speech=True) for level in levels]


def test_a_frames_level_is_its_rms_of_full_scale() -> None:
    assert frame_levels(np.full(3200, -16384, np.int16)).tolist() == [0.5] * 19


def test_a_level_covers_20_ms() -> None:
    pcm = np.zeros(640, np.int16)
    pcm[160:320] = 16384
    np.testing.assert_allclose(frame_levels(pcm), [0.5 / 2**0.5, 0.5 / 2**0.5, 0])


def test_less_than_two_hops_have_no_level() -> None:
    assert len(frame_levels(np.zeros(319, np.int16))) == 0


def test_distant_sound_is_filtered_and_near_sound_is_not() -> None:
    assert passed([0.0099] * 5) == [False] * 5
    assert passed([0.01] * 5) == [True] * 5


def test_within_a_sentence_60_percent_of_the_level_is_enough() -> None:
    assert passed([0.0061, 0.0059], in_sentence=True) == [True, True]  # the second is within the hold of the first
    assert passed([0.0059, 0.0061], in_sentence=True) == [False, True]


def test_a_quiet_consonant_within_a_word_passes() -> None:
    dip = [0.02] * 10 + [0.001] * 15 + [0.02] * 10
    assert all(passed(dip))


def test_the_hold_ends() -> None:
    decisions = passed([0.02] + [0.001] * 50)
    assert decisions.count(True) == 1 + HOLD_MS // 10
    assert decisions == sorted(decisions, reverse=True)


def test_filtered_frames_are_counted() -> None:
    gate = NearFieldGate(SETTINGS)
    for level in [0.001] * 7 + [0.5] * 3:
        gate.passes(level, in_sentence=False, speech=False)
    assert gate.filtered_frames == 7


def test_a_filter_that_is_off_passes_and_counts_nothing() -> None:
    gate = NearFieldGate(NearFieldFilter(enabled=False))
    assert gate.passes(0.0, in_sentence=False, speech=True)
    assert (gate.filtered_frames, gate.warning) == (0, "")


def test_filtered_speech_is_told_with_the_name_of_the_setting() -> None:
    gate = NearFieldGate(SETTINGS)
    for _ in range(100):
        gate.passes(0.005, in_sentence=False, speech=True)
    assert "ASR_NEARFIELD_RMS_THRESHOLD (0.01)" in gate.warning
    assert "1.0 s" in gate.warning


@pytest.mark.parametrize(("level", "speech"), [(0.005, False), (0.1, True)], ids=["filtered silence", "near speech"])
def test_a_filter_that_does_its_work_is_no_news(level: float, speech: bool) -> None:
    gate = NearFieldGate(SETTINGS)
    for _ in range(1000):
        gate.passes(level, in_sentence=False, speech=speech)
    assert gate.warning == ""


def test_a_little_distant_speech_beside_a_near_speaker_is_no_news() -> None:
    gate = NearFieldGate(SETTINGS)
    for level in [0.1] * 500 + [0.002] * 100:
        gate.passes(level, in_sentence=False, speech=True)
    assert gate.warning == ""
