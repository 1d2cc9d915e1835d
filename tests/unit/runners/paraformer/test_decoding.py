"""The search over Paraformer's posteriors: hotwords and a language model change what they should, and no more."""

from __future__ import annotations

import random

import kaldifst
import pytest
import torch

from runners.paraformer.decoding import best_tokens
from runners.paraformer.hotwords import Hotwords, Spelling
from runners.paraformer.language_model import LanguageModel

TOKENS = ["<blank>", "<s>", "</s>", *"甲乙丙丁戊己", "<unk>"]
SPECIAL = {0, 1, 2}
SPELLING = Spelling(TOKENS, SPECIAL)


def posteriors(seed: int, positions: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(positions, len(TOKENS), generator=generator)).log_softmax(-1)


def decoded(scores: torch.Tensor, hotwords: dict[str, int], model: LanguageModel | None = None) -> str:
    ids = best_tokens(scores, SPECIAL, Hotwords.of(hotwords, SPELLING), model)
    return "".join(TOKENS[i] for i in ids)


def likely(text: str, **others: float) -> torch.Tensor:
    """Posteriors of ``text``; ``甲2=0.4`` makes 甲 that likely at position 2, and what was there less."""
    scores = torch.full((len(text), len(TOKENS)), 1e-6)
    for position, char in enumerate(text):
        scores[position, TOKENS.index(char)] = 1.0
    for where, probability in others.items():
        row = scores[int(where[1:])]
        row *= 1 - probability
        row[TOKENS.index(where[0])] = probability
    return scores.log()


def bigrams(*pairs: str) -> LanguageModel:
    """Prefers ``pairs``; everything else costs 6 a token, at a scale of 0.3."""
    lines = [f"0 {1 + i} {TOKENS.index(c) + 1} 1 6" for i, c in enumerate("甲乙丙丁")]
    lines += [f"{1 + i} 0 0 0 1" for i in range(4)]
    for first, second in pairs:
        source, target = (1 + "甲乙丙丁".index(c) for c in (first, second))
        lines.append(f"{source} {target} {TOKENS.index(second) + 1} 1 0.1")
    lines += ["0 0", *(f"{1 + i} 0" for i in range(4))]
    return LanguageModel(kaldifst.compile("\n".join(lines) + "\n"), scale=0.3)


@pytest.mark.parametrize("seed", range(20))
def test_without_hotwords_the_result_is_each_positions_best(seed: int) -> None:
    scores = posteriors(seed)
    assert best_tokens(scores, SPECIAL, None, None).tolist() == scores.argmax(-1).tolist()
    assert best_tokens(scores, SPECIAL, Hotwords.of({"辛": 100}, SPELLING), None).tolist() == scores.argmax(-1).tolist()


@pytest.mark.parametrize("seed", range(40))
def test_a_larger_weight_never_finds_a_word_less_often(seed: int) -> None:
    scores = posteriors(seed)
    word = "".join(random.Random(seed).choices("甲乙丙", k=2 + seed % 2))
    counts = [count(word, decoded(scores, {word: weight, "丁戊": 30})) for weight in (1, 2, 5, 10, 20, 40, 70, 100)]
    assert counts == sorted(counts)


def count(word: str, text: str) -> int:
    return sum(text.startswith(word, i) for i in range(len(text)))


def test_larger_weights_do_find_more() -> None:
    found = [sum(count("甲乙", decoded(posteriors(s), {"甲乙": w})) for s in range(40)) for w in (1, 10, 100)]
    assert found[0] < found[1] < found[2]


def test_a_word_that_sounds_alike_is_found() -> None:
    scores = likely("丙乙丁", 甲0=0.1)
    assert decoded(scores, {}) == "丙乙丁"
    assert decoded(scores, {"甲乙": 10}) == "甲乙丁"


def test_a_beginning_alone_changes_nothing() -> None:
    scores = likely("丙丁丁丁", 甲0=0.3)
    assert decoded(scores, {"甲乙丙": 10}) == "丙丁丁丁"


def test_overlapping_words_are_both_found() -> None:
    scores = likely("丁丁丁", 甲0=0.2, 乙1=0.2, 丙2=0.2)
    assert decoded(scores, {"甲乙": 10, "乙丙": 10}) == "甲乙丙"


def test_tokens_that_are_no_text_stay() -> None:
    scores = posteriors(1)
    scores[4] = -20.0
    scores[4, 2] = 0.0
    scores[9] = scores[4]
    ids = best_tokens(scores, SPECIAL, Hotwords.of({"甲乙丙": 100, "丁": 100}, SPELLING), bigrams("甲乙"))
    assert (ids[4], ids[9]) == (2, 2)


def test_a_language_model_chooses_among_what_is_likely() -> None:
    model = bigrams("甲乙")
    scores = likely("甲丙", 乙1=0.2)
    assert decoded(scores, {}) == "甲丙"
    assert decoded(scores, {}, model) == "甲乙"
    assert decoded(likely("甲丙"), {}, model) == "甲丙"


def test_hotwords_and_the_language_model_are_searched_together() -> None:
    model = bigrams("甲乙")
    scores = likely("甲丙", 乙1=0.2, 丁1=0.1)
    assert decoded(scores, {"丁": 1}, model) == "甲乙"
    assert decoded(scores, {"丁": 100}, model) == "甲丁"


def test_a_token_that_the_language_model_does_not_know_remains_possible() -> None:
    assert decoded(likely("甲戊乙", 丁1=0.01), {}, bigrams("甲乙", "甲丁")) == "甲戊乙"


def test_the_same_is_found_alone_and_after_other_texts() -> None:
    model = bigrams("甲乙", "丙丁")
    fresh = [decoded(posteriors(s), {"乙丙": 20}, bigrams("甲乙", "丙丁")) for s in range(10)]
    assert [decoded(posteriors(s), {"乙丙": 20}, model) for s in reversed(range(10))] == fresh[::-1]
