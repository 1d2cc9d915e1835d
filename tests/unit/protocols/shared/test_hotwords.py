"""Hotwords as clients of every protocol write them."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from runners import catalog
from service.domain import Hotword
from service.errors import InvalidRequest
from service.protocols.shared.hotwords import MOST_HOTWORDS, Hotwords, Keywords, prompt_hotwords, read_hotwords
from service.protocols.shared.values import ClientValues

PARAFORMER = catalog.models()["paraformer-demo"]


class Said(ClientValues):
    words: Hotwords = ()
    keywords: Keywords = Field(default=[])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (" 张三 20\t客厅　1 Qwen3 100 ", (Hotword("张三", 20), Hotword("客厅", 1), Hotword("Qwen3", 100))),
        ("张三", (Hotword("张三"),)),
        ("张三 20 李四", (Hotword("张三", 20), Hotword("李四"))),
        ("张三 李四", (Hotword("张三"), Hotword("李四"))),
        ("词:20", (Hotword("词", 20),)),
        ("词:20 句：30", (Hotword("词", 20), Hotword("句", 30))),
        ("word 20\n第二 30\n第三", (Hotword("word", 20), Hotword("第二", 30), Hotword("第三"))),
        ("hello world 20\n你好 30", (Hotword("hello world", 20), Hotword("你好", 30))),
        ("hello world, 你好，", (Hotword("hello world"), Hotword("你好"))),
        ("阿里巴巴,通义实验室", (Hotword("阿里巴巴"), Hotword("通义实验室"))),
        ('{"阿里巴巴":20,"通义实验室":"30"}', (Hotword("阿里巴巴", 20), Hotword("通义实验室", 30))),
        ({"词": 5}, (Hotword("词", 5),)),
        ({"词": ""}, (Hotword("词"),)),
        ({"词": None}, (Hotword("词"),)),
        (["词", "句 20"], (Hotword("词"), Hotword("句", 20))),
        (["hello world"], (Hotword("hello world"),)),
        ('["词", "句"]', (Hotword("词"), Hotword("句"))),
        ("[词, 句]", (Hotword("词"), Hotword("句"))),
        ([["词", 20], ["句", 30]], (Hotword("词", 20), Hotword("句", 30))),
        ([{"text": "词", "weight": 4, "lang": "zh"}, {"句": 5}], (Hotword("词", 4), Hotword("句", 5))),
        ("\u200b词\u200e 20\ufeff", (Hotword("词", 20),)),
        ("", ()), ("  ", ()), ("[]", ()), ("{}", ()), ([], ()), ({}, ()), ([None, ""], ()),
    ],
)  # fmt: skip
def test_hotwords_have_many_spellings(value: object, words: tuple[Hotword, ...]) -> None:
    read = read_hotwords(value)
    assert read.hotwords == words
    assert read.warnings == ()


@pytest.mark.parametrize(
    ("value", "weight"),
    [("词 0", 1), ("词 101", 100), ("词:-3", 1), ({"词": 500}, 100), ({"词": 1e300}, 100), ({"词": "heavy"}, 10)],
)
def test_a_weight_that_there_is_not_is_the_nearest_with_a_warning(value: object, weight: int) -> None:
    read = read_hotwords(value)
    assert read.hotwords == (Hotword("词", weight),)
    assert len(read.warnings) == 1


def test_weights_between_whole_numbers_are_rounded() -> None:
    assert read_hotwords({"词": 19.6}).hotwords == (Hotword("词", 20),)
    assert read_hotwords("词 1.5 句 2.4").hotwords == (Hotword("词", 2), Hotword("句", 2))


@pytest.mark.parametrize(
    "id",
    [
        "a3f5c0e19b7d4e82a3f5c0e19b7d4e82",
        "vocab-testpfx-24ee19fa8cfb4d52902170a0",
        "01234567-89ab-cdef-0123-456789abcdef",
    ],
)
def test_the_id_of_a_vocabulary_elsewhere_is_a_warning_and_no_word(id: str) -> None:
    read = read_hotwords(id)
    assert read.hotwords == ()
    assert "no hotword list" in read.warnings[0]


@pytest.mark.parametrize(
    "value",
    [
        '{"词": ',
        5,
        True,
        [5],
        ["x" * 201],
        "x" * 201,
        "词 " * 1001,
        ["词"] * 1001,
        "x" * 1_200_000,
        [[[""] * 1000] * 1000] * 1000,
        json.loads("[" * 900 + "]" * 900),
    ],
)
def test_what_is_no_hotwords_or_too_much_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"must|has"):
        read_hotwords(value)


def test_a_megabyte_of_words_is_refused_by_its_length() -> None:
    words = {f"词{i}": 1000 for i in range(100_000)}
    for value in (words, json.dumps(words)):
        with pytest.raises(ValueError, match="at most"):
            read_hotwords(value)


def test_many_weights_out_of_bounds_are_one_line_of_the_log_without_the_words(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        said = Said.read({"words": {f"秘密{i}": 1000 for i in range(500)}})
    assert len(said.words) == 500
    assert len(said.warnings) == 1
    (record,) = [r for r in caplog.records if "weights" in r.getMessage()]
    assert record.levelno < logging.WARNING
    assert "秘密" not in caplog.text + said.warnings[0]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(st.recursive(SCALARS, lambda values: st.lists(values) | st.dictionaries(st.text(), values)))
def test_whatever_comes_is_read_or_refused(value: Any) -> None:
    try:
        read = read_hotwords(value)
    except ValueError:
        return
    assert all(word.text and 1 <= word.weight <= 100 for word in read.hotwords)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["甲", "乙"], ["甲", "乙"]),
        (["甲,乙，丙"], ["甲", "乙", "丙"]),
        (["甲 乙"], ["甲", "乙"]),
        (["hello world, 甲"], ["hello world", "甲"]),
        ('["甲", "乙"]', ["甲", "乙"]),
        (["iPhone 15"], ["iPhone", "15"]),
        (["\u200b甲\u202e"], ["甲"]),
        ("", []),
    ],
)
def test_keywords_are_words_between_commas_or_else_blanks(value: object, words: list[str]) -> None:
    assert Said.read({"keywords": value}).keywords == words


@pytest.mark.parametrize("value", [["x" * 201], [str(i) for i in range(1001)], ",".join(map(str, range(1001)))])
def test_keywords_are_bounded(value: object) -> None:
    with pytest.raises(InvalidRequest) as raised:
        Said.read({"keywords": value})
    assert raised.value.param == "keywords"


def test_a_thousand_words_are_enough() -> None:
    words = [f"词{i} 10" for i in range(MOST_HOTWORDS + 1)]
    assert len(read_hotwords(" ".join(words[1:])).hotwords) == MOST_HOTWORDS
    with pytest.raises(InvalidRequest) as raised:
        Said.read({"words": " ".join(words)})
    assert raised.value.param == "words"


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
