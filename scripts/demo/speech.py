"""Synthesises speech for the demo pack: espeak-ng voices, voice perturbation, noise, rooms, telephones."""

from __future__ import annotations

import io
import random
import subprocess
from dataclasses import dataclass

import kaldi_native_fbank as knf
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import fftconvolve, lfilter

Wave = NDArray[np.float32]
SAMPLE_RATE_HZ = 16_000
_ESPEAK_RATE_HZ = 22_050

TRAINING_VOICES = (
    "Alex Andrea Andy Annie AnxiousAndy Denis Diogo Gene Gene2 Henrique Jacky Lee Marco Mario Mike Mr Nguyen "
    "RicishayMax RicishayMax2 RicishayMax3 Storm Tweaky UniRobot adam antonio aunty belinda benjamin boris caleb "
    "david ed edward edward2 f1 f2 f3 f4 grandma grandpa gustave iven iven2 iven3 iven4 john kaukovalta klatt "
    "klatt2 klatt3 klatt4 klatt5 klatt6 linda m1 m2 m3 m4 m5 m6 m8 marcelo max michel miguel norbert pablo paul "
    "quincy rob robert sandro serious shelby steph steph2 steph3 travis victor"
).split()
HELD_OUT_VOICES = "m7 f5 Michael Alicia anika Hugo pedro zac".split()
VOICES = {"training voices": TRAINING_VOICES, "kept-out voices": HELD_OUT_VOICES}


@dataclass(frozen=True)
class Voice:
    """Describes an espeak-ng voice variant with its prosody.

    Attributes:
        variant: espeak-ng's name for it.
        speed_wpm: How fast it speaks, in words per minute.
        pitch: espeak-ng's, from 0 to 99.
        warp: Over 1 shifts pitch and formants up together.
    """

    variant: str
    speed_wpm: int = 175
    pitch: int = 50
    warp: float = 1.0

    @staticmethod
    def draw(rng: random.Random, variants: list[str], warp: bool = False) -> Voice:
        """Draws one of ``variants`` with a speed and a pitch, and where ``warp`` is set sometimes a warp."""
        return Voice(
            rng.choice(variants),
            speed_wpm=int(rng.triangular(130, 221, 172)),
            pitch=int(rng.triangular(18, 83, 50)),
            warp=rng.uniform(0.84, 1.2) if warp and rng.random() < 0.6 else 1.0,
        )


def speak(text: str, voice: Voice) -> Wave:
    """Says ``text`` at 16 kHz mono, peak 1, trimmed to the speech (10 ms before, 30 ms after)."""
    command = ["espeak-ng", "-v", f"cmn-latn-pinyin+{voice.variant}", "-p", str(voice.pitch), "--stdout"]
    command += ["-s", str(round(voice.speed_wpm / voice.warp)), text]
    output = subprocess.run(command, capture_output=True, check=True).stdout
    wave, rate = soundfile.read(io.BytesIO(output), dtype="float32")
    assert rate == _ESPEAK_RATE_HZ
    wave = soxr.resample(wave, rate * voice.warp, SAMPLE_RATE_HZ, quality="HQ")
    loud = np.flatnonzero(np.abs(wave) > 1e-3)
    if len(loud) == 0:
        return np.zeros(SAMPLE_RATE_HZ // 10, np.float32)
    wave = wave[max(0, loud[0] - 160) : loud[-1] + 480]
    return (wave / np.abs(wave).max()).astype(np.float32)


def silence(seconds: float) -> Wave:
    """Returns so many seconds of silence."""
    return np.zeros(int(seconds * SAMPLE_RATE_HZ), np.float32)


def noise(length: int, rng: random.Random) -> Wave:
    """Draws noise of RMS 1: white, coloured, or hum plus hiss."""
    white = np.random.default_rng(rng.getrandbits(32)).standard_normal(length).astype(np.float32)
    kind = rng.random()
    if kind < 0.4:
        wave: NDArray[np.floating] = white
    elif kind < 0.8:
        wave = lfilter([1.0], [1.0, -rng.uniform(0.6, 0.98)], white)
    else:
        t = np.arange(length) / SAMPLE_RATE_HZ
        tones = [50.0, 100.0, 150.0, rng.uniform(200, 3000)]
        wave = 0.3 * white + sum(rng.random() * np.sin(2 * np.pi * f * t + rng.random() * 6) for f in tones)
    return (wave / np.sqrt(np.mean(np.square(wave)) + 1e-12)).astype(np.float32)


def add_noise(wave: Wave, speech_rms: float, snr_db: float, rng: random.Random) -> Wave:
    """Adds noise, ``snr_db`` below speech of RMS ``speech_rms``."""
    return wave + noise(len(wave), rng) * np.float32(speech_rms * 10 ** (-snr_db / 20))


def reverberate(wave: Wave, rng: random.Random) -> Wave:
    """Sends a wave through a room, whose echo takes 0.05-0.25 s."""
    length = int(rng.uniform(0.05, 0.25) * SAMPLE_RATE_HZ)
    tail = np.random.default_rng(rng.getrandbits(32)).standard_normal(length) * np.exp(-6 * np.arange(length) / length)
    impulse = tail * rng.uniform(0.02, 0.08)
    impulse[0] = 1.0
    return fftconvolve(wave, impulse)[: len(wave)].astype(np.float32)


def telephone(wave: Wave) -> Wave:
    """Sends a wave through a telephone, which leaves what is below 4 kHz."""
    narrow = soxr.resample(wave, SAMPLE_RATE_HZ, 8000)
    return np.resize(soxr.resample(narrow, 8000, SAMPLE_RATE_HZ), len(wave)).astype(np.float32)


def rms(wave: Wave) -> float:
    """Returns the root mean square of a wave."""
    return float(np.sqrt(np.mean(np.square(wave)) + 1e-12))


def augment(wave: Wave, rng: random.Random, strength: float = 1.0, snr_db: tuple[float, float] = (5, 30)) -> Wave:
    """Records ``wave``: reverberation, telephone band, gain 0.05-1, noise, each with some probability."""
    if rng.random() < 0.25 * strength:
        wave = reverberate(wave, rng)
    if rng.random() < 0.2 * strength:
        wave = telephone(wave)
    wave = wave / np.float32(np.abs(wave).max() + 1e-6) * np.float32(10 ** (rng.uniform(-26, 0) / 20))
    level = rms(wave[np.abs(wave) > 0.02 * np.abs(wave).max()]) if np.any(wave) else 0.01
    kind = rng.random()
    if kind < 0.6 * strength:
        wave = add_noise(wave, level, rng.uniform(*snr_db), rng)
    elif kind < 0.9:
        wave = add_noise(wave, 1.0, rng.uniform(60, 90), rng)
    return np.clip(wave, -1, 1).astype(np.float32)


def fbank(wave: Wave) -> NDArray[np.float32]:
    """Computes 80 log-mel energies per 10 ms, as FunASR's frontend does (hamming window, no dither)."""
    options = knf.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = "hamming"
    options.mel_opts.num_bins = 80
    options.energy_floor = 0.0
    extractor = knf.OnlineFbank(options)
    extractor.accept_waveform(SAMPLE_RATE_HZ, (wave * 32768.0).astype(np.float32))
    extractor.input_finished()
    return np.stack([extractor.get_frame(i) for i in range(extractor.num_frames_ready)])
