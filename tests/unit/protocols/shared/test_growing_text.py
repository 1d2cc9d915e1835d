"""Deltas of a text that may still change."""

from hypothesis import given
from hypothesis import strategies as st

from service.protocols.shared.growing_text import GrowingText


def deltas(*texts: str) -> list[str]:
    growing = GrowingText()
    return [growing.grow(text) for text in texts]


def test_a_growing_text_comes_in_pieces() -> None:
    assert deltas("今天", "今天天气", "今天天气怎么样") == ["今天", "天气", "怎么样"]


def test_nothing_comes_while_what_was_sent_does_not_hold() -> None:
    assert deltas("今天", "金天天", "今天天气") == ["今天", "", "天气"]


def test_latin_words_keep_their_spaces() -> None:
    assert deltas("good", "good morning") == ["good", " morning"]


def test_a_space_parts_a_latin_sentence_from_the_one_before() -> None:
    assert GrowingText(after="good morning").grow("how are") == " how are"
    assert GrowingText(after="早上好").grow("how are") == "how are"


def test_an_end_that_differs_still_brings_what_is_longer() -> None:
    growing = GrowingText()
    growing.grow("金天")
    assert growing.end("今天天气") == "天气"


@given(st.lists(st.text("天气a b"), max_size=8))
def test_the_pieces_joined_are_the_last_text_that_held(texts: list[str]) -> None:
    growing = GrowingText()
    shown = "".join(growing.grow(text) for text in texts)
    assert shown == growing.sent
    assert shown == "" or shown in texts
