"""Languages as clients write them."""

import pytest

from runners.languages import language_code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("zh", "zh"), ("zh-CN", "zh"), ("zh_TW", "zh"), ("cmn-Hans-CN", "zh"), ("Chinese", "zh"), (" chinese ", "zh"),
        ("中文", "zh"), ("en", "en"), ("en-US", "en"), ("ENGLISH", "en"), ("yue", "yue"), ("Cantonese", "yue"),
        ("ja", "ja"), ("Filipino", "fil"), ("pt-BR", "pt"),
    ],
)  # fmt: skip
def test_a_language_has_many_names(name: str, code: str) -> None:
    assert language_code(name) == code


@pytest.mark.parametrize("name", ["", "xx", "Klingon", "-", "z h"])
def test_what_is_no_language_has_no_code(name: str) -> None:
    assert language_code(name) is None
