"""Finds an utterance's tokens: a beam search over Paraformer's posteriors with hotwords and a language model.

Paraformer gives one distribution for each token, so every path has the same length. Without a language model
the search is exact: positions are independent but for the hotwords.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from runners.paraformer.hotwords import ContextGraph, Hotwords, Tokens
from runners.paraformer.language_model import LanguageModel

# A language model chooses among the tokens that the recogniser itself finds likely.
_CHOICES = 6
_MARGIN = 5.0  # in natural log, below the best
_BEAM = 6.0
_MOST_PATHS = 24


class _Path(NamedTuple):
    score: float
    step: tuple[_Path, int] | None  # the path before, and the token that it was continued with

    def read(self) -> list[int]:
        found, path = [], self
        while path.step is not None:
            path, token = path.step
            found.append(token)
        return found[::-1]


def best_tokens(
    scores: torch.Tensor, special: set[int], hotwords: Hotwords | None, model: LanguageModel | None
) -> NDArray[np.int64]:
    """Finds the tokens of an utterance whose log-probabilities are ``scores``, (positions, vocabulary).

    ``special`` tokens, which are no text, stay where the recogniser has them.
    """
    top, ids = (t.cpu().numpy() for t in scores.topk(_CHOICES if model else 1))
    result: NDArray[np.int64] = ids[:, 0].astype(np.int64)
    left_out = np.array(sorted(special))
    spoken = np.flatnonzero(~np.isin(result, left_out))
    top, ids = top[spoken], ids[spoken]
    likely = (top >= top[:, :1] - _MARGIN) & ~np.isin(ids, left_out)
    choices = [dict(zip(i[k].tolist(), t[k].tolist(), strict=True)) for i, t, k in zip(ids, top, likely, strict=True)]
    rewards: dict[Tokens, float] = {}
    if hotwords and hotwords.rewards:
        columns = torch.from_numpy(hotwords.columns).to(scores.device)
        logprobs = scores[:, columns].float().cpu().numpy()[spoken]
        rewards = _add_hotwords(choices, logprobs, top[:, :1], hotwords, _MARGIN if model else 0.0)
    if any(len(choice) > 1 for choice in choices):
        result[spoken] = _search(choices, ContextGraph(rewards), model)
    return result


def _add_hotwords(
    choices: list[dict[int, float]],
    logprobs: NDArray[np.float32],
    best: NDArray[np.float32],
    hotwords: Hotwords,
    slack: float,
) -> dict[Tokens, float]:
    """Adds the tokens of hotwords where they may have been said; returns the rewards of those hotwords."""
    rewards = {}
    for start, tokens in hotwords.plausible(best - logprobs, slack):
        rewards[tokens] = hotwords.rewards[tokens]
        columns = np.searchsorted(hotwords.columns, tokens)
        for position, (token, column) in enumerate(zip(tokens, columns, strict=True), start):
            choices[position][token] = float(logprobs[position, column])
    return rewards


def _search(choices: Sequence[dict[int, float]], graph: ContextGraph, model: LanguageModel | None) -> list[int]:
    paths = {(graph.ROOT, model.start if model else 0): _Path(0.0, None)}
    for choice in choices:
        continued: dict[tuple[int, int], _Path] = {}
        for (node, state), path in paths.items():
            for token, logprob in choice.items():
                reached, bonus = graph.step(node, token)
                score = path.score + logprob + bonus
                for target, cost in model.step(state, token) if model else ((0, 0.0),):
                    rival = continued.get((reached, target))
                    if rival is None or rival.score < score - cost:
                        continued[reached, target] = _Path(score - cost, (path, token))
        paths = _pruned(continued) if model else continued
    ends = ((p.score + graph.finish(n) - (model.end(s) if model else 0.0), p) for (n, s), p in paths.items())
    return max(ends, key=lambda end: end[0])[1].read()


def _pruned(paths: dict[tuple[int, int], _Path]) -> dict[tuple[int, int], _Path]:
    if len(paths) == 1:
        return paths
    best = max(path.score for path in paths.values())
    kept = [(key, path) for key, path in paths.items() if path.score > best - _BEAM]
    if len(kept) > _MOST_PATHS:
        kept = sorted(kept, key=lambda item: -item[1].score)[:_MOST_PATHS]
    return dict(kept)
