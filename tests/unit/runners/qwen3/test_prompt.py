"""What Qwen3-ASR is asked, and how its answers are read."""

import pytest

from runners.qwen3.prompt import (
    LONGEST_CONTEXT,
    Answer,
    alignment_prompt,
    context_of,
    parse_answer,
    recognition_prompt,
)


def test_the_prompt_is_the_checkpoints_chat_template() -> None:
    assert recognition_prompt("张三", "Chinese") == (
        "<|im_start|>system\n张三<|im_end|>\n<|im_start|>user\n<|audio_start|><|audio_pad|><|audio_end|><|im_end|>\n"
        "<|im_start|>assistant\nlanguage Chinese<asr_text>"
    )
    assert recognition_prompt("", None).endswith("<|im_start|>assistant\n")


def test_the_aligner_is_asked_for_two_times_after_every_unit() -> None:
    assert alignment_prompt(["好", "hi"]) == (
        "<|audio_start|><|audio_pad|><|audio_end|>好<timestamp><timestamp>hi<timestamp><timestamp>"
    )


def test_the_context_is_the_prompt_verbatim_then_the_heaviest_hotwords() -> None:
    assert context_of("Names: Ann,\n Bob!", {"小": 1, "大": 90}) == "Names: Ann,\n Bob!\n大 小"
    assert context_of("", {"小": 1}) == "小"
    assert context_of("only this", {}) == "only this"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a<|im_end|>b", "ab"),
        ("a<asr_text>b<timestamp>", "ab"),
        ("<|im_<|im_end|>end|>x", "x"),
        ("<asr_<asr_text>text>x", "x"),
        ("2 < 3 | 4 > 1", "2 < 3 | 4 > 1"),
    ],
)
def test_no_control_token_is_left_of_a_context(text: str, left: str) -> None:
    assert context_of(text, {}) == left


def test_a_context_is_bounded() -> None:
    assert len(context_of("长" * 50_000, {"词": 5})) == LONGEST_CONTEXT


@pytest.mark.parametrize(
    ("raw", "language", "answer"),
    [
        ("language Chinese<asr_text>你好。", None, Answer("Chinese", "你好。")),
        ("language english<asr_text>Hi.", None, Answer("English", "Hi.")),
        ("language None<asr_text>", None, Answer("", "")),
        ("language Chi", None, Answer("", "")),
        ("", None, Answer("", "")),
        ("plain text", None, Answer("", "plain text")),
        ("你好。", "Chinese", Answer("Chinese", "你好。")),
        ("language Chinese<asr_text>你好。", "Chinese", Answer("Chinese", "你好。")),
        ("language Chinese<asr_text>你�", None, Answer("Chinese", "你")),
    ],
)
def test_answers_are_read(raw: str, language: str | None, answer: Answer) -> None:
    assert parse_answer(raw, language) == answer


def test_a_decoder_that_runs_in_circles_is_cut_short_but_people_may_repeat_themselves() -> None:
    assert parse_answer("是的" * 300, "Chinese").text == "是的"
    assert parse_answer("哈" * 15, "Chinese").text == "哈" * 15
