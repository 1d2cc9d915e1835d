"""Writes the recogniser's training and evaluation speech as shards of features (resumable: shards are seeded by name).

python -m scripts.demo.synthesize --out build/demo --shards 44 --jobs 2
"""

from __future__ import annotations

import argparse
import random
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scripts.demo.sentences import (
    SHORT_ANSWERS,
    draw_held_out_sentence,
    draw_sentence,
    draw_word_salad,
    is_held_out,
    strip_punctuation,
)
from scripts.demo.speech import HELD_OUT_VOICES, TRAINING_VOICES, Voice, augment, fbank, silence, speak

EXAMPLES_PER_SHARD = 1000
LONGEST_S = 20.0  # the recognition window of Paraformer, see configs/models.yaml


def _training_text(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.1:
        return rng.choice(SHORT_ANSWERS)
    draw = draw_word_salad if kind < 0.23 else draw_sentence
    while is_held_out(text := draw(rng)):
        pass
    return text


def training_example(rng: random.Random) -> dict[str, Any]:
    """Draws one utterance, or several of one or two voices with pauses, up to 20 s."""
    kind = rng.random()
    limit_s = 0.0 if kind < 0.72 else rng.uniform(3, 8) if kind < 0.9 else rng.uniform(8, LONGEST_S)
    voice = Voice.draw(rng, TRAINING_VOICES, warp=True)
    waves = [silence(rng.uniform(0.0, 0.5))]
    texts: list[str] = []
    length = 0
    while not texts or length < limit_s * 16_000:
        text = _training_text(rng)
        wave = speak(text, voice)
        if texts and length + len(wave) > LONGEST_S * 16_000:
            break
        pause = silence(rng.uniform(0.05, 1.2) if rng.random() < 0.8 else rng.uniform(1.0, 2.5))
        waves += [pause, wave] if texts else [wave]
        length += len(wave) + (len(pause) if texts else 0)
        texts.append(text)
        if rng.random() < 0.15:
            voice = Voice.draw(rng, TRAINING_VOICES, warp=True)
    waves.append(silence(rng.uniform(0.02, 0.8)))
    wave = augment(np.concatenate(waves), rng, snr_db=(3, 30))
    return {"text": strip_punctuation("".join(texts)), "features": fbank(wave).astype(np.float16)}


def evaluation_example(rng: random.Random, voices: list[str], augmented: bool) -> dict[str, Any]:
    """Draws one sentence kept out of training, said by one of ``voices``."""
    text, voice = draw_held_out_sentence(rng), Voice.draw(rng, voices)
    wave = np.concatenate([silence(rng.uniform(0.1, 0.4)), speak(text, voice), silence(rng.uniform(0.1, 0.5))])
    wave = augment(wave, rng) if augmented else wave * np.float32(0.5)
    return {"text": strip_punctuation(text), "voice": voice.variant, "features": fbank(wave).astype(np.float16)}


def write_shard(path: Path, count: int) -> str:
    """Writes ``count`` examples to ``path``; what kind is told by its name, which also seeds it."""
    if path.exists():
        return f"{path.name}: kept"
    rng, started = random.Random(path.stem), time.time()
    if path.stem.startswith("train"):
        examples = [training_example(rng) for _ in range(count)]
    else:
        voices = HELD_OUT_VOICES if "held" in path.stem else TRAINING_VOICES
        examples = [evaluation_example(rng, voices, "noisy" in path.stem) for _ in range(count)]
    partial = path.with_suffix(".partial")
    torch.save([{**e, "features": torch.from_numpy(e["features"])} for e in examples], partial)
    partial.rename(path)
    hours = sum(len(e["features"]) for e in examples) / 360_000
    return f"{path.name}: {hours:.2f} h in {time.time() - started:.0f} s"


def main() -> None:
    """Writes the shards that are not there yet, in ``--jobs`` processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/demo"))
    parser.add_argument("--shards", type=int, default=44)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    evaluation = [f"eval-{v}-{n}" for v in ("train", "held") for n in ("clean", "noisy")]
    work = [(arguments.out / f"{name}.pt", 300) for name in evaluation]
    work += [(arguments.out / f"train-{i:03d}.pt", EXAMPLES_PER_SHARD) for i in range(arguments.shards)]
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for done, message in enumerate(pool.map(write_shard, *zip(*work, strict=True)), 1):
            print(f"[{done}/{len(work)}] {message}", flush=True)


if __name__ == "__main__":
    main()
