"""Sentences: where they end, and that pieces fit and lose nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import Segment, Transcript, Word, join_words
from service.protocols.shared.sentences import sentences_of


def transcript_of(*segments: list[Word]) -> Transcript:
    return Transcript(9, "zh", "m", tuple(Segment(i, 0, 9, "", tuple(words)) for i, words in enumerate(segments)))


def words(text: str) -> list[Word]:
    """A word a blank-separated part, its marks being what is not alphanumeric at its end."""
    parts = []
    for part in text.split():
        plain = part.rstrip("。！？，.!?…”’,")
        parts.append(Word(plain, 0, 1, part[len(plain) :]))
    return parts


def texts(transcript: Transcript, max_length: int | None = None) -> list[str]:
    return [join_words(sentence) for sentence in sentences_of(transcript, max_length)]


def test_a_sentence_ends_at_its_mark_also_behind_a_quotation_or_where_its_segment_does() -> None:
    said = transcript_of(words("你 好。 他 说 好！” 再 见"), words("Hello there. Bye"))
    assert texts(said) == ["你好。", "他说好！”", "再见", "Hello there.", "Bye"]


@pytest.mark.parametrize(
    ("text", "length", "pieces"),
    [
        ("一 二 三， 四 五 六 七。", 5, ["一二三，", "四五六七。"]),  # after a clause
        ("一 二 三 四 五 六 七。", 5, ["一二三四五", "六七。"]),  # after a word
        ("一 二 三。", 4, ["一二三。"]),
        ("international 一 二", 4, ["international", "一二"]),  # never within one
        ("一 二 三 international。 七", 4, ["一二三", "international。", "七"]),
    ],
)
def test_a_long_sentence_is_cut_where_it_hurts_least(text: str, length: int, pieces: list[str]) -> None:
    assert texts(transcript_of(words(text)), length) == pieces


@given(
    st.lists(st.tuples(st.sampled_from(["一", "hello", "305", "甲"]), st.sampled_from(["", "", "，", "。", "？”"]))),
    st.integers(4, 50),
)
def test_pieces_fit_and_say_everything_once(said: list[tuple[str, str]], length: int) -> None:
    every = [Word(text, i, i + 1, mark) for i, (text, mark) in enumerate(said)]
    pieces = list(sentences_of(transcript_of(every), length))
    assert [word for piece in pieces for word in piece] == every
    assert all(len(join_words(piece)) <= length or len(piece) == 1 for piece in pieces)
