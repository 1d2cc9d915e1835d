"""Hotwords with their weights, as `vocabulary_id` brings them."""

import pytest

from service.domain import Hotword
from service.errors import InvalidRequest
from service.protocols.vocabulary import parse_vocabulary


def test_words_come_with_their_weights_in_their_order() -> None:
    assert parse_vocabulary(" 张三 20\t客厅　1 Qwen3 100 ") == (
        Hotword("张三", 20),
        Hotword("客厅", 1),
        Hotword("Qwen3", 100),
    )


def test_an_empty_vocabulary_has_no_words() -> None:
    assert parse_vocabulary(" ") == ()


@pytest.mark.parametrize(
    "text",
    [
        "张三",
        "张三 20 李四",
        "张三 0",
        "张三 101",
        "张三 -1",
        "张三 1.5",
        "张三 李四",
        "张三 二十",
        "张三 ２０",
        "a 020",
    ],
)
def test_what_is_no_word_with_a_weight_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_vocabulary(text)
    assert raised.value.param == "vocabulary_id"
