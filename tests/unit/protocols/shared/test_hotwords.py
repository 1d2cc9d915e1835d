"""Hotwords with their weights, as `vocabulary_id` brings them."""

import pytest

from runners import catalog
from service.domain import Hotword
from service.errors import InvalidRequest
from service.protocols.shared.hotwords import MOST_HOTWORDS, parse_vocabulary, prompt_hotwords

PARAFORMER = catalog.models()["paraformer-demo"]


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


def test_a_thousand_words_are_enough() -> None:
    words = [f"词{i} 10" for i in range(MOST_HOTWORDS + 1)]
    assert len(parse_vocabulary(" ".join(words[1:]))) == MOST_HOTWORDS
    with pytest.raises(InvalidRequest) as raised:
        parse_vocabulary(" ".join(words))
    assert raised.value.param == "vocabulary_id"


def test_a_prompts_words_become_hotwords() -> None:
    hotwords, unused = prompt_hotwords(
        "陈书文，王心音、BentoML GPT\n请注意：今天我们在公司里一起讨论这个问题。好", PARAFORMER
    )
    assert hotwords == tuple(Hotword(w, 10) for w in ("陈书文", "王心音", "BentoML", "GPT", "请注意"))
    assert unused == ("今天我们在公司里一起讨论这个问题", "好")


def test_a_prompt_of_too_many_words_is_refused() -> None:
    with pytest.raises(InvalidRequest) as raised:
        prompt_hotwords(" ".join(f"词{i}" for i in range(MOST_HOTWORDS + 1)), PARAFORMER)
    assert raised.value.param == "prompt"
