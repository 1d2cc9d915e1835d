"""The examples of docs/protocols.md do what the page says, and both languages have the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from runners.catalog import PROJECT_ROOT
from tests.e2e.conftest import KEY
from tests.e2e.server import Served

PAGE = (PROJECT_ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
_EXAMPLE = re.compile(r"^```(bash|python|js)\n(.*?)^```\n\n```\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [(language, code, output) for language, code, output in _EXAMPLE.findall(PAGE)]
_NODE_MODULES = Path(__file__).parent / "clients" / "node_modules"


def test_both_languages_show_the_same_examples() -> None:
    chinese = (PROJECT_ROOT / "docs" / "zh" / "protocols.md").read_text(encoding="utf-8")
    assert len(EXAMPLES) == 8
    assert _EXAMPLE.findall(chinese) == _EXAMPLE.findall(PAGE)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_prints_what_the_page_shows(number: int, server: Served) -> None:
    language, code, output = EXAMPLES[number]
    if language == "js" and (shutil.which("node") is None or not _NODE_MODULES.is_dir()):
        pytest.skip("needs node, and: npm install --no-package-lock --prefix tests/e2e/clients")
    code = code.replace("localhost:8000", urlsplit(server.url).netloc).replace("unused", KEY)
    command = {"bash": ["bash", "-c"], "python": [sys.executable, "-c"], "js": ["node", "-e"]}[language]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    result = subprocess.run(
        [*command, code],
        cwd=PROJECT_ROOT,
        env={**os.environ, "PATH": path, "NODE_PATH": str(_NODE_MODULES)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stdout.strip()) == (0, output.strip()), result.stderr
