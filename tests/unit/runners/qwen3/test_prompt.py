"""What Qwen3-ASR is asked, and how its answers are read."""

import re

import pytest

from runners.qwen3.prompt import (
    Answer,
    alignment_prompt,
    context_of,
    parse_answer,
    recognition_prompt,
    without_circles,
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
    assert context_of("Names: Ann,\n Bob!", {"小": 1, "大": 90}, 2000) == "Names: Ann,\n Bob!\n大 小"
    assert context_of("", {"小": 1}, 2000) == "小"
    assert context_of("only this", {}, 2000) == "only this"


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
    assert context_of(text, {}, 2000) == left


def test_a_context_is_bounded() -> None:
    assert len(context_of("长" * 50_000, {"词": 5}, 2000)) == 2000


@pytest.mark.parametrize(
    ("prompt", "longest", "left"),
    [
        ("Anthropic, Kubernetes", 15, "Anthropic,"),
        ("Anthropic Kubernetes", 9, "Anthropic"),
        ("Anthropic Kubernetes", 10, "Anthropic"),
        ("语音识别、达摩院、大模型", 8, "语音识别、达摩院"),
        ("语音识别、达摩院、大模型", 7, "语音识别、"),
        ("会议：" + "一二三四五六七八九十" * 9, 50, ("会议：" + "一二三四五六七八九十" * 9)[:50]),
        ("Kubernetes", 5, "Kuber"),
        ("fits exactly", 12, "fits exactly"),
    ],
)
def test_a_context_is_cut_between_its_terms(prompt: str, longest: int, left: str) -> None:
    assert context_of(prompt, {}, longest) == left


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


SENTENCE = "今天下午三点我们在二号会议室讨论明年的预算和人员安排。"
REFRAIN = "我们亲爱的祖国，从今走向繁荣富强；歌唱我们亲爱的祖国，"


@pytest.mark.parametrize("length", [1, 2, 6, 7, 20, 21, 26, 60, 150])
def test_a_decoder_that_runs_in_circles_of_any_length_is_cut_short(length: int) -> None:
    unit = "".join(chr(ord("一") + 7 * i) for i in range(length))
    for before, after in (("", ""), ("前面的话，", "后面的话。"), ("前面的话，", unit[: length // 2])):
        left = before + unit + ("" if unit.startswith(after) else after)
        assert parse_answer(before + unit * 30 + after, "Chinese").text == left


def test_circles_are_found_one_after_another_and_one_within_another() -> None:
    assert parse_answer("是的" * 300 + SENTENCE * 30 + "哈" * 40, "Chinese").text == "是的" + SENTENCE + "哈"
    assert parse_answer((SENTENCE + "哈" * 40) * 30, "Chinese").text == SENTENCE + "哈"


@pytest.mark.parametrize(
    "said",
    [
        "对对对对",
        "哈" * 20,
        "电话是8888 8888 8888 8888。",
        "南无阿弥陀佛" * 20,
        "no, " * 20 + "no.",
        SENTENCE * 3,
        f"{REFRAIN * 3}{SENTENCE}{REFRAIN * 2}",
        "".join(f"第{n}项，通过。" for n in range(10, 99)),
    ],
)
def test_what_people_repeat_stays(said: str) -> None:
    assert parse_answer(said, "Chinese").text == said


def test_a_long_answer_without_circles_is_looked_at_in_few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = 0
    search = re.search

    def counted(pattern: str, text: str, flags: int = 0) -> re.Match[str] | None:
        nonlocal looked_at
        looked_at += len(text)
        return search(pattern, text, flags)

    monkeypatch.setattr(re, "search", counted)
    text = "".join(chr(ord("一") + i * i % 6007) for i in range(20_000))
    assert without_circles(text) == text
    assert looked_at < 20_000 * 15
