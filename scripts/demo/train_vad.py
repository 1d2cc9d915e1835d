"""Trains the demo FSMN-VAD on scenes that are mixed afresh in every epoch (resumable; one thread).

    nice python -m scripts.demo.train_vad

A frame's label trails the speech a little: the network is causal, so it needs to have heard some of
a sound to name it, and the endpoint machine's lookback makes up for that. Label smoothing keeps the
probabilities away from 0 and 1, of which the endpoint machine takes logarithms.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from runners.kit.features import fbank, stack_frames
from runners.kit.funasr_models import ModelDirectory
from scripts.demo.scenes import HOP, Scene, Utterance, background, breathe, compose, record, tilt, to_pcm
from scripts.demo.sentences import SHORT_ANSWERS, characters, draw_sentence, is_held_out
from scripts.demo.speech import HELD_OUT_VOICES, TRAINING_VOICES, Voice, speak
from scripts.demo.training import save_weights, write_cmvn, write_directory

LFR_M = 5
SCENE_HOPS = 1200
VOICES = [*TRAINING_VOICES, *4 * ["whisper", "whisperf"]]
ONSET_DELAY_HOPS = 1
HANGOVER_HOPS = 3
BATCHES_PER_EPOCH, SCENES_PER_BATCH = 30, 8
PEAK_RATE = 3e-3


def configuration() -> dict[str, Any]:
    """Returns the architecture of ``iic/speech_fsmn_vad_zh-cn-16k-common-pytorch``, a third of its size.

    Two outputs (silence, speech) instead of 248 phones. The machine reacts to shorter syllables and
    extends regions less than the original's.
    """
    endpoint: dict[str, Any] = {"sample_rate": 16000, "detect_mode": 1, "snr_mode": 0, "max_end_silence_time": 800}
    endpoint |= {"max_start_silence_time": 3000, "do_start_point_detection": True, "do_end_point_detection": True}
    endpoint |= {"window_size_ms": 150, "sil_to_speech_time_thres": 100, "speech_to_sil_time_thres": 100}
    endpoint |= {"speech_2_noise_ratio": 1.0, "do_extend": 1, "lookback_time_start_point": 30}
    endpoint |= {"lookahead_time_end_point": 0, "max_single_segment_time": 60000, "snr_thres": -100.0}
    endpoint |= {"noise_frame_num_used_for_snr": 100, "decibel_thres": -100.0, "speech_noise_thres": 0.5}
    endpoint |= {"fe_prior_thres": 1e-4, "silence_pdf_num": 1, "sil_pdf_ids": [0], "output_frame_probs": False}
    endpoint |= {"speech_noise_thresh_low": -0.1, "speech_noise_thresh_high": 0.3, "frame_in_ms": 10}
    endpoint |= {"frame_length_ms": 25}
    encoder: dict[str, Any] = {
        "input_dim": 80 * LFR_M,
        "input_affine_dim": 96,
        "fsmn_layers": 4,
        "linear_dim": 128,
        "proj_dim": 64,
    }
    encoder |= {"lorder": 20, "rorder": 0, "lstride": 1, "rstride": 0, "output_affine_dim": 96, "output_dim": 2}
    frontend: dict[str, Any] = {
        "fs": 16000,
        "window": "hamming",
        "n_mels": 80,
        "frame_length": 25,
        "frame_shift": 10,
        "dither": 0.0,
    }
    return {
        "frontend": "WavFrontendOnline",
        "frontend_conf": {**frontend, "lfr_m": LFR_M, "lfr_n": 1},
        "model": "FsmnVADStreaming",
        "model_conf": endpoint,
        "encoder": "FSMN",
        "encoder_conf": encoder,
    }


def draw_utterance(rng: random.Random, voices: list[str], held_out: bool) -> Utterance:
    """Draws a sentence, a short answer or a single syllable."""
    kind = rng.random()
    if kind < 0.3:
        text = rng.choice(SHORT_ANSWERS)
    elif kind < 0.4:
        text = rng.choice(characters())
    else:
        while is_held_out(text := draw_sentence(rng)) != held_out:
            pass
    voice = Voice.draw(rng, voices)
    if held_out:
        return Utterance.of(speak(text, voice))
    spoken = Utterance.of(speak(text, replace(voice, warp=rng.uniform(0.75, 1.4))))
    wave = spoken.wave
    if rng.random() < 0.4:
        wave = breathe(wave, rng.uniform(0.1, 0.9), rng)
    if rng.random() < 0.3:
        wave = tilt(wave, rng)
    return Utterance(wave, spoken.active)


def draw_scene(utterances: list[Utterance], rng: random.Random) -> Scene:
    """Draws 12 s of utterances with pauses between 0.1 and 3 s, recorded somewhere; one in four without any."""
    if rng.random() < 0.25:
        silence = np.zeros(SCENE_HOPS, np.bool_)
        return Scene(to_pcm(background(SCENE_HOPS * HOP, rng)), silence, [])
    chosen: list[Utterance] = []
    pauses = [rng.randint(0, 250)]
    left = SCENE_HOPS - pauses[0]
    while (utterance := rng.choice(utterances)) and len(utterance.active) < left:
        chosen.append(utterance)
        left -= len(utterance.active)
        pauses.append(min(left, rng.randint(10, 60) if rng.random() < 0.5 else rng.randint(60, 300)))
        left -= pauses[-1]
    if not chosen:
        return draw_scene(utterances, rng)
    pauses[-1] += left
    loudness = [np.float32(rng.uniform(0.4, 1)) for _ in chosen]
    wave, scene = compose([Utterance(u.wave * g, u.active) for u, g in zip(chosen, loudness, strict=True)], pauses)
    return Scene(to_pcm(record(wave, rng, sounds=0.6)), scene.active, scene.utterances_ms)


def frame_labels(active: NDArray[np.bool_], frames: int) -> torch.Tensor:
    """Labels each 25 ms frame as speech (1) or silence (0), from the activity of each 10 ms."""
    labels = np.zeros(len(active) + HANGOVER_HOPS, np.bool_)
    for delay in range(ONSET_DELAY_HOPS, HANGOVER_HOPS + 1):
        labels[delay : delay + len(active)] |= active
    return torch.from_numpy(labels[:frames].astype(np.int64))


def stacked_features(scene: Scene) -> torch.Tensor:
    """Computes the stacked frames of a scene, one for every 10 ms."""
    return stack_frames(fbank(scene.pcm), LFR_M, 1)


def draw_utterances(path: Path, count: int, voices: list[str], held_out: bool) -> list[Utterance]:
    """Draws ``count`` utterances, seeded by the file's name and kept in it."""
    if not path.exists():
        rng = random.Random(path.stem)
        drawn = []
        for number in range(1, count + 1):
            drawn.append(draw_utterance(rng, voices, held_out))
            if number % 200 == 0:
                print(f"{path.name}: {number} of {count} utterances", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        np.savez(partial.open("wb"), *(a for u in drawn for a in (to_pcm(u.wave), u.active)))
        partial.rename(path)
    with np.load(path) as arrays:
        stored = [arrays[name] for name in arrays.files]
    return [Utterance(w.astype(np.float32) / 32767, a) for w, a in zip(stored[::2], stored[1::2], strict=True)]


def main() -> None:
    """Trains for so many epochs, from the checkpoint if there is one, and writes the directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/demo"))
    parser.add_argument("--out", type=Path, default=Path("models/demo/vad"))
    parser.add_argument("--epochs", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    out: Path = arguments.out
    utterances = draw_utterances(arguments.data / "vad-train.npz", 2000, VOICES, held_out=False)
    unseen = draw_utterances(arguments.data / "vad-held.npz", 120, HELD_OUT_VOICES, held_out=True)
    rng = random.Random("evaluation")
    evaluation = [draw_scene(unseen, rng) for _ in range(24)]
    evaluation_features = torch.stack([stacked_features(s) for s in evaluation])
    frames = evaluation_features.shape[1]
    evaluation_labels = torch.stack([frame_labels(s.active, frames) for s in evaluation])

    write_directory(out, configuration(), "voice-activity-detection", [], {"frontend_conf": {"cmvn_file": "am.mvn"}})
    if not (out / "am.mvn").exists():
        rng = random.Random("statistics")
        write_cmvn(out / "am.mvn", [fbank(draw_scene(utterances, rng).pcm).numpy() for _ in range(80)], LFR_M, 1)
    directory = ModelDirectory.read(out)
    shift, scale = directory.cmvn()
    modules = {"FsmnVADStreaming": ("fsmn_vad_streaming.model", "fsmn_vad_streaming.encoder")}
    model: Any = directory.build(modules, load_weights=False)
    model.encoder.use_softmax = False
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    checkpoint, epoch = arguments.data / "vad.checkpoint", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        epoch = saved["epoch"]
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)

    started = time.monotonic()
    while epoch < arguments.epochs:
        rng = random.Random(f"epoch {epoch}")
        losses = []
        for batch in range(BATCHES_PER_EPOCH):
            progress = (epoch + batch / BATCHES_PER_EPOCH) / arguments.epochs
            for group in optimizer.param_groups:
                group["lr"] = PEAK_RATE * min(1, 20 * progress) * (0.5 + 0.49 * math.cos(math.pi * progress))
            scenes = [draw_scene(utterances, rng) for _ in range(SCENES_PER_BATCH)]
            features = (torch.stack([stacked_features(s) for s in scenes]) + shift) * scale
            labels = torch.stack([frame_labels(s.active, features.shape[1]) for s in scenes])
            scores = model.encoder(features, None)
            loss = cross_entropy(scores.flatten(0, 1), labels.flatten(), label_smoothing=0.02)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            losses.append(float(loss.detach()))
        epoch += 1
        with torch.no_grad():
            found = model.encoder((evaluation_features + shift) * scale, None).argmax(-1)
        missed = (found < evaluation_labels).sum() / evaluation_labels.sum()
        alarms = (found > evaluation_labels).sum() / (1 - evaluation_labels).sum()
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, checkpoint)
        print(
            f"epoch {epoch}/{arguments.epochs}, {time.monotonic() - started:.0f} s, loss {np.mean(losses):.4f}, "
            f"unseen voices: {100 * missed:.2f} % of speech missed, {100 * alarms:.2f} % of silence taken for speech",
            flush=True,
        )
    save_weights(out / "model.pt", model.state_dict())


if __name__ == "__main__":
    main()
