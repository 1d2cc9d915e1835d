"""What requests hold: nothing more once everything has been recognised, and so many may be received at a time."""

from __future__ import annotations

import asyncio
import os
import tempfile
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Scope

from service.app import create_app
from service.serving import Serving
from service.settings import Settings
from tests.engines import in_process_runners
from tests.speech import RECORDINGS

WEATHER = RECORDINGS["weather"].path.read_bytes()
TRANSCRIPTIONS = "/v1/audio/transcriptions"
LAST_EVENT = b'"transcript.text.done"'


def form(**fields: str) -> bytes:
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    file = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + WEATHER
    return "".join(parts).encode() + file + b"\r\n--x--\r\n"


def app_with(**settings: Any) -> tuple[ASGIApp, Serving]:
    serving = Serving(Settings(enabled_models="demo", **settings))
    serving.bind(in_process_runners())
    return create_app(serving), serving


def asked(path: str, body: bytes) -> Scope:
    kind = "multipart/form-data; boundary=x" if body[:3] == b"--x" else "application/octet-stream"
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    return {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (TRANSCRIPTIONS, form()),
        (TRANSCRIPTIONS, form(stream="true")),
        ("/stream/v1/asr", WEATHER),
        ("/stream/v1/FlashRecognizer", WEATHER),
    ],
)
def test_an_answer_that_is_not_read_holds_neither_place_nor_file(path: str, body: bytes) -> None:
    asyncio.run(leave_unread(path, body))


async def leave_unread(path: str, body: bytes) -> None:
    app, serving = app_with()
    is_stuck, messages = asyncio.Event(), iter([{"type": "http.request", "body": body}])

    async def receive() -> Message:
        return next(messages, None) or await asyncio.Event().wait()  # type: ignore[return-value]

    async def send(message: Message) -> None:
        if LAST_EVENT in message.get("body", b"") or (
            message["type"] == "http.response.start" and (b"content-type", b"application/json") in message["headers"]
        ):
            assert message.get("status", 200) == 200
            is_stuck.set()
            await asyncio.Event().wait()

    answering = asyncio.create_task(app(asked(path, body), receive, send))
    try:
        await asyncio.wait_for(is_stuck.wait(), 20)
        assert serving.admission.requests == 0
        assert os.listdir(tempfile.gettempdir()) == []
    finally:
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)


FETCHING = b'--x\r\nContent-Disposition: form-data; name="audio_address"\r\n\r\nhttp://a.invalid/\r\n--x--\r\n'


@pytest.mark.parametrize(
    ("path", "body"), [(TRANSCRIPTIONS, form()), (TRANSCRIPTIONS, FETCHING), ("/stream/v1/asr", WEATHER)]
)
def test_a_recording_too_many_on_its_way_is_refused_unread(path: str, body: bytes) -> None:
    asyncio.run(refused_unread(path, body))


async def refused_unread(path: str, body: bytes) -> None:
    app, _ = app_with(max_uploads=1)
    is_read = asyncio.Event()

    async def never_whole() -> Message:
        is_read.set()
        return await asyncio.Event().wait()  # type: ignore[return-value]

    async def unread() -> Message:
        raise AssertionError("its body is read")

    async def ignore(_: Message) -> None: ...

    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    receiving = asyncio.create_task(app(asked(path, body), never_whole, ignore))
    try:
        await asyncio.wait_for(is_read.wait(), 20)
        scope = asked(path, body)
        scope["headers"] = scope["headers"][:1]  # without a length nothing is on its way that must be thrown away
        await asyncio.wait_for(app(scope, unread, keep), 20)
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
    assert sent[0]["status"] == 429
    assert b"retry-after" in dict(sent[0]["headers"])
