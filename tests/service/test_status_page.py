"""/status: what the service is doing, told to people."""

from __future__ import annotations

import re
from typing import Any

from starlette.testclient import TestClient

from service.pages import status
from tests.service.conftest import Serve
from tests.speech import FOLDER


def cells(page: str) -> dict[str, str]:
    rows = re.findall(r"<tr><td>(.*?)<td class=\"\w*\">(.*?)(?=<tr>|</table>)", page)
    return dict(rows)


def transcribe(client: TestClient) -> Any:
    with (FOLDER / "date.flac").open("rb") as file:
        return client.post("/v1/audio/transcriptions", files={"file": file})


def test_it_counts_what_was_transcribed(serve: Serve) -> None:
    client = serve()
    before = client.get("/status").text
    assert transcribe(client).status_code == 200
    page = client.get("/status").text
    shown = cells(page)
    assert shown["Ready"] == "yes"
    assert shown["Requests waiting or in work"] == "0"
    assert re.fullmatch(r"\d+ ms, [\d.]+ ms, \d+", shown["recognise"])
    requests = cells(before).get("openai: ok", "0")
    assert int(shown["openai: ok"]) == int(requests) + 1


def test_it_says_that_models_are_loading(serve: Serve) -> None:
    page = serve(ready=False).get("/status")
    assert page.status_code == 200
    assert cells(page.text)["Ready"] == "no"


def test_it_speaks_the_readers_language(serve: Serve) -> None:
    client = serve(ready=False)
    assert "就绪" in client.get("/status", headers={"Accept-Language": "zh-CN,zh;q=0.9"}).text
    assert "就绪" in client.get("/status?lang=zh").text
    assert "就绪" not in client.get("/status", headers={"Accept-Language": "de"}).text


def test_everything_it_says_has_a_translation(serve: Serve) -> None:
    client = serve()
    transcribe(client)
    page = client.get("/status?lang=zh").text
    for english in status._CHINESE:
        if len(english) > 3:
            assert f">{english}<" not in page


def test_it_needs_no_key_and_loads_nothing_from_elsewhere(serve: Serve) -> None:
    answer = serve(ready=False, api_key="a-key").get("/status")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert not re.search(r"https?:|<script", answer.text)
