"""Tokens become words with times in the file."""

from runners import catalog
from runners.interface import Recognition
from service.domain import join_words
from service.text.words import with_marks, words_of

MODEL = catalog.models()["paraformer-demo"]


def recognition(*tokens: str) -> Recognition:
    count = len(tokens)
    return Recognition(
        tokens=list(tokens),
        ids=list(range(10, 10 + count)),
        starts_ms=[100 * i for i in range(count)],
        ends_ms=[100 * i + 100 for i in range(count)],
        logprobs=[-0.5] * count,
    )


def test_times_are_counted_from_the_start_of_the_file() -> None:
    first, second = words_of(recognition("你", "好"), MODEL, 5000, 6000)
    assert (first.start_s, first.end_s, second.start_s) == (5.0, 5.1, 5.1)


def test_subword_pieces_are_joined() -> None:
    (word, char) = words_of(recognition("hel@@", "lo", "好"), MODEL, 0, 1000)
    assert (word.text, word.start_s, word.end_s, word.logprob, word.token_ids) == ("hello", 0.0, 0.2, -1.0, (10, 11))
    assert char.text == "好"


def test_a_piece_without_its_continuation_is_kept() -> None:
    assert [w.text for w in words_of(recognition("好", "hel@@"), MODEL, 0, 1000)] == ["好", "hel"]


def test_special_tokens_are_no_words() -> None:
    assert [w.text for w in words_of(recognition("<s>", "好", "<unk>", "</s>"), MODEL, 0, 1000)] == ["好"]


def test_no_word_ends_after_its_utterance() -> None:
    assert words_of(recognition("你", "好"), MODEL, 0, 150)[-1].end_s == 0.15


def test_words_join_with_spaces_only_between_latin_words() -> None:
    words = with_marks(
        words_of(recognition("我", "用", "open", "source", "软", "件"), MODEL, 0, 1000), ["", "", "", "", "", "。"]
    )
    assert join_words(words) == "我用open source软件。"
