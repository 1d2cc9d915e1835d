"""Draws dialogues of kept-out voices with known turns: what telling speakers apart is measured on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from scripts.demo.scenes import HOP, Utterance, compose, to_pcm
from scripts.demo.sentences import SHORT_ANSWERS, draw_held_out_sentence
from scripts.demo.speech import Voice, add_noise, rms, speak

STEP_MS = 10


@dataclass(frozen=True)
class Dialogue:
    """Holds a recording and what is known of its turns.

    Attributes:
        pcm: The recording, 16 kHz mono PCM16.
        turns_ms: When each turn starts and ends.
        speakers: Who speaks in each turn, from 0.
        texts: What is said in each turn.
    """

    pcm: NDArray[np.int16]
    turns_ms: list[tuple[int, int]]
    speakers: list[int]
    texts: list[str]


def draw_order(rng: random.Random, speakers: int, turns: int) -> list[int]:
    """Draws whose turn it is: everybody's at least once, nobody's twice in a row unless alone."""
    while True:
        order = [rng.randrange(speakers)]
        while len(order) < turns:
            order.append(rng.choice([s for s in range(speakers) if s != order[-1] or speakers == 1]))
        if len(set(order)) == speakers:
            return order


def draw_dialogue(
    rng: random.Random, variants: Sequence[str], speakers: int, *, turns: int = 10, noisy: bool = False
) -> Dialogue:
    """Draws turns of a sentence kept out of training (one in eight: a short answer), pauses of 0.3-1.5 s between them.

    Each speaker is a variant of its own with a pitch and a speed; ``noisy`` adds noise at an SNR of 15-30 dB.
    """
    voices = [Voice.draw(rng, [variant]) for variant in rng.sample(list(variants), speakers)]
    order = draw_order(rng, speakers, turns)
    texts = []
    for _ in order:
        text = draw_held_out_sentence(rng)
        texts.append(rng.choice(SHORT_ANSWERS) if rng.random() < 0.125 else text)
    utterances = [Utterance.of(speak(text, voices[s])) for text, s in zip(texts, order, strict=True)]
    pauses = [rng.randint(30, 150) for _ in range(turns + 1)]
    wave, scene = compose(utterances, pauses)
    wave = wave * np.float32(0.5)
    if noisy:
        loud = rms(wave[np.repeat(scene.active, HOP)])
        wave = add_noise(wave, loud, rng.uniform(15, 30), rng)
    return Dialogue(to_pcm(wave), scene.utterances_ms, order, texts)


def speaker_time_error(dialogue: Dialogue, found: NDArray[np.int_]) -> float:
    """Returns the share of speech that is given to the wrong speaker or to none, without a collar.

    ``found`` has a speaker for every 10 ms of the recording, -1 for none. Found speakers are matched to the true
    ones so that most time agrees.
    """
    truth = np.full(len(found), -1)
    for (start, end), speaker in zip(dialogue.turns_ms, dialogue.speakers, strict=True):
        truth[start // STEP_MS : end // STEP_MS] = speaker
    spoken = truth >= 0
    together = np.zeros((max(dialogue.speakers) + 1, max(0, int(found.max(initial=-1))) + 1))
    both = spoken & (found >= 0)
    np.add.at(together, (truth[both], found[both]), 1)
    agreed = together[linear_sum_assignment(-together)].sum()
    return float(1 - agreed / spoken.sum())
