"""Measures the demo pack's speaker model on kept-out voices: pairs of windows, and whole dialogues."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from scripts.demo.dialogues import STEP_MS, Dialogue, draw_dialogue, speaker_time_error
from scripts.demo.engines import Engines
from scripts.demo.speech import HELD_OUT_VOICES
from scripts.demo.trials import Trials
from service.recordings.clustering import cluster

CONDITIONS = {"clean": False, "SNR 15-30 dB": True}


def found_speakers(engines: Engines, dialogue: Dialogue, count: int | None = None) -> NDArray[np.int_]:
    """Finds the speaker of every 10 ms of a dialogue, -1 outside its utterances, by the service's models and rules."""
    regions = engines.regions(dialogue.pcm)
    embedded = engines.speaker.embed([dialogue.pcm[r.start_ms * 16 : r.end_ms * 16] for r in regions])
    windows = [
        (region.start_ms + start, region.start_ms + end, vector)
        for region, voices in zip(regions, embedded, strict=True)
        for start, end, vector in zip(voices.starts_ms, voices.ends_ms, voices.vectors, strict=True)
    ]
    found = np.full(len(dialogue.pcm) // (16 * STEP_MS) + 1, -1)
    if not windows:
        return found
    starts_ms, ends_ms = (np.array(times)[None] for times in ([w[0] for w in windows], [w[1] for w in windows]))
    labels = cluster(np.stack([w[2] for w in windows]), engines.speaker.options, count=count)
    for region in regions:
        times_ms = np.arange(region.start_ms, region.end_ms, STEP_MS)[:, None]
        # the window that holds the time, or else the nearest; of several, that whose middle is nearest
        outside_ms = np.maximum(0, np.maximum(starts_ms - times_ms, times_ms - ends_ms))
        off_ms = np.abs((starts_ms + ends_ms) / 2 - times_ms)
        found[times_ms[:, 0] // STEP_MS] = labels[(outside_ms + 1e-3 * off_ms).argmin(1)]
    return found


def speaker_rows(engines: Engines, count: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Measures the equal error rate of pairs of windows of 1.5-3 s, and errors in dialogues.

    Dialogues have 10 turns of 1 to 4 speakers.
    """
    for name, augmented in (("clean", False), ("augmented", True)):
        trials = Trials.draw(rng, max(1, count // 100), 5, augmented)
        vectors = [e.vectors.mean(0) for e in engines.speaker.embed(trials.windows)]
        rate, threshold = trials.equal_error_rate(np.stack(vectors))
        yield f"speaker EER, kept-out voices, {name}", f"{100 * rate:.1f} % (at a cosine of {threshold:.2f})"
    each = max(1, count // 20)
    for condition, noisy in CONDITIONS.items():
        for speakers in (1, 2, 3, 4):
            dialogues = [draw_dialogue(rng, HELD_OUT_VOICES, speakers, noisy=noisy) for _ in range(each)]
            found = [found_speakers(engines, d) for d in dialogues]
            errors = [speaker_time_error(d, f) for d, f in zip(dialogues, found, strict=True)]
            right = sum(len(np.unique(f[f >= 0])) == speakers for f in found)
            hinted = [speaker_time_error(d, found_speakers(engines, d, speakers)) for d in dialogues]
            yield (
                f"speaker-time error, {speakers} kept-out voices, {condition}",
                f"{100 * np.mean(errors):.1f} %, the count right in {right} of {each}; "
                f"{100 * np.mean(hinted):.1f} % with the count as a hint",
            )
