"""Trains the demo streaming Paraformer from the offline one's weights (resumable; one thread).

    nice python -m scripts.demo.train_paraformer_streaming --data build/demo --minutes 45

Needs the shards of scripts.demo.synthesize and the checkpoint of scripts.demo.train_paraformer. The
training is SCAMA's (Zhang et al. 2020, arXiv:2006.01712): the encoder sees chunks of 0.6 s with 0.3 s
of look-ahead, the decoder the chunk it speaks from and the one before.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from runners.kit.funasr_models import ModelDirectory
from runners.paraformer_streaming.engine import MODULES
from scripts.character_errors import edit_distance
from scripts.demo import train_paraformer
from scripts.demo.sentences import characters
from scripts.demo.train_paraformer import LFR_M, LFR_N, Batches, Example
from scripts.demo.training import Schedule, WeightAverage, save_weights, stack_frames, write_directory

CHUNK, LOOK_AHEAD = 10, 5  # LFR frames of 60 ms
LOOK_BACK_CHUNKS = 4
DIGITAL_SILENCE = -15.94  # log-mel energy of zeros
REPORT_S = 240.0


def configuration() -> dict[str, Any]:
    """Returns the architecture of ``iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-online``, small."""
    config = train_paraformer.configuration()
    chunks = {"chunk_size": [CHUNK + LOOK_AHEAD], "stride": [CHUNK], "pad_left": [0]}
    chunks |= {"encoder_att_look_back_factor": [LOOK_BACK_CHUNKS], "decoder_att_look_back_factor": [1]}
    return config | {
        "model": "ParaformerStreaming",
        "encoder": "SANMEncoderChunkOpt",
        "encoder_conf": config["encoder_conf"] | chunks | {"input_layer": "pe_online"},
        "decoder_conf": config["decoder_conf"] | {"sanm_shfit": 5},
        "frontend": "WavFrontendOnline",
    }


class StreamBatches(Batches):
    """Makes training batches whose examples begin and end like a live sentence: with up to 1.2 s of background."""

    def _features(self, stored: np.ndarray, augmented: bool) -> torch.Tensor:
        if augmented:
            stored = np.concatenate([self._background(stored[:6], 0.4), stored, self._background(stored[-6:], 1.2)])
        return super()._features(stored, augmented)

    def _background(self, edge: np.ndarray, longest_s: float) -> np.ndarray:
        if self.rng.random() < 0.5:
            return edge[:0]
        if self.rng.random() < 0.3:
            edge = np.full_like(edge, DIGITAL_SILENCE)
        return edge[[self.rng.randrange(len(edge)) for _ in range(int(self.rng.uniform(0.1, longest_s) * 100))]]


class ZeroFramesFirst(torch.nn.Module):
    """Adds positions to all but the leading look-ahead frames, which are zero as before a session's first chunk."""

    def __init__(self, positions: torch.nn.Module) -> None:
        super().__init__()
        self.positions = positions

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Turns frames into frames with positions."""
        embedded: torch.Tensor = self.positions(frames[:, LOOK_AHEAD:])
        return torch.nn.functional.pad(embedded, (0, 0, LOOK_AHEAD, 0))


@torch.no_grad()
def transcribe(model: Any, features: torch.Tensor, tokens: list[str]) -> str:
    """Decodes normalised LFR frames greedily, chunk by chunk with FunASR's own caches."""
    encoder = {"output_size": model.encoder.output_size()}
    cache = model.init_cache(
        {},
        chunk_size=[0, CHUNK, LOOK_AHEAD],
        encoder_chunk_look_back=LOOK_BACK_CHUNKS,
        decoder_chunk_look_back=1,
        encoder_conf=encoder,
        frontend_conf={"n_mels": 80, "lfr_m": LFR_M},
    )
    ids: list[int] = []
    chunks = len(features) // CHUNK + 1
    for number in range(chunks):
        chunk = features[None, number * CHUNK : (number + 1) * CHUNK].clone()  # the encoder scales it in place
        encoded, lengths = model.encode_chunk(chunk, torch.tensor([chunk.shape[1]]), cache=cache)
        last = number == chunks - 1
        embeds, counts, _, _ = model.calc_predictor_chunk(encoded, lengths, cache=cache, is_final=last)
        if int(counts.max()) > 0:
            scores, _ = model.cal_decoder_with_predictor_chunk(encoded, lengths, embeds, counts, cache=cache)
            ids += scores[0].argmax(-1).tolist()
    return "".join(tokens[i] for i in ids if i > 2)


