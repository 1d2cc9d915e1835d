"""Writes the speech that the demo Qwen3-ASR and its aligner learn from: short utterances with character times.

    nice python -m scripts.demo.synthesize_qwen3 --out build/demo/qwen3 --shards 28

Resumable: a shard is seeded by its name. Longer recordings are put together from these while training.
"""

from __future__ import annotations

import argparse
import random
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch

from runners.qwen3.whisper_features import log_energies
from scripts.demo import espeak
from scripts.demo.sentences import SHORT_ANSWERS, draw_sentence, draw_word_salad, is_held_out, strip_punctuation
from scripts.demo.speech import HELD_OUT_VOICES, SAMPLE_RATE_HZ, TRAINING_VOICES, Voice, Wave, augment, noise, silence

EXAMPLES_PER_SHARD = 1000
Times = list[tuple[int, int]]


def speak_timed(text: str, voice: Voice) -> tuple[Wave, Times]:
    """Says ``text`` at 16 kHz mono, peak 1, trimmed to the speech, and when each character is said, in samples.

    Punctuation is said with the character before it.
    """
    spoken = espeak.speak(
        text,
        f"cmn-latn-pinyin+{voice.variant}",
        speed_wpm=round(voice.speed_wpm / voice.warp),
        pitch=voice.pitch,
    )
    rate_hz = espeak.SAMPLE_RATE_HZ * voice.warp
    wave = soxr.resample(spoken.samples.astype(np.float32) / 32768, rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    loud = np.flatnonzero(np.abs(wave) > 1e-3)
    first, last = max(0, loud[0] - 160), loud[-1] + 480
    to_sample = SAMPLE_RATE_HZ / rate_hz
    said = {position: (start, end) for position, start, end in spoken.characters}
    times: Times = []
    for position in range(len(text)):
        if position in said:
            start, end = (int(sample * to_sample) - int(first) for sample in said[position])
            times.append((max(0, start), max(0, end)))
        else:
            times.append((times[-1][1],) * 2 if times else (0, 0))
    wave = wave[first:last]
    return (wave / np.abs(wave).max()).astype(np.float32), times


def _spliced(rng: random.Random) -> str:
    """Puts pieces of sentences one after another."""
    pieces = []
    for _ in range(rng.randint(2, 4)):
        sentence = strip_punctuation(draw_sentence(rng))
        start = rng.randrange(len(sentence))
        pieces.append(sentence[start : start + rng.randint(2, 7)])
    return "".join(pieces) + "。"


def _text(rng: random.Random, *, held_out: bool) -> str:
    """Draws mostly what nobody would say, or the decoder learns to guess on instead of listening."""
    kind = 1.0 if held_out else rng.random()
    if kind < 0.08:
        return rng.choice(SHORT_ANSWERS)
    draw = draw_word_salad if kind < 0.3 else _spliced if kind < 0.55 else draw_sentence
    while is_held_out(text := draw(rng)) != held_out:
        pass
    return text


def example(rng: random.Random, voices: list[str], *, held_out: bool, augmented: bool) -> dict[str, Any]:
    """Draws one recording: its punctuated text (empty for noise), energies, and the characters' times in ms."""
    if not held_out and rng.random() < 0.03:
        wave: Wave = noise(int(rng.uniform(0.5, 4) * SAMPLE_RATE_HZ), rng) * np.float32(10 ** rng.uniform(-4, -1))
        return {"text": "", "times_ms": [], "energies": log_energies(wave).half()}
    text = _text(rng, held_out=held_out)
    spoken, times = speak_timed(text, Voice.draw(rng, voices, warp=not held_out))
    before = silence(rng.uniform(0.0, 0.5))
    wave = np.concatenate([before, spoken, silence(rng.uniform(0.02, 0.8))])
    wave = augment(wave, rng, snr_db=(4, 30)) if augmented else wave * np.float32(0.5)
    times_ms = [tuple((t + len(before)) // 16 for t in pair) for pair in times]
    return {"text": text, "times_ms": times_ms, "energies": log_energies(wave).half()}


def write_shard(path: Path, count: int) -> str:
    """Writes ``count`` examples to ``path``; what kind is told by its name, which also seeds it."""
    if path.exists():
        return f"{path.name}: kept"
    rng, started = random.Random(path.stem), time.time()
    torch.set_num_threads(1)
    training = path.stem.startswith("train")
    voices = HELD_OUT_VOICES if "held" in path.stem else TRAINING_VOICES
    augmented = training or "noisy" in path.stem
    examples = [example(rng, voices, held_out=not training, augmented=augmented) for _ in range(count)]
    partial = path.with_suffix(".partial")
    torch.save(examples, partial)
    partial.rename(path)
    hours = sum(e["energies"].shape[1] for e in examples) / 360_000
    return f"{path.name}: {hours:.2f} h in {time.time() - started:.0f} s"


def main() -> None:
    """Writes the shards that are not there yet, in ``--jobs`` processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/demo/qwen3"))
    parser.add_argument("--shards", type=int, default=28)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    work = [(arguments.out / f"eval-{v}-{n}.pt", 150) for v in ("train", "held") for n in ("clean", "noisy")]
    work += [(arguments.out / f"train-{i:03d}.pt", EXAMPLES_PER_SHARD) for i in range(arguments.shards)]
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for done, message in enumerate(pool.map(write_shard, *zip(*work, strict=True)), 1):
            print(f"[{done}/{len(work)}] {message}", flush=True)


if __name__ == "__main__":
    main()
