"""Languages as clients write them."""

import pytest

from runners.catalog import models
from runners.languages import language_code, language_name


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
