"""One channel of several: nothing that is said in any of them is lost."""

from __future__ import annotations

import numpy as np
import pytest

from service.audio.mixing import Mixer, weights_of
from tests.audio_files import Signal, chirp, tone

RATE_HZ = 16_000
GENERATOR = np.random.default_rng(0)


def mixed(channels: list[Signal], *, piece: int = 1 << 30, weights: tuple[float, ...] = ()) -> Signal:
    """What the mixer makes of equally long channels in pieces, of which ±1 is full scale."""
    planes = [channel.astype(np.float32) for channel in channels]
    mixer = Mixer(RATE_HZ, len(planes), planes[0].dtype, weights)
    parts: list[Signal] = []
    for start in range(0, len(planes[0]), piece):
        parts += mixer.push([plane[start : start + piece] for plane in planes])
    return np.concatenate([*parts, *mixer.flush()]).astype(float)


def noise(length: int) -> Signal:
    return 0.1 * GENERATOR.standard_normal(length)


def test_alike_channels_are_their_mean() -> None:
    left, right = chirp(1, RATE_HZ), 0.5 * chirp(1, RATE_HZ)
    np.testing.assert_allclose(mixed([left, right]), (left + right) / 2, atol=1e-6)


def test_two_voices_on_two_channels_are_both_heard() -> None:
    first, second = chirp(2, RATE_HZ), tone(2, RATE_HZ, frequency_hz=700)
    first[: len(first) // 3] = 0
    second[-len(second) // 3 :] = 0
    np.testing.assert_allclose(mixed([first, second]), (first + second) / 2, atol=1e-6)


@pytest.mark.parametrize("gain", [1.0, 0.8])
@pytest.mark.parametrize("piece", [1, 333, 5000, 1 << 30])
def test_a_channel_that_is_the_other_upside_down_cancels_nothing(gain: float, piece: int) -> None:
    speech = chirp(0.2 if piece == 1 else 2, RATE_HZ)
    np.testing.assert_allclose(mixed([speech, -gain * speech], piece=piece), speech, atol=1e-6)


def test_however_it_is_cut_the_mix_is_the_same() -> None:
    left = np.concatenate([chirp(1, RATE_HZ), np.zeros(700), chirp(1, RATE_HZ)])
    right = np.concatenate([-chirp(1, RATE_HZ), np.zeros(700), noise(RATE_HZ)])
    whole = mixed([left, right])
    for piece in (7, 321, 4000):
        np.testing.assert_array_equal(mixed([left, right], piece=piece), whole)


def test_silence_between_words_does_not_undo_the_choice_and_an_honest_stereo_does() -> None:
    speech, other = chirp(1, RATE_HZ), noise(RATE_HZ)
    left = np.concatenate([speech, np.zeros(RATE_HZ), speech, other])
    right = np.concatenate([-speech, np.zeros(RATE_HZ), -speech, 0.8 * other])
    mono = mixed([left, right])
    np.testing.assert_allclose(mono[: 3 * RATE_HZ], left[: 3 * RATE_HZ], atol=1e-6)
    np.testing.assert_allclose(mono[-RATE_HZ // 2 :], 0.9 * left[-RATE_HZ // 2 :], atol=1e-6)


def test_noise_in_front_of_it_does_not_hide_an_inverted_channel() -> None:
    speech = chirp(1, RATE_HZ)
    mono = mixed([speech + 0.001 * noise(len(speech)), -speech + 0.001 * noise(len(speech))])
    assert abs(np.corrcoef(mono, speech)[0, 1]) > 0.99


def test_surround_keeps_its_centre() -> None:
    names = ["FL", "FR", "FC", "LFE", "BL", "BR"]
    speech, music, rumble = chirp(1, RATE_HZ), noise(RATE_HZ), tone(1, RATE_HZ, frequency_hz=40)
    mono = mixed([music, -music, speech, rumble, noise(RATE_HZ) / 2, noise(RATE_HZ) / 2], weights=weights_of(names))
    assert np.corrcoef(mono, speech)[0, 1] > 0.95


@pytest.mark.parametrize("names", [["FL", "FR"], ["FL", "FR", "BL", "BR"], ["FL", "FR", "FC", "LFE", "BL", "BR"]])
def test_a_mix_is_never_louder_than_its_channels(names: list[str]) -> None:
    assert sum(weights_of(names)) == pytest.approx(1)
