"""How hotwords are spelled, and what the context graph pays for them."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.paraformer.hotwords import ContextGraph, Hotwords, Spelling, Tokens, reward_per_token

TOKENS = ["<blank>", "<s>", "</s>", "京", "北", "大", "学", "hel@@", "lo", "h@@", "e@@", "hi", "<unk>"]
SPELLING = Spelling(TOKENS, {0, 1, 2})


def total(graph: ContextGraph, tokens: Tokens) -> float:
    node, score = graph.ROOT, 0.0
    for token in tokens:
        node, bonus = graph.step(node, token)
        score += bonus
    return score + graph.finish(node)


def occurrences(rewards: dict[Tokens, float], text: Tokens) -> float:
    """Every reward once for each place where its word ends, however words overlap."""
    return sum(
        reward
        for word, reward in rewards.items()
        for start in range(len(text))
        if text[start : start + len(word)] == word
    )


@pytest.mark.parametrize(
    ("word", "tokens"),
    [("北京", (4, 3)), ("HELLO", (7, 8)), ("Hi", (11,)), ("北京 hello大学", (4, 3, 7, 8, 5, 6)), ("ｈｉ", (11,))],
)
def test_words_are_spelled_in_the_vocabularys_pieces(word: str, tokens: Tokens) -> None:
    assert SPELLING.tokens(word) == tokens


@pytest.mark.parametrize("word", ["上海", "北上", "help", "3", "unk", "<unk>", "", " ", "北-京"])
def test_what_the_vocabulary_cannot_write_has_no_tokens(word: str) -> None:
    assert SPELLING.tokens(word) is None


@pytest.mark.parametrize("letters", [31, 200, 10_000])
def test_a_word_that_can_not_be_spelled_is_given_up_at_once(letters: int) -> None:
    pieces = ["a@@", "aa@@", "aaa@@", "aaaa@@", "b"]
    assert Spelling(pieces, ()).tokens("a" * (letters - 1) + "c") is None


def test_a_long_word_is_spelled_as_far_as_anybody_says_one() -> None:
    assert Spelling(["a@@", "a"], ()).tokens("a" * 200) == (0,) * 199 + (1,)


@given(word=st.text("ab", min_size=1, max_size=12), pieces=st.sets(st.text("ab", min_size=1, max_size=4), max_size=8))
def test_the_pieces_are_the_longest_from_the_left_that_can_be_finished(word: str, pieces: set[str]) -> None:
    whole = sorted(pieces)[::2]
    tokens = [*whole, *(piece + "@@" for piece in sorted(pieces))]

    def spelled(rest: str) -> tuple[int, ...] | None:
        if rest in whole:
            return (tokens.index(rest),)
        for end in range(len(rest) - 1, 0, -1):
            if rest[:end] in pieces and (after := spelled(rest[end:])) is not None:
                return (tokens.index(rest[:end] + "@@"), *after)
        return None

    assert Spelling(tokens, ()).tokens(word) == spelled(word)


def test_the_models_own_pieces_come_first(tmp_path: Path) -> None:
    (tmp_path / "seg_dict").write_text("hello h@@ e@@ lo\n北京 北 京\n", encoding="utf-8")
    assert Spelling(TOKENS, {0, 1, 2}, tmp_path).tokens("hello") == (9, 10, 8)


def test_a_larger_weight_is_worth_more() -> None:
    rewards = [reward_per_token(weight) for weight in range(1, 101)]
    assert all(a < b for a, b in itertools.pairwise(rewards))
    assert rewards[9] == pytest.approx(2.5)


@pytest.mark.parametrize("seed", range(30))
def test_every_text_earns_the_words_in_it_and_nothing_else(seed: int) -> None:
    rng = random.Random(seed)
    rewards = {
        tuple(rng.choices(range(3), k=rng.randint(1, 4))): rng.choice([1.0, 2.0, 5.0]) for _ in range(rng.randint(1, 6))
    }
    graph = ContextGraph(rewards)
    for _ in range(50):
        text = tuple(rng.choices(range(4), k=rng.randint(0, 12)))
        assert total(graph, text) == pytest.approx(occurrences(rewards, text))


def test_a_beginning_is_credited_until_it_fails() -> None:
    graph = ContextGraph({(4, 3, 5): 9.0})
    node, first = graph.step(graph.ROOT, 4)
    node, second = graph.step(node, 3)
    node, failed = graph.step(node, 6)
    assert (first, second) == (3.0, 3.0)
    assert (node, failed) == (graph.ROOT, -6.0)


def test_words_are_found_where_their_reward_can_make_up_for_the_sound() -> None:
    hotwords = Hotwords.of({"北京": 10, "大": 10, "龙": 10}, SPELLING)
    assert hotwords.unknown == ("龙",)
    shortfall = np.full((4, 3), 9.0, np.float32)  # columns: 京 北 大
    shortfall[1, 1], shortfall[2, 0] = 1.0, 3.5
    shortfall[3, 2] = 2.6
    assert hotwords.plausible(shortfall, slack=0.0) == [(1, (4, 3))]
    assert hotwords.plausible(shortfall, slack=0.2) == [(3, (5,)), (1, (4, 3))]
