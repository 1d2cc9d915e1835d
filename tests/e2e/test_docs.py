"""The examples of the README and of docs/protocols.md do what the page says, and both languages have the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from runners.catalog import PROJECT_ROOT
from tests.e2e.conftest import KEY
from tests.e2e.server import Served

_EXAMPLE = re.compile(r"^```(bash|python|js)\n(.*?)^```\n\n```\n(.*?)^```", re.MULTILINE | re.DOTALL)
_NODE_MODULES = Path(__file__).parent / "clients" / "node_modules"


class Example(NamedTuple):
    language: str
    code: str
    output: str


def examples_of(page: str) -> list[Example]:
    """The blocks of code that are followed by a block of what they print."""
    return [Example(*found) for found in _EXAMPLE.findall((PROJECT_ROOT / page).read_text(encoding="utf-8"))]


README = examples_of("README.md")
PROTOCOLS = examples_of("docs/protocols.md")


def test_both_languages_show_the_same_examples() -> None:
    assert (len(README), len(PROTOCOLS)) == (4, 17)
    assert examples_of("README_zh.md") == README
    assert examples_of("docs/zh/protocols.md") == PROTOCOLS


def test_the_page_shows_every_file_of_examples_as_it_is() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in (PROJECT_ROOT / "examples").glob("*.*")}
    assert len(files) == 15
    shown = {example.code for example in PROTOCOLS}
    assert [name for name, code in files.items() if code not in shown] == []


@pytest.mark.parametrize(
    "example",
    [
        *(pytest.param(example, id=f"README-{number}") for number, example in enumerate(README)),
        *(pytest.param(example, id=f"protocols-{number}") for number, example in enumerate(PROTOCOLS)),
    ],
)
def test_an_example_prints_what_the_page_shows(example: Example, server: Served, tmp_path: Path) -> None:
    if example.language == "js" and (shutil.which("node") is None or not _NODE_MODULES.is_dir()):
        pytest.skip("needs node, and: npm install --no-package-lock --prefix tests/e2e/clients")
    code = example.code.replace("localhost:8000", urlsplit(server.url).netloc)
    if "unused" in code:
        code = code.replace("unused", KEY)
    else:  # curl is shown without a key; this server asks for one
        (tmp_path / ".curlrc").write_text(f'header = "Authorization: Bearer {KEY}"\n')
    command = {"bash": ["bash", "-c"], "python": [sys.executable, "-c"], "js": ["node", "-e"]}[example.language]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    result = subprocess.run(
        [*command, code],
        cwd=PROJECT_ROOT,
        env={**os.environ, "PATH": path, "NODE_PATH": str(_NODE_MODULES), "CURL_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stdout.strip()) == (0, example.output.strip()), result.stderr
