"""Words of Qwen3-ASR's texts, and where its aligner's times go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.qwen3.words import alignment_units, character_times, repaired, split_words, true_times
from service.domain import Word, join_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("你好，世界。", [("你", ""), ("好", "，"), ("世", ""), ("界", "。")]),
        ("Don't stop!", [("Don't", ""), ("stop", "!")]),
        ("用 vLLM 吧", [("用", ""), ("vLLM", ""), ("吧", "")]),
        ("。。。", []),
        ("", []),
    ],
)
def test_text_is_split_into_characters_and_words(text: str, words: list[tuple[str, str]]) -> None:
    assert [(w.text, w.mark) for w in split_words(text)] == words


@pytest.mark.parametrize(
    "text", ["你好，世界。", "Hello, world! It's 5 p.m.", "他说：“好。”然后走了。", "用vLLM 0.33吧？"]
)
def test_words_joined_again_are_the_text(text: str) -> None:
    words = [Word(w.text, 0.0, 0.0, w.mark) for w in split_words(text)]
    assert join_words(words).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "language", "units"),
    [
        ("你好，world 3.5！", "Chinese", ["你", "好", "world", "35"]),
        ("Don't stop.", "English", ["Don't", "stop"]),
        ("？！", "Chinese", []),
        ("今日は晴れです。", "Japanese", ["今日", "は", "晴れ", "です"]),
    ],
)
def test_the_aligner_is_given_letters_only(text: str, language: str, units: list[str]) -> None:
    assert alignment_units(text, language) == units


def test_korean_is_split_at_its_particles() -> None:
    assert "".join(alignment_units("나는 학교에 간다.", "Korean")) == "나는학교에간다"


def test_letters_of_a_unit_share_its_time_and_marks_have_none() -> None:
    found = character_times("好，ab", ["好", "ab"], [(0, 80), (160, 320)])
    assert found == {0: (0, 80), 2: (160, 240), 3: (240, 320)}


def test_a_time_that_jumps_back_is_put_between_its_neighbours() -> None:
    assert repaired([0, 2, 90, 4, 6]) == [0, 2, 3, 4, 6]
    assert repaired([]) == []


@given(st.lists(st.integers(0, 5000), max_size=60))
def test_repaired_times_never_go_back(times: list[int]) -> None:
    found = repaired(times)
    assert len(found) == len(times)
    assert found == sorted(found)
    if times == sorted(times):
        assert found == times


def rising(units: int) -> list[int]:
    return [step for unit in range(units) for step in (3 * unit, 3 * unit + 2)]


def test_times_that_rise_are_true_also_where_a_few_had_to_be_repaired() -> None:
    assert true_times(rising(40)) == rising(40)
    assert true_times([*rising(10), 0, 0, *rising(30)[22:]]) == repaired([*rising(10), 0, 0, *rising(30)[22:]])
    assert true_times([5, 5]) == [5, 5]
    assert true_times([]) == []


def test_a_few_short_words_may_begin_and_end_in_one_step() -> None:
    assert true_times([*rising(10), *[40] * 8, *[step + 60 for step in rising(10)]]) is not None


@pytest.mark.parametrize(
    "times",
    [
        [0] * 60,
        [7] * 4,
        rising(20)[::-1],
        [*rising(10), *[40] * 40, *[step + 60 for step in rising(10)]],
        [*rising(3), *[99] * 30],
        [90, 3, 80, 2, 70, 1, 60, 9, 50, 8, 40, 7],
    ],
)
def test_times_in_a_crowd_or_going_back_cannot_be_true(times: list[int]) -> None:
    assert true_times(times) is None