def error_rate(model: Any, batches: Batches, examples: list[Example], tokens: list[str]) -> float:
    """Returns the character error rate of the online text, in percent."""
    errors = said = 0
    for example in examples:
        stacked = torch.from_numpy(stack_frames(example["features"].float().numpy(), LFR_M, LFR_N))
        text = transcribe(model, (stacked + batches.shift) * batches.scale, tokens)
        errors += edit_distance(example["text"], text)
        said += len(example["text"])
    return 100 * errors / said


def main() -> None:
    """Trains for so many minutes, from the checkpoint if there is one, and writes the directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/demo"))
    parser.add_argument("--offline", type=Path, default=Path("models/demo/paraformer"))
    parser.add_argument("--out", type=Path, default=Path("models/demo/paraformer_streaming"))
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--peak-rate", type=float, default=1.2e-3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)

    out: Path = arguments.out
    tokens = ["<blank>", "<s>", "</s>", *characters(), "<unk>"]
    files = {"tokenizer_conf": {"token_list": "tokens.json"}, "frontend_conf": {"cmvn_file": "am.mvn"}}
    config = configuration()
    write_directory(out, config, "auto-speech-recognition", tokens, files)
    (out / "am.mvn").write_bytes((arguments.offline / "am.mvn").read_bytes())
    directory = ModelDirectory.read(out)
    losses_config = {**config["model_conf"], "ctc_weight": 0.05}
    model: Any = directory.build(MODULES, load_weights=False, model_conf=losses_config)
    shipped: Any = directory.build(MODULES, load_weights=False, model_conf=losses_config)
    checkpoint = arguments.data / "streaming.checkpoint"
    resumed = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else {}
    offline = resumed or torch.load(arguments.data / "paraformer.checkpoint", weights_only=True)
    model.load_state_dict(resumed["model"] if resumed else offline["average"])
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    average, step, elapsed_s = WeightAverage(model, 0.9995), 0, 0.0
    if resumed:
        optimizer.load_state_dict(resumed["optimizer"])
        average.state, step, elapsed_s = resumed["average"], resumed["step"], resumed["elapsed_s"]

    encode = model.encode
    model.encoder.embed = ZeroFramesFirst(model.encoder.embed)
    model.encode = lambda speech, lengths, **k: encode(
        torch.nn.functional.pad(speech, (0, 0, LOOK_AHEAD, 0)), lengths + LOOK_AHEAD, **k
    )
    examples = [e for path in sorted(arguments.data.glob("train-*.pt")) for e in torch.load(path)]
    evaluation = {p.stem: torch.load(p) for p in sorted(arguments.data.glob("eval-*.pt"))}
    batches = StreamBatches(directory, seed=step)
    schedule = Schedule(arguments.peak_rate, 300, arguments.minutes * 60, elapsed_s)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {len(examples)} examples", flush=True)

    def report(losses: list[list[float]], sets: list[str], most: int) -> None:
        shipped.load_state_dict(average.state)
        rates = {k: f"{error_rate(shipped, batches, evaluation[k][:most], tokens):.2f}" for k in sets}
        save_weights(out / "model.pt", average.state, without="ctc.")
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average.state}
        torch.save({**state, "step": step, "elapsed_s": schedule.elapsed_s}, checkpoint)
        mean = np.mean(losses[-300:], axis=0).round(3) if losses else "-"
        print(f"{schedule.elapsed_s / 60:.1f} min, step {step}, loss {mean}, online CER % {rates}", flush=True)

    losses: list[list[float]] = []
    last_report = time.monotonic()
    model.train()
    while not schedule.finished:
        for speech, lengths, targets, counts in batches.over(examples, augmented=True):
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
            if time.monotonic() - last_report > REPORT_S:
                report(losses, ["eval-train-clean", "eval-held-clean"], 100)
                last_report = time.monotonic()
            if schedule.finished:
                break
    report(losses, sorted(evaluation), 300)


if __name__ == "__main__":
    main()
