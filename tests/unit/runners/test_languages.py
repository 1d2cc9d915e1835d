"""Languages as clients write them."""

import importlib.metadata

import pytest

from runners.catalog import models
from runners.languages import DIALECTS, dialect_of, language_code, language_name


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("zh", "zh"), ("zh-CN", "zh"), ("zh_TW", "zh"), ("cmn-Hans-CN", "zh"), ("Chinese", "zh"), (" chinese ", "zh"),
        ("中文", "zh"), ("en", "en"), ("en-US", "en"), ("ENGLISH", "en"), ("yue", "yue"), ("Cantonese", "yue"),
        ("ja", "ja"), ("Filipino", "fil"), ("pt-BR", "pt"), ("cmn", "zh"), ("zh-HK", "yue"), ("tl", "fil"),
    ],
)  # fmt: skip
def test_a_language_has_many_names(name: str, code: str) -> None:
    assert language_code(name) == code


@pytest.mark.parametrize("name", ["", "xx", "Klingon", "-", "z h"])
def test_what_is_no_language_has_no_code(name: str) -> None:
    assert language_code(name) is None


def test_qwen3_asr_has_a_name_for_each_of_its_languages() -> None:
    model = models()["qwen3-asr-1.7b"]
    assert len(model.languages) == 30
    assert [language_code(language_name(code)) for code in model.languages] == list(model.languages)
    assert set(model.aligned_languages) == set("zh en yue fr de it ja ko pt ru es".split())


def test_qwen3_asrs_languages_and_dialects_are_fifty_two() -> None:
    model = models()["qwen3-asr-0.6b"]
    assert model.dialects == models()["qwen3-asr-1.7b"].dialects == DIALECTS
    assert len(model.languages) + len(model.dialects) == 52


def test_the_packages_own_words_name_the_same_dialects() -> None:
    described = importlib.metadata.metadata("qwen-asr").get_payload()  # type: ignore[attr-defined]
    (row,) = [line for line in described.splitlines() if line.startswith("| Qwen3-ASR-1.7B & Qwen3-ASR-0.6B |")]
    assert tuple(row.split("|")[3].strip(" .").split(", ")) == DIALECTS


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_is_the_language_that_the_model_has_a_name_for(dialect: str) -> None:
    assert dialect_of(dialect) == dialect_of(dialect.upper()) == dialect
    assert language_code(dialect) == ("yue" if "Cantonese" in dialect else "zh")


@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("四川话", "Sichuan"), ("四川方言", "Sichuan"), ("zh-sichuan", "Sichuan"), ("zh_CN_sichuan", "Sichuan"),
        ("Chinese (Sichuan)", "Sichuan"), ("Sichuan dialect", "Sichuan"), ("河南口音", "Henan"), ("天津腔", "Tianjin"),
        ("吴语", "Wu language"), ("wuu-CN", "Wu language"), ("上海话", "Wu language"), ("Wu", "Wu language"),
        ("闽南语", "Minnan language"), ("zh-min-nan", "Minnan language"), ("Hokkien", "Minnan language"),
        ("东北话", "Dongbei"), ("粤语（香港）", "Cantonese (Hong Kong accent)"),
    ],
)  # fmt: skip
def test_a_dialect_has_many_names(name: str, dialect: str) -> None:
    assert dialect_of(name) == dialect


@pytest.mark.parametrize("name", ["zh", "zh-CN", "yue", "Cantonese", "广东话", "English", "Klingon", "", "方言", "话"])
def test_what_is_no_dialect_is_none(name: str) -> None:
    assert dialect_of(name) is None
