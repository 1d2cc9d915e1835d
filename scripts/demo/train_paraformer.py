"""Trains the demo Paraformer on the shards of scripts.demo.synthesize (resumable; one thread).

    nice python -m scripts.demo.train_paraformer --data build/demo --minutes 110

Shards that appear while it runs are picked up. A small CTC loss on the encoder, and short sentences
only in the first minutes, make the alignment emerge quickly; the CTC head is not shipped.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from runners.kit.funasr_models import ModelDirectory
from runners.paraformer.engine import MODULES
from scripts.character_errors import edit_distance
from scripts.demo.sentences import characters
from scripts.demo.training import (
    Schedule,
    WeightAverage,
    save_weights,
    stack_frames,
    write_cmvn,
    write_directory,
)

LFR_M, LFR_N = 7, 6
FRAMES_PER_BATCH = 1300
CURRICULUM_S = 200.0
Example = dict[str, Any]


def configuration(width: int = 144) -> dict[str, Any]:
    """Returns the architecture of ``iic/speech_paraformer-large``, about a hundredth of its size."""
    block = {"attention_heads": 4, "linear_units": 576, "dropout_rate": 0.0, "positional_dropout_rate": 0.0}
    encoder = {"output_size": width, "num_blocks": 6, "attention_dropout_rate": 0.0, "input_layer": "pe"}
    encoder |= {"pos_enc_class": "SinusoidalPositionEncoder", "normalize_before": True, "kernel_size": 11}
    encoder |= {"sanm_shfit": 0, "selfattention_layer_type": "sanm"}
    decoder = {"num_blocks": 2, "att_layer_num": 2, "self_attention_dropout_rate": 0.0, "kernel_size": 11}
    decoder |= {"src_attention_dropout_rate": 0.0, "sanm_shfit": 0}
    losses = {"ctc_weight": 0.0, "lsm_weight": 0.1, "length_normalized_loss": True, "predictor_weight": 1.0}
    return {
        "model": "Paraformer",
        "model_conf": {**losses, "predictor_bias": 1, "sampling_ratio": 0.75},
        "encoder": "SANMEncoder",
        "encoder_conf": block | encoder,
        "decoder": "ParaformerSANMDecoder",
        "decoder_conf": block | decoder,
        "predictor": "CifPredictorV2",
        "predictor_conf": {"idim": width, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45},
        "frontend": "WavFrontend",
        "frontend_conf": {
            **{"fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10},
            **{"lfr_m": LFR_M, "lfr_n": LFR_N, "dither": 0.0},
        },
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
    }


class Batches:
    """Makes padded batches of similar lengths; augmented ones shift, scale and mask the log-mel features."""

    def __init__(self, directory: ModelDirectory, seed: int) -> None:
        self.index = {c: i for i, c in enumerate(directory.tokens)}
        self.shift, self.scale = directory.cmvn()
        self.rng = random.Random(seed)

    def over(self, examples: list[Example], augmented: bool) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yields (features, lengths, targets, target lengths) of all examples, in any order where ``augmented``."""
        order = list(range(len(examples)))
        if augmented:
            self.rng.shuffle(order)
        batches: list[list[Example]] = []
        for start in range(0, len(order), 2000):
            block = sorted((examples[i] for i in order[start : start + 2000]), key=lambda e: len(e["features"]))
            batch: list[Example] = []
            for example in block:
                if batch and (len(example["features"]) // LFR_N + 1) * (len(batch) + 1) > FRAMES_PER_BATCH:
                    batches.append(batch)
                    batch = []
                batch.append(example)
            batches.append(batch)
        if augmented:
            self.rng.shuffle(batches)
        for batch in batches:
            features = [self._features(e["features"].numpy(), augmented) for e in batch]
            targets = [torch.tensor([self.index[c] for c in e["text"]]) for e in batch]
            yield (
                pad_sequence(features, batch_first=True),
                torch.tensor([len(f) for f in features]),
                pad_sequence(targets, batch_first=True, padding_value=-1),
                torch.tensor([len(t) for t in targets]),
            )

    def _features(self, stored: np.ndarray, augmented: bool) -> torch.Tensor:
        rng, features = self.rng, stored.astype(np.float32)
        if augmented:
            features = features[rng.randint(0, 5) :] + np.float32(rng.uniform(-1, 1))
            mean = features.mean()
            for axis in (0, 0, 1, 1):
                width = rng.randint(0, min(14, features.shape[axis] // 8))
                start = rng.randint(0, features.shape[axis] - width)
                np.moveaxis(features, axis, 0)[start : start + width] = mean
        return (torch.from_numpy(stack_frames(features, LFR_M, LFR_N)) + self.shift) * self.scale


@torch.no_grad()
def error_rate(model: Any, batches: Batches, examples: list[Example], tokens: list[str]) -> float:
    """Returns the character error rate of greedy decoding, in percent."""
    model.eval()
    ordered = sorted(examples, key=lambda e: len(e["features"]))
    errors = characters_said = position = 0
    for speech, lengths, targets, _ in batches.over(ordered, augmented=False):
        encoded, encoded_lengths = model.encode(speech, lengths)
        embeds, counts, _, _ = model.calc_predictor(encoded, encoded_lengths)
        counts = counts.round().long()
        texts = [""] * len(targets)
        if counts.max() > 0:
            scores, _ = model.cal_decoder_with_predictor(encoded, encoded_lengths, embeds, counts)
            ids = scores.argmax(-1)
            texts = ["".join(tokens[t] for t in row[:n] if t > 2) for row, n in zip(ids, counts, strict=True)]
        for text in texts:
            reference = ordered[position]["text"]
            position += 1
            errors += edit_distance(reference, text)
            characters_said += len(reference)
    model.train()
    return 100 * errors / characters_said


def main() -> None:
    """Trains for so many minutes, from the checkpoint if there is one, and writes the directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/demo"))
    parser.add_argument("--out", type=Path, default=Path("models/demo/paraformer"))
    parser.add_argument("--minutes", type=float, default=110)
    parser.add_argument("--peak-rate", type=float, default=1.6e-3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)

    loaded: dict[Path, list[Example]] = {}

    def new_examples() -> list[Example]:
        found = []
        for path in sorted(arguments.data.glob("train-*.pt")):
            if path not in loaded:
                loaded[path] = torch.load(path)
                found += loaded[path]
        return found

    examples = new_examples()
    out: Path = arguments.out
    tokens = ["<blank>", "<s>", "</s>", *characters(), "<unk>"]
    files = {"tokenizer_conf": {"token_list": "tokens.json"}, "frontend_conf": {"cmvn_file": "am.mvn"}}
    config = configuration()
    write_directory(out, config, "auto-speech-recognition", tokens, files)
    if not (out / "am.mvn").exists():
        write_cmvn(out / "am.mvn", [e["features"].numpy() for e in examples[::5]], LFR_M, LFR_N)
    directory = ModelDirectory.read(out)
    model: Any = directory.build(MODULES, load_weights=False, model_conf={**config["model_conf"], "ctc_weight": 0.05})
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    average, step, elapsed_s = WeightAverage(model, 0.9995), 0, 0.0
    checkpoint = arguments.data / "paraformer.checkpoint"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average.state, step, elapsed_s = saved["average"], saved["step"], saved["elapsed_s"]
    schedule = Schedule(arguments.peak_rate, 400, arguments.minutes * 60, elapsed_s)
    batches = Batches(directory, seed=step)
    evaluation = {p.stem: torch.load(p) for p in sorted(arguments.data.glob("eval-*.pt"))}
    shipped: Any = directory.build(MODULES, load_weights=False, model_conf={**config["model_conf"], "ctc_weight": 0.05})
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {len(examples)} examples", flush=True)

    def report(losses: list[list[float]]) -> None:
        shipped.load_state_dict(average.state)
        rates = {k: f"{error_rate(shipped, batches, v, tokens):.2f}" for k, v in evaluation.items()}
        save_weights(out / "model.pt", average.state, without="ctc.")
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average.state}
        torch.save({**state, "step": step, "elapsed_s": schedule.elapsed_s}, checkpoint)
        mean = np.mean(losses[-300:], axis=0).round(3) if losses else "-"
        print(f"{schedule.elapsed_s / 60:.1f} min, step {step}, loss {mean}, CER % {rates}", flush=True)

    losses: list[list[float]] = []
    last_report = time.monotonic()
    model.train()
    while not schedule.finished:
        examples += new_examples() if losses else []
        short = schedule.elapsed_s < CURRICULUM_S
        for speech, lengths, targets, counts in batches.over(
            [e for e in examples if len(e["text"]) <= 8] if short else examples, augmented=True
        ):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(step)
            loss, stats, _ = model(speech=speech, speech_lengths=lengths, text=targets, text_lengths=counts)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            average.update(model, step)
            step += 1
            losses.append([float(stats[k]) for k in ("loss_ctc", "loss_att", "loss_pre", "acc")])
            if time.monotonic() - last_report > 240:
                report(losses)
                last_report = time.monotonic()
            if schedule.finished or (short and schedule.elapsed_s >= CURRICULUM_S):
                break
    report(losses)


if __name__ == "__main__":
    main()
