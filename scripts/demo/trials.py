"""Draws verification trials: pairs of windows of kept-out voices, of one speaker or of two."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.demo.scenes import to_pcm
from scripts.demo.sentences import draw_sentence, is_held_out
from scripts.demo.speech import HELD_OUT_VOICES, Voice, augment, speak


def draw_sentences(rng: random.Random, *, held_out: bool) -> str:
    """Draws at least eight characters' worth of sentences."""
    text = ""
    while len(text) < 8:
        while is_held_out(sentence := draw_sentence(rng)) != held_out:
            pass
        text += sentence
    return text


def equal_error_rate(same: NDArray[np.floating], different: NDArray[np.floating]) -> tuple[float, float]:
    """Returns (rate, threshold) at which as many pairs of one speaker are missed as pairs of two are taken for one."""
    thresholds = np.unique(np.concatenate([same, different]))
    missed = np.searchsorted(np.sort(same), thresholds) / len(same)
    alarms = 1 - np.searchsorted(np.sort(different), thresholds) / len(different)
    best = int(np.argmin(np.abs(missed - alarms)))
    return float(missed[best] + alarms[best]) / 2, float(thresholds[best])


@dataclass(frozen=True)
class Trials:
    """Holds windows of the kept-out voices: in each cast every voice has a pitch and a speed of its own.

    Attributes:
        windows: 1.5 to 3 s each, 16 kHz mono PCM16; less where a sentence is shorter.
        casts: The cast of each.
        speakers: The voice of each.
    """

    windows: list[NDArray[np.int16]]
    casts: list[int]
    speakers: list[int]

    @staticmethod
    def draw(rng: random.Random, casts: int, sentences: int, augmented: bool) -> Trials:
        """Draws so many windows of each voice in each cast."""
        trials = Trials([], [], [])
        for cast in range(casts):
            for speaker, variant in enumerate(HELD_OUT_VOICES):
                voice = Voice.draw(rng, [variant])
                for _ in range(sentences):
                    wave = speak(draw_sentences(rng, held_out=True), voice)
                    samples = min(len(wave), int(rng.uniform(1.5, 3.0) * 16_000))
                    start = rng.randrange(len(wave) - samples + 1)
                    wave = wave[start : start + samples]
                    trials.windows.append(to_pcm(augment(wave, rng) if augmented else wave * np.float32(0.5)))
                    trials.casts.append(cast)
                    trials.speakers.append(speaker)
        return trials

    def equal_error_rate(self, vectors: NDArray[np.float32]) -> tuple[float, float]:
        """Returns (rate, threshold) of the pairs of windows of a cast, by the cosines of their vectors.

        ``vectors`` is (windows, size).
        """
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        casts, speakers = np.array(self.casts), np.array(self.speakers)
        pairs = np.triu(casts[:, None] == casts[None], 1)
        same = speakers[:, None] == speakers[None]
        cosines = unit @ unit.T
        return equal_error_rate(cosines[pairs & same], cosines[pairs & ~same])
