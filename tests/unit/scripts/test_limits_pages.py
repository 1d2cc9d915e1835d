"""The pages about limits name settings that exist, and say the same in both languages."""

from __future__ import annotations

import re

import pytest

from runners.catalog import PROJECT_ROOT
from service.settings import Settings

PAGES = {language: PROJECT_ROOT / "docs" / language / "limits.md" for language in ("", "zh")}


def settings_named(page: str) -> list[str]:
    return re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", page)


@pytest.mark.parametrize("language", PAGES)
def test_every_setting_that_is_named_exists(language: str) -> None:
    named = settings_named(PAGES[language].read_text(encoding="utf-8"))
    assert len(named) > 5
    assert set(named) <= {name.upper() for name in Settings.model_fields}


def test_both_languages_have_the_same_limits() -> None:
    rows = [
        [line.count("|") for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
        for page in PAGES.values()
    ]
    assert rows[0] == rows[1]
    english, chinese = (settings_named(page.read_text(encoding="utf-8")) for page in PAGES.values())
    assert english == chinese
