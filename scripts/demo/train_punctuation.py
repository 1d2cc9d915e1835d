"""Trains the demo CT-Transformer on paragraphs drawn afresh for every batch (resumable; one thread).

    nice python -m scripts.demo.train_punctuation [--realtime]

A paragraph has one to twelve sentences, as the service punctuates whole segments. Some begin or end
in the middle of a sentence, and some have wrong characters, as recognised speech does. The realtime
model, which marks a sentence while it is spoken, mostly sees texts that stop anywhere.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from runners.kit.funasr_models import ModelDirectory
from runners.paraformer.punctuation import MODULES
from scripts.demo.sentences import PUNCTUATION, SHORT_ANSWERS, characters, draw_sentence, is_held_out
from scripts.demo.training import WeightAverage, save_weights, write_directory

UNKNOWN = "<unk>"
MARKS = ["<unk>", "_", *PUNCTUATION]  # the first pads, the second stands for: no mark
MOST_SENTENCES = 12
TOKENS_PER_BATCH = 2000
PEAK_RATE = 2e-3
WARMUP_STEPS = 60
STEPS_PER_REPORT = 200


def configuration(realtime: bool, width: int = 128) -> dict[str, Any]:
    """Returns two small layers of ``iic/punc_ct-transformer_zh-cn-common-vocab272727-pytorch``.

    For live text they are of ``iic/punc_ct-transformer_zh-cn-common-vad_realtime-vocab272727``, whose layers but the
    last see no future.
    """
    encoder: dict[str, Any] = {
        "input_size": width,
        "output_size": width,
        "attention_heads": 4,
        "linear_units": 288,
        "num_blocks": 2,
    }
    encoder |= {"dropout_rate": 0.1, "positional_dropout_rate": 0.1, "attention_dropout_rate": 0.0}
    encoder |= {"input_layer": "pe", "pos_enc_class": "SinusoidalPositionEncoder", "normalize_before": True}
    encoder |= {"kernel_size": 11, "sanm_shfit": 5 if realtime else 0, "padding_idx": 0}
    encoder |= {"selfattention_layer_type": "sanm"}
    model: dict[str, Any] = {
        "ignore_id": 0,
        "embed_unit": width,
        "att_unit": width,
        "dropout_rate": 0.1,
        "punc_list": MARKS,
    }
    return {
        "model": "CTTransformerStreaming" if realtime else "CTTransformer",
        "model_conf": {**model, "punc_weight": [1.0] * len(MARKS), "sentence_end_id": MARKS.index("。")},
        "encoder": "SANMVadEncoder" if realtime else "SANMEncoder",
        "encoder_conf": encoder,
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": UNKNOWN},
    }


def draw_paragraph(rng: random.Random, held_out: bool, sentences: int) -> str:
    """Draws that many sentences in a row, for training or kept out of it."""
    drawn: list[str] = []
    while len(drawn) < sentences:
        text = rng.choice(SHORT_ANSWERS) if rng.random() < 0.05 else draw_sentence(rng)
        if is_held_out(text) == held_out:
            drawn.append(text)
    return "".join(drawn)


def split_marks(text: str) -> tuple[list[str], list[str]]:
    """Returns the spoken characters, and the mark ("" for none) that follows each."""
    tokens: list[str] = []
    marks: list[str] = []
    for character in text:
        if character in PUNCTUATION:
            marks[-1] = character
        else:
            tokens.append(character)
            marks.append("")
    return tokens, marks


class Examples:
    """Makes token and mark ids of paragraphs; training ones are sometimes cut or have characters changed."""

    def __init__(self, tokens: list[str], cut_share: float) -> None:
        self._cut_share = cut_share
        self.ids = {token: i for i, token in enumerate(tokens)}

    def encode(self, text: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns a text's token ids and the mark id of each."""
        tokens, marks = split_marks(text)
        unknown = self.ids[UNKNOWN]
        mark_ids = [MARKS.index(mark or "_") for mark in marks]
        return torch.tensor([self.ids.get(t, unknown) for t in tokens]), torch.tensor(mark_ids)

    def training_example(self, rng: random.Random, sentences: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Draws a paragraph of so many sentences, cut or changed as recognised speech is."""
        ids, marks = self.encode(draw_paragraph(rng, False, sentences))
        if rng.random() < self._cut_share and len(ids) > 5:
            cut = len(ids) - rng.randint(1, min(10, len(ids) - 4))
            ids, marks = ids[:cut], marks[:cut]
        if rng.random() < 0.1 and len(ids) > 5:
            cut = rng.randint(1, min(10, len(ids) - 4))
            ids, marks = ids[cut:], marks[cut:]
        if rng.random() < 0.15:
            ids = torch.tensor([rng.randrange(len(self.ids)) if rng.random() < 0.04 else int(i) for i in ids])
        return ids, marks

    def batches(self, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yields (ids, mark ids, lengths) for ever; a batch's paragraphs have equally many sentences."""
        rng = random.Random(seed)
        while True:
            sentences = rng.choice((1, *range(1, MOST_SENTENCES + 1)))
            count = max(4, TOKENS_PER_BATCH // (sentences * 11))
            yield collate([self.training_example(rng, sentences) for _ in range(count)])


def collate(
    examples: list[tuple[torch.Tensor, torch.Tensor]],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pads examples to (ids, mark ids, lengths)."""
    ids, marks = [list(column) for column in zip(*examples, strict=True)]
    return pad_sequence(ids, batch_first=True), pad_sequence(marks, batch_first=True), torch.tensor([*map(len, ids)])


def mark_scores(model: Any, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Computes (texts, tokens, marks) scores; to the realtime model, nothing of a text is from before a pause."""
    before_pause = (torch.zeros_like(lengths),) if model.__class__.__name__ == "CTTransformerStreaming" else ()
    scores: torch.Tensor = model.punc_forward(ids, lengths, *before_pause)[0]
    return scores


@torch.no_grad()
def f1_score(model: Any, examples: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Returns F1 over all marks, in percent."""
    right = found = wanted = 0
    for ids, marks in examples:
        best = mark_scores(model, ids[None], torch.tensor([len(ids)]))[0].argmax(-1)
        right += int(((best == marks) & (marks > 1)).sum())
        found += int((best > 1).sum())
        wanted += int((marks > 1).sum())
    return 200 * right / max(1, found + wanted)


def main() -> None:
    """Trains for so many steps, from the checkpoint if there is one, and writes the directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("build/demo"))
    parser.add_argument("--realtime", action="store_true", help="train the model of live partial texts")
    parser.add_argument("--out", type=Path, help="default: models/demo/punctuation or …/realtime_punctuation")
    parser.add_argument("--steps", type=int, default=900)
    arguments = parser.parse_args()
    name = "realtime_punctuation" if arguments.realtime else "punctuation"
    torch.set_num_threads(1)
    torch.manual_seed(0)
    out: Path = arguments.out or Path("models/demo") / name
    tokens = [UNKNOWN, *characters()]
    files = {"tokenizer_conf": {"token_list": "tokens.json"}}
    write_directory(out, configuration(arguments.realtime), "punctuation", tokens, files)
    directory = ModelDirectory.read(out)
    model: Any = directory.build(MODULES, load_weights=False)
    shipped: Any = directory.build(MODULES, load_weights=False)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    average, step = WeightAverage(model, 0.995), 0
    arguments.data.mkdir(parents=True, exist_ok=True)
    checkpoint = arguments.data / f"{name}.checkpoint"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average.state, step = saved["average"], saved["step"]
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)

    examples, rng = Examples(tokens, cut_share=0.7 if arguments.realtime else 0.2), random.Random("evaluation")
    sentences = [examples.encode(draw_paragraph(rng, True, 1)) for _ in range(200)]
    paragraphs = [examples.encode(draw_paragraph(rng, True, rng.randint(2, MOST_SENTENCES))) for _ in range(60)]
    batches, started, losses = examples.batches(step), time.monotonic(), []
    model.train()
    while step < arguments.steps:
        ids, marks, lengths = next(batches)
        for group in optimizer.param_groups:
            progress = 0.5 + 0.49 * math.cos(math.pi * step / arguments.steps)
            group["lr"] = PEAK_RATE * min(1, (step + 1) / WARMUP_STEPS) * progress
        scores = mark_scores(model, ids, lengths)
        loss = cross_entropy(scores.flatten(0, 1), marks.flatten(), ignore_index=0)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        average.update(model, step)
        losses.append(float(loss.detach()))
        step += 1
        if step % STEPS_PER_REPORT and step < arguments.steps:
            continue
        shipped.load_state_dict(average.state)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average.state}
        torch.save({**state, "step": step}, checkpoint)
        print(
            f"step {step}/{arguments.steps}, {time.monotonic() - started:.0f} s, "
            f"loss {sum(losses[-STEPS_PER_REPORT:]) / len(losses[-STEPS_PER_REPORT:]):.4f}, held-out F1 %: "
            f"sentences {f1_score(shipped, sentences):.1f}, paragraphs {f1_score(shipped, paragraphs):.1f}",
            flush=True,
        )
    save_weights(out / "model.pt", average.state)


if __name__ == "__main__":
    main()
