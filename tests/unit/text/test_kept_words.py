"""The list of words that keep their numerals in characters: its file, and where a listed word counts."""

from __future__ import annotations

import itertools

import pytest

from service.text import kept_words
from service.text.itn import normalise_text
from service.text.kept_words import NUMERALS, kept

LINES = [
    line for line in kept_words._LIST.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")
]


def test_each_line_is_there_once_and_holds_a_numeral() -> None:
    assert [line for line, again in itertools.pairwise(sorted(LINES)) if line == again] == []
    assert [line for line in LINES if not set(line) & set(NUMERALS + "负*")] == []
    assert [line for line in LINES if line != line.strip() or len(line) < 2] == []


def test_every_listed_word_stays() -> None:
    words = [line.replace("*", "十二") for line in LINES if line[0] != "-"]
    assert [(word, written) for word in words if (written := normalise_text(word)) != word] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("说的是二十大", ["二十大"]),
        ("一百二十大卡", []),  # part of a longer number
        ("二十大三十人", ["二十大"]),
        ("过了年三十", ["年三十"]),
        ("今年三十岁", []),  # a phrase in which it is not meant
        ("神舟二十三号", ["神舟二十三号"]),
        ("第十四届全国人大", ["十四届全国人大"]),
        ("统一一下", ["统一", "一下"]),
    ],
)
def test_a_word_counts_where_it_is_meant(text: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in kept(text)] == found
