"""Paths as clients make them of a base URL."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.app import UsualPaths, usual_path


@pytest.mark.parametrize(
    ("path", "usual"),
    [
        ("/v1/audio/transcriptions", "/v1/audio/transcriptions"),
        ("/v1/audio/transcriptions/", "/v1/audio/transcriptions"),
        ("//v1///audio/transcriptions//", "/v1/audio/transcriptions"),
        ("/audio/transcriptions", "/v1/audio/transcriptions"),
        ("/audio/translations", "/v1/audio/translations"),
        ("/v1/v1/audio/transcriptions", "/v1/audio/transcriptions"),
        ("/openai/v1/audio/transcriptions", "/v1/audio/transcriptions"),
        ("/openai/deployments/my whisper/audio/transcriptions", "/v1/audio/transcriptions"),
        ("/models", "/v1/models"),
        ("/models/Qwen/Qwen3-ASR-0.6B", "/v1/models/Qwen/Qwen3-ASR-0.6B"),
        ("/v1", "/v1"),
        ("/v1/nothing", "/v1/nothing"),
        ("/stream/v1/asr/", "/stream/v1/asr"),
        ("/", "/"),
        ("//", "//"),
        ("/docs/", "/docs/"),
        ("/modelsx", "/modelsx"),
        ("/static//docs", "/static//docs"),
    ],
)
def test_a_protocols_path_has_other_names(path: str, usual: str) -> None:
    assert usual_path(path) == usual


@pytest.mark.parametrize(
    ("path", "usual"),
    [
        ("/ws/v1/asr/", "/ws/v1/asr"),
        ("//ws/v1/asr", "/ws/v1/asr"),
        ("/realtime", "/v1/realtime"),
        ("/openai/realtime", "/v1/realtime"),
        ("/v1/realtime/", "/v1/realtime"),
        ("//", "/"),
    ],
)
def test_a_live_path_has_other_names(path: str, usual: str) -> None:
    assert usual_path(path, live=True) == usual


def test_a_proxys_prefix_stays_where_it_is() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    async def ignored(message: Message) -> None: ...

    scope = {"type": "http", "method": "HEAD", "root_path": "/asr", "path": "/asr/audio/transcriptions/"}
    asyncio.run(UsualPaths(app)(scope, nothing, ignored))
    assert (seen[0]["path"], seen[0]["method"]) == ("/asr/v1/audio/transcriptions", "GET")
    assert scope["method"] == "HEAD"  # the server's own is left alone
