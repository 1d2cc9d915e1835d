"""Links between the project's pages lead to files and headings that exist."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

from runners.catalog import PROJECT_ROOT

PAGES = [*sorted(PROJECT_ROOT.glob("*.md")), *sorted((PROJECT_ROOT / "docs").rglob("*.md"))]
_FENCED = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_ELSEWHERE = re.compile(r"[a-z]+:")


def prose(page: Path) -> str:
    """A page without its blocks of code, which have neither links nor headings."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives a page's headings."""
    found: set[str] = set()
    seen: Counter[str] = Counter()
    for heading in re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE):
        text = _LINK.sub("]", heading).lower()
        name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def broken(page: Path) -> list[str]:
    """The targets of a page's links that are not there."""
    targets = [target for target in _LINK.findall(prose(page)) if not _ELSEWHERE.match(target)]
    return [target for target in targets if not _is_there(page, unquote(target))]


def _is_there(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = page.parent / path if path else page
    return file.exists() and (not anchor or anchor in anchors(file))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT_ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_link_to_a_missing_file_or_heading_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# 部署 `make`, twice\n\n## Twice\n\n## Twice\n\n```\n# no heading\n[no link](nowhere)\n```\n\n"
        "[a](#部署-make-twice) [b](#twice-1) [c](page.md#twice) ![d](https://example.com/x) [e](.)\n"
        "[f](missing.md) [g](#no-heading) [h](page.md#twice-2)\n",
        encoding="utf-8",
    )
    assert broken(page) == ["missing.md", "#no-heading", "page.md#twice-2"]
