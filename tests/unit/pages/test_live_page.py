"""The live test page as it is served, and its modules by their own tests where Node is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.pages import docs as pages
from service.settings import Settings

LIVE = pages.WEB / "live"
SOURCES = sorted(path.relative_to(LIVE).as_posix() for path in LIVE.rglob("*") if path.suffix in (".js", ".css"))


def client(**settings: object) -> TestClient:
    app = FastAPI()
    app.state.serving = SimpleNamespace(settings=Settings.model_validate(settings))
    app.include_router(pages.router)
    app.mount("/static", pages.static_files)
    return TestClient(app)


def test_the_page_knows_the_near_field_threshold() -> None:
    page = client(asr_nearfield_rms_threshold=0.025).get("/ws/v1/asr/test").text
    assert '<body data-near-field-rms="0.025">' in page


def test_there_is_no_threshold_where_the_filter_is_off() -> None:
    page = client(asr_enable_nearfield_filter=False).get("/ws/v1/asr/test").text
    assert '<body data-near-field-rms="0">' in page


def test_scripts_and_styles_come_from_here_alone_and_none_is_inline() -> None:
    answer = client().get("/ws/v1/asr/test")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", answer.text)
    for source in ("index.html", *SOURCES):
        assert not re.findall(r"https?://(?!www\.w3\.org/)\w", (LIVE / source).read_text(encoding="utf-8")), source


def test_everything_that_the_page_refers_to_is_served() -> None:
    served = client()
    page = served.get("/ws/v1/asr/test")
    links = re.findall(r'(?:src|href)="\.\./\.\./\.\./(static/[^"]+)"', page.text)
    assert len(links) == 3
    for link in links:
        answer = served.get(f"/{link}")
        assert answer.status_code == 200, link
        assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("source", [source for source in SOURCES if source.endswith(".js")])
def test_what_a_module_imports_is_there(source: str) -> None:
    text = (LIVE / source).read_text(encoding="utf-8")
    imported = re.findall(r'^import .*"([^"]+)";', text, re.MULTILINE) + re.findall(r'URL\("([^"]+\.js)"', text)
    assert [name for name in imported if not ((LIVE / source).parent / name).is_file()] == []


def test_every_text_on_the_page_is_translated() -> None:
    page = (LIVE / "index.html").read_text(encoding="utf-8")
    used = set(re.findall(r'data-i18n(?:-label)?="(\w+)"', page))
    known = set(re.findall(r"^    (\w+):", (LIVE / "texts.js").read_text(encoding="utf-8"), re.MULTILINE))
    assert used <= known


def test_the_modules_pass_their_own_tests() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    files = sorted(map(str, (Path(__file__).parent / "live_page").glob("*.test.mjs")))
    run = subprocess.run([node, "--test", *files], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout
