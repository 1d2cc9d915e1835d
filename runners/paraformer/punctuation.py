"""Punctuates tokens, a mark after each, with CT-Transformer (Chen et al. 2020, arXiv:2003.01309)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from runners.kit.batching import length_buckets
from runners.kit.funasr_models import ModelDirectory, Modules

MODULES: Modules = {"CTTransformer": ("ct_transformer.model", "sanm.encoder")}
_WINDOW_TOKENS = 256
_SENTENCE_ENDS = "。？！?!."
_PAUSES = "，、,"
_HALF_WIDTH = {"，": ",", "。": ".", "？": "?", "、": ",", "！": "!"}


class PunctuationEngine:
    """Marks batches of token sequences; it is not thread-safe."""

    def __init__(self, directory: ModelDirectory, *, batch_size: int, device: str = "cpu") -> None:
        self._model: Any = directory.build(MODULES).to(device)
        self.batch_size = batch_size
        self.device = device
        self._ids = {token: i for i, token in enumerate(directory.tokens)}
        self._unknown = self._ids.get("<unk>", 0)
        # "<unk>" and "_" stand for: no mark
        self._marks = ["" if m in ("<unk>", "_") else m for m in directory.config["model_conf"]["punc_list"]]

    def punctuate(self, texts: Sequence[Sequence[str]]) -> list[list[str]]:
        """Returns the mark ("" for none) that follows each token; a non-empty text ends with a sentence mark.

        Texts longer than 256 tokens are marked window by window, each beginning at the last
        sentence end that the window before it found.
        """
        marks: list[list[str]] = [[] for _ in texts]
        pending = [i for i, text in enumerate(texts) if text]
        while pending:
            windows = [texts[i][len(marks[i]) : len(marks[i]) + _WINDOW_TOKENS] for i in pending]
            found: list[list[str]] = [[] for _ in pending]
            for group in length_buckets([len(w) for w in windows], self.batch_size):
                for position, result in zip(group, self._batch([windows[g] for g in group]), strict=True):
                    found[position] = result
            for i, window_marks in zip(pending, found, strict=True):
                if len(marks[i]) + len(window_marks) < len(texts[i]):
                    ends = [k for k, mark in enumerate(window_marks) if mark and mark in _SENTENCE_ENDS]
                    window_marks = window_marks[: ends[-1] + 1] if ends else window_marks
                marks[i] += window_marks
            pending = [i for i in pending if len(marks[i]) < len(texts[i])]
        return [self._finish(text, text_marks) for text, text_marks in zip(texts, marks, strict=True)]

    @torch.inference_mode()
    def _batch(self, texts: list[Sequence[str]]) -> list[list[str]]:
        ids = [torch.tensor([self._ids.get(t, self._unknown) for t in text], device=self.device) for text in texts]
        lengths = torch.tensor([len(i) for i in ids], device=self.device)
        scores, _ = self._model.punc_forward(pad_sequence(ids, batch_first=True), lengths)
        best = scores.argmax(-1).tolist()
        return [[self._marks[k] for k in row[: len(text)]] for row, text in zip(best, texts, strict=True)]

    @staticmethod
    def _finish(tokens: Sequence[str], marks: list[str]) -> list[str]:
        if marks and (not marks[-1] or marks[-1] in _PAUSES):
            marks[-1] = "。"
        return [_HALF_WIDTH.get(m, m) if t.isascii() else m for t, m in zip(tokens, marks, strict=True)]
