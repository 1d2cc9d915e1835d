"""Mixes recordings with known speech times: utterances among silence, noise and sounds that are not speech."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, istft, lfilter, sosfilt, stft

from scripts.demo.speech import SAMPLE_RATE_HZ, Wave, noise, reverberate, rms, telephone

HOP = 160
_AUDIBLE_DB = -40.0
_PAUSE_WITHIN_HOPS = 25


@dataclass(frozen=True)
class Utterance:
    """Holds speech with its activity in every 10 ms; pauses below 250 ms count as speech."""

    wave: Wave
    active: NDArray[np.bool_]

    @staticmethod
    def of(wave: Wave) -> Utterance:
        """Cuts ``wave`` to whole hops; a hop is active unless it is 40 dB quieter than the loudest one."""
        hops = wave[: len(wave) // HOP * HOP].reshape(-1, HOP)
        level_db = 10 * np.log10(np.square(hops).mean(1) + 1e-12)
        active = level_db > level_db.max() + _AUDIBLE_DB
        found = np.flatnonzero(active)
        for before, after in itertools.pairwise(found):
            active[before:after] |= after - before <= _PAUSE_WITHIN_HOPS
        return Utterance(hops.reshape(-1), active)

    @property
    def edges_ms(self) -> tuple[int, int]:
        """Returns where the speech starts and ends within ``wave``."""
        found = np.flatnonzero(self.active)
        return int(found[0]) * 10, (int(found[-1]) + 1) * 10


@dataclass(frozen=True)
class Scene:
    """Holds a recording with what is known of its speech.

    Attributes:
        pcm: The recording, 16 kHz mono PCM16.
        active: Whether somebody speaks, per 10 ms.
        utterances_ms: When each utterance starts and ends.
    """

    pcm: NDArray[np.int16]
    active: NDArray[np.bool_]
    utterances_ms: list[tuple[int, int]]


def compose(utterances: Sequence[Utterance], pauses: Sequence[int]) -> tuple[Wave, Scene]:
    """Puts utterances in a row, with a pause (in hops of 10 ms) before each and after the last.

    Returns the wave too.
    """
    waves: list[Wave] = []
    active: list[NDArray[np.bool_]] = []
    times, position = [], 0
    nothing = Utterance(np.zeros(0, np.float32), np.zeros(0, np.bool_))
    for utterance, pause in zip([*utterances, nothing], pauses, strict=True):
        waves += [np.zeros(pause * HOP, np.float32), utterance.wave]
        active += [np.zeros(pause, np.bool_), utterance.active]
        position += pause * 10
        if len(utterance.active):
            start, end = utterance.edges_ms
            times.append((position + start, position + end))
        position += len(utterance.active) * 10
    wave = np.concatenate(waves)
    return wave, Scene(to_pcm(wave), np.concatenate(active), times)


def to_pcm(wave: Wave) -> NDArray[np.int16]:
    """Returns a wave as PCM16; what is beyond -1 and 1 is clipped."""
    pcm: NDArray[np.int16] = np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16)
    return pcm


def breathe(wave: Wave, share: float, rng: random.Random) -> Wave:
    """Replaces ``share`` of the voiced sound of ``wave`` by breath: noise of the same spectral envelope."""
    frames, step = 512, 128
    _, _, spectrum = stft(wave, nperseg=frames, noverlap=frames - step, boundary="zeros")
    magnitude = uniform_filter1d(np.abs(spectrum), size=rng.randint(7, 13), axis=0)
    phase = np.random.default_rng(rng.getrandbits(32)).uniform(0, 2 * np.pi, magnitude.shape)
    _, breath = istft(magnitude * np.exp(1j * phase), nperseg=frames, noverlap=frames - step)
    mixed = (1 - share) * wave + share * np.resize(breath, len(wave))
    return (mixed / np.abs(mixed).max()).astype(np.float32)


def tilt(wave: Wave, rng: random.Random) -> Wave:
    """Sends ``wave`` through another microphone: up to 10 dB more or less treble."""
    mixed = lfilter([1.0, rng.uniform(-0.7, 0.7)], [1.0], wave)
    return (mixed / np.abs(mixed).max()).astype(np.float32)


def _envelope(length: int, attack_s: float, decay_s: float) -> Wave:
    t = np.arange(length) / SAMPLE_RATE_HZ
    shape: Wave = (np.minimum(1, t / attack_s) * np.exp(-np.maximum(0, t - attack_s) / decay_s)).astype(np.float32)
    return shape


def _hiss(length: int, rng: random.Random) -> Wave:
    return np.random.default_rng(rng.getrandbits(32)).standard_normal(length).astype(np.float32)


def _click(rng: random.Random) -> Wave:
    length = int(rng.uniform(0.004, 0.05) * SAMPLE_RATE_HZ)
    return _hiss(length, rng) * _envelope(length, 0.0005, rng.uniform(0.001, 0.012))


def _cough(rng: random.Random) -> Wave:
    """Sends a noise burst through a few broad resonances."""
    length = int(rng.uniform(0.1, 0.45) * SAMPLE_RATE_HZ)
    burst = _hiss(length, rng)
    sections = [
        butter(1, (f * 0.7, min(7900.0, f * 1.5)), "band", fs=SAMPLE_RATE_HZ, output="sos")
        for f in (rng.uniform(300, 900), rng.uniform(1000, 2500), rng.uniform(2500, 5000))
    ]
    shaped = sum(rng.uniform(0.2, 1) * sosfilt(s, burst) for s in sections)
    return np.asarray(shaped * _envelope(length, rng.uniform(0.003, 0.03), rng.uniform(0.03, 0.15)), np.float32)


def _breath(rng: random.Random) -> Wave:
    length = int(rng.uniform(0.3, 1.2) * SAMPLE_RATE_HZ)
    low = rng.uniform(300, 2000)
    section = butter(1, (low, rng.uniform(3000, 7500)), "band", fs=SAMPLE_RATE_HZ, output="sos")
    return np.asarray(sosfilt(section, _hiss(length, rng)) * np.hanning(length), np.float32)


def _beep(rng: random.Random) -> Wave:
    length = int(rng.uniform(0.05, 0.7) * SAMPLE_RATE_HZ)
    tone = np.sin(2 * np.pi * rng.uniform(300, 3500) * np.arange(length) / SAMPLE_RATE_HZ)
    ramp = np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / (0.005 * SAMPLE_RATE_HZ))
    return np.asarray(tone * ramp, np.float32)


def _knock(rng: random.Random) -> Wave:
    length = int(rng.uniform(0.05, 0.25) * SAMPLE_RATE_HZ)
    t = np.arange(length) / SAMPLE_RATE_HZ
    body = np.sin(2 * np.pi * rng.uniform(60, 500) * t) + rng.uniform(0, 0.7) * _hiss(length, rng)
    return np.asarray(body * _envelope(length, 0.001, rng.uniform(0.01, 0.06)), np.float32)


_SOUNDS: tuple[Callable[[random.Random], Wave], ...] = (_click, _cough, _breath, _beep, _knock)


def add_sounds(wave: Wave, level: float, count: int, rng: random.Random) -> Wave:
    """Adds ``count`` clicks, coughs, breaths, beeps or knocks of RMS ``level``, one to six times each."""
    result = wave.copy()
    for _ in range(count):
        sound = rng.choice(_SOUNDS)(rng)
        sound *= np.float32(level / rms(sound))
        position = rng.randrange(len(wave))
        for _ in range(rng.choice((1, 1, 2, 3, 6))):
            part = sound[: max(0, len(wave) - position)]
            result[position : position + len(part)] += part
            position += int(len(sound) + rng.uniform(0.05, 0.5) * SAMPLE_RATE_HZ)
    return result


def unsteady_noise(length: int, rng: random.Random) -> Wave:
    """Draws noise of RMS about 1 that may swell, begin late or stop early."""
    wave = noise(length, rng)
    if rng.random() < 0.3:
        points = np.array([rng.uniform(0.05, 1.5) for _ in range(rng.randint(3, 40))])
        wave = wave * np.interp(np.linspace(0, 1, length), np.linspace(0, 1, len(points)), points).astype(np.float32)
    if rng.random() < 0.2:
        start, end = sorted(rng.randrange(length) for _ in range(2))
        wave[:start] = 0
        wave[end:] = 0
    return wave


def background(length: int, rng: random.Random) -> Wave:
    """Draws a recording in which nobody speaks, at any level down to digital silence."""
    if rng.random() < 0.1:
        return np.zeros(length, np.float32)
    wave = unsteady_noise(length, rng) * np.float32(10 ** (rng.uniform(-85, -6) / 20))
    if rng.random() < 0.75:
        wave = add_sounds(wave, 10 ** (rng.uniform(-45, -6) / 20), rng.randint(1, 8), rng)
    return wave


def record(wave: Wave, rng: random.Random, snr_db: tuple[float, float] = (5, 30), sounds: float = 0.5) -> Wave:
    """Sends ``wave`` through a room or a telephone, at a gain of 0.05-1.

    Noise and, at rate ``sounds``, other sounds are added.
    """
    if rng.random() < 0.25:
        wave = reverberate(wave, rng)
    if rng.random() < 0.2:
        wave = telephone(wave)
    wave = wave / np.float32(np.abs(wave).max() + 1e-6) * np.float32(10 ** (rng.uniform(-26, 0) / 20))
    level = rms(wave[np.abs(wave) > 0.02 * np.abs(wave).max()])
    if rng.random() < sounds:
        wave = add_sounds(wave, level * 10 ** (rng.uniform(-25, 3) / 20), rng.randint(1, 6), rng)
    kind = rng.random()
    if kind < 0.65:
        wave = wave + unsteady_noise(len(wave), rng) * np.float32(level * 10 ** (-rng.uniform(*snr_db) / 20))
    elif kind < 0.9:
        wave = wave + unsteady_noise(len(wave), rng) * np.float32(10 ** (-rng.uniform(60, 90) / 20))
    return wave
