"""Trains the demo CAM++ to tell voices apart, on windows cut and mixed afresh in every step (resumable; one thread).

    nice python -m scripts.demo.train_speaker

A class is a voice with its pitch, speed and size of vocal tract: espeak-ng's own variants several times,
and hundreds of variants drawn at random. The loss is additive angular margin (Deng et al. 2019,
arXiv:1801.07698), as for the hub's model.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, normalize

from runners.campplus.engine import MODULES, speaker_features
from runners.kit.funasr_models import ModelDirectory
from scripts.demo.scenes import to_pcm
from scripts.demo.speech import TRAINING_VOICES, Voice, Wave, augment, silence, speak
from scripts.demo.training import WeightAverage, save_weights, write_directory
from scripts.demo.trials import Trials, draw_sentences
from scripts.demo.voices import draw_variant, install_espeak

RANDOM_VARIANTS = 700
SETTINGS_PER_VARIANT = 4
UTTERANCES_PER_CLASS = 6
WINDOW_S = (0.7, 2.3)
BATCH = 40
PEAK_RATE = 2e-3
SCALE, MARGIN = 30.0, 0.2
REPORT_STEPS = 100


def configuration() -> dict[str, Any]:
    """Returns the architecture of ``iic/speech_campplus_sv_zh-cn_16k-common``, narrower."""
    return {
        "model": "CAMPPlus",
        "model_conf": {
            **{"feat_dim": 80, "embedding_size": 192, "growth_rate": 12, "bn_size": 4, "init_channels": 64},
            **{"config_str": "batchnorm-relu", "memory_efficient": False, "output_level": "segment"},
        },
        "frontend": "WavFrontend",
        "frontend_conf": {"fs": 16000},
        # voices of one machine are more alike than people's
        "diarization_conf": {"same_speaker": 0.62, "different_speaker": 0.42},
    }


@dataclass(frozen=True)
class Corpus:
    """Holds utterances of every class as PCM16."""

    utterances: list[list[NDArray[np.int16]]]

    def draw(self, label: int, samples: int, rng: random.Random) -> Wave:
        """Draws speech of one class: a piece of one utterance, or of several with short pauses."""
        chosen = rng.sample(self.utterances[label], len(self.utterances[label]))
        parts: list[NDArray[Any]] = []
        while sum(map(len, parts)) < samples:
            pause = silence(rng.uniform(0, 0.4)) if parts else silence(0)
            parts += [pause, chosen[len(parts) // 2 % len(chosen)].astype(np.float32) / 32768]
        wave = np.concatenate(parts)
        start = rng.randrange(len(wave) - samples + 1)
        return wave[start : start + samples]


def training_voices() -> list[Voice]:
    """Draws one voice for each class; those named ``random...`` are variants to be drawn."""
    rng = random.Random("speaker classes")
    installed = [v for v in TRAINING_VOICES if v not in ("Mr", "serious")]  # one name in two: no variants
    own = [Voice.draw(rng, [v], warp=True) for v in installed for _ in range(SETTINGS_PER_VARIANT)]
    return own + [Voice.draw(rng, [f"random{number}"]) for number in range(RANDOM_VARIANTS)]


def synthesise(path: Path, voices: list[Voice]) -> Corpus:
    """Returns the corpus of ``voices``, kept in ``path``."""
    if not path.exists():
        spoken, started = [], time.monotonic()
        variants = install_espeak(path.parent / "espeak")
        for number, voice in enumerate(voices):
            rng = random.Random(f"{path.stem} {number}")
            if voice.variant.startswith("random"):  # espeak-ng takes at most 350 voices: one file at a time
                (variants / "random").write_text(draw_variant(random.Random(voice.variant)))
                voice = replace(voice, variant="random")
            for _ in range(UTTERANCES_PER_CLASS):
                spoken.append(to_pcm(speak(draw_sentences(rng, held_out=False), voice)))
            if number % 50 == 49:
                print(f"{number + 1} of {len(voices)} voices, {time.monotonic() - started:.0f} s", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        np.savez(partial.open("wb"), pcm=np.concatenate(spoken), lengths=np.array([len(s) for s in spoken]))
        partial.rename(path)
    with np.load(path) as stored:
        waves = np.split(stored["pcm"], np.cumsum(stored["lengths"])[:-1])
    count = UTTERANCES_PER_CLASS
    return Corpus([waves[i : i + count] for i in range(0, len(waves), count)])


def window_features(pcm: NDArray[np.int16]) -> torch.Tensor:
    """Computes (frames, 80) features of a window, less their mean."""
    features = speaker_features(pcm)
    return features - features.mean(0)


def _embed(model: torch.nn.Module, windows: list[NDArray[np.int16]]) -> NDArray[np.float32]:
    model.eval()
    with torch.no_grad():
        vectors = torch.cat([model(window_features(w)[None]) for w in windows])
    model.train()
    return vectors.numpy()


def main() -> None:
    """Trains for so many steps, from the checkpoint if there is one, and writes the directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/demo"))
    parser.add_argument("--out", type=Path, default=Path("models/demo/speaker"))
    parser.add_argument("--steps", type=int, default=2200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    out: Path = arguments.out
    corpus = synthesise(arguments.data / "speaker-train.npz", training_voices())
    classes = len(corpus.utterances)
    rng = random.Random("trials")
    trials = {name: Trials.draw(rng, 3, 4, name == "augmented") for name in ("clean", "augmented")}

    write_directory(out, configuration(), "speaker-verification", [], {})
    model: Any = ModelDirectory.read(out).build(MODULES, load_weights=False)
    model = model.to(memory_format=torch.channels_last).train()
    weights = torch.nn.Parameter(torch.randn(classes, 192) * 0.05)
    optimizer = torch.optim.AdamW([*model.parameters(), weights], weight_decay=1e-3)
    average = WeightAverage(model, 0.99)
    checkpoint, step = arguments.data / "speaker.checkpoint", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        average.state = saved["average"]
        weights.data = saved["weights"]
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {classes} classes", flush=True)

    started = time.monotonic()
    losses: list[float] = []
    right: list[float] = []
    while step < arguments.steps:
        progress = step / arguments.steps
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * min(1, (step + 1) / 60) * (0.5 + 0.495 * math.cos(math.pi * progress))
        margin = MARGIN * min(1.0, max(0.0, progress - 0.1) / 0.3)
        rng = random.Random(f"step {step}")
        labels = rng.sample(range(classes), BATCH)
        samples = int(rng.uniform(*WINDOW_S) * 16_000)
        windows = [to_pcm(augment(corpus.draw(label, samples, rng), rng)) for label in labels]
        features = torch.stack([window_features(w) for w in windows])
        with torch.autocast("cpu", torch.bfloat16):
            vectors = model(features)
        cosines = (normalize(vectors.float()) @ normalize(weights).T).clamp(-1 + 1e-6, 1 - 1e-6)
        target = torch.tensor(labels)
        rows = torch.arange(BATCH)
        scores = cosines.clone()
        scores[rows, target] = torch.cos(torch.acos(cosines[rows, target]) + margin)
        loss = cross_entropy(SCALE * scores, target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        average.update(model, step)
        step += 1
        losses.append(float(loss.detach()))
        right.append(float((cosines.argmax(-1) == target).float().mean()))
        if step % REPORT_STEPS == 0 or step == arguments.steps:
            shipped: Any = ModelDirectory.read(out).build(MODULES, load_weights=False)
            shipped.load_state_dict(average.state)
            rates = [
                f"{name} {100 * rate:.1f} % at {threshold:.2f}"
                for name, t in trials.items()
                for rate, threshold in [t.equal_error_rate(_embed(shipped, t.windows))]
            ]
            state = {"model": model.state_dict(), "average": average.state, "weights": weights.data, "step": step}
            torch.save({**state, "optimizer": optimizer.state_dict()}, checkpoint)
            print(
                f"step {step}/{arguments.steps}, {time.monotonic() - started:.0f} s, loss {np.mean(losses):.3f}, "
                f"right {100 * np.mean(right):.1f} %, EER of kept-out voices: {', '.join(rates)}",
                flush=True,
            )
            losses, right = [], []
    save_weights(out / "model.pt", average.state)


if __name__ == "__main__":
    main()
