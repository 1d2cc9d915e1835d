"""Punctuates sentences that are still being spoken: tokens so far in, the mark after each out.

CT-Transformer with controllable delay (Chen et al. 2020, arXiv:2003.01309): all layers but the last see
only the past, so marks set early change little as the sentence grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from runners.kit.funasr_models import ModelDirectory, Modules

MODULES: Modules = {"CTTransformerStreaming": ("ct_transformer_streaming.model", "ct_transformer_streaming.encoder")}
_CONTINUED = "@@"


class RealtimePunctuationEngine:
    """Marks batches of unfinished sentences; it is not thread-safe."""

    def __init__(self, directory: ModelDirectory, *, device: str = "cpu") -> None:
        self._model: Any = directory.build(MODULES).to(device)
        self.device = device
        self._ids = {token: i for i, token in enumerate(directory.tokens)}
        self._unknown = self._ids.get("<unk>", 0)
        # "<unk>" and "_" stand for: no mark
        self._marks = ["" if m in ("<unk>", "_") else m for m in directory.config["model_conf"]["punc_list"]]

    @torch.inference_mode()
    def mark(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """Returns the mark ("" for none) after each of a recogniser's tokens; pieces of a word have one between them.

        The last token's mark is a guess at what has not been said yet: for the caller to use or not.
        """
        units = [_units(tokens) for tokens in sentences]
        filled = [u for u in units if u]
        if not filled:
            return [[] for _ in sentences]
        ids = [torch.tensor([self._ids.get(text, self._unknown) for text, _ in u], device=self.device) for u in filled]
        lengths = torch.tensor([len(i) for i in ids], device=self.device)
        # index 0: nothing of the sentence lies before a pause that the rest must not be seen across
        scores, _ = self._model.punc_forward(pad_sequence(ids, batch_first=True), lengths, torch.zeros_like(lengths))
        rows = iter(scores.argmax(-1).tolist())
        results = []
        for tokens, sentence in zip(sentences, units, strict=True):
            marks = [""] * len(tokens)
            if sentence:
                for (_, last), best in zip(sentence, next(rows), strict=False):
                    marks[last] = self._marks[best]
            results.append(marks)
        return results


def _units(tokens: Sequence[str]) -> list[tuple[str, int]]:
    """Joins tokens to words and characters, each with the position of its last token."""
    units, text = [], ""
    for position, token in enumerate(tokens):
        text += token.removesuffix(_CONTINUED)
        if not token.endswith(_CONTINUED) or position == len(tokens) - 1:
            units.append((text, position))
            text = ""
    return units
