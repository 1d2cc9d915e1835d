"""Server-sent events: when they go out, how failures look, what ends them."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.types import Message

from service.errors import UndecodableAudio
from service.protocols.openai import event_stream
from service.protocols.openai.event_stream import EventStream


class Number(BaseModel):
    n: int


class Client:
    """Takes what is sent; leaves when the response says ``leave_at``."""

    def __init__(self, leave_at: bytes | None = None) -> None:
        self.sent: list[Message] = []
        self._leave_at = leave_at
        self._left = asyncio.Event()

    async def receive(self) -> Message:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if self._leave_at and self._leave_at in message.get("body", b""):
            self._left.set()

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.sent[1:]]

    @property
    def events(self) -> list[Any]:
        return [json.loads(body[6:]) for body in self.bodies if body.startswith(b"data: ")]


async def stream(events: AsyncGenerator[BaseModel, None], client: Client) -> None:
    await EventStream(events, {"X-Warnings": "w"})({"type": "http"}, client.receive, client.send)


async def numbers(fail_after: int = 2, error: Exception | None = None) -> AsyncGenerator[BaseModel, None]:
    for n in range(fail_after):
        yield Number(n=n)
    if error:
        raise error


async def _run(events: AsyncGenerator[BaseModel, None], leave_at: bytes | None = None) -> Client:
    client = Client(leave_at)
    await stream(events, client)
    return client


def test_each_event_is_sent_by_itself() -> None:
    client = asyncio.run(_run(numbers()))
    assert client.bodies == [b'data: {"n":0}\n\n', b'data: {"n":1}\n\n', b""]
    assert client.sent[0]["status"] == 200
    headers = dict(client.sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert headers[b"x-warnings"] == b"w"
    assert b"content-length" not in headers


def test_an_event_is_sent_before_the_next_one_is_made() -> None:
    client_holder: list[Client] = []

    async def watching() -> AsyncGenerator[BaseModel, None]:
        yield Number(n=0)
        assert client_holder[0].events == [{"n": 0}]
        yield Number(n=1)

    async def run() -> None:
        client_holder.append(Client())
        await stream(watching(), client_holder[0])

    asyncio.run(run())
    assert len(client_holder[0].events) == 2


def test_a_failure_before_the_first_event_is_raised() -> None:
    with pytest.raises(UndecodableAudio):
        asyncio.run(_run(numbers(0, UndecodableAudio("no audio"))))


def test_a_failure_after_it_is_the_last_event() -> None:
    client = asyncio.run(_run(numbers(1, UndecodableAudio("no audio"))))
    assert client.events[0] == {"n": 0}
    assert client.events[1]["error"]["code"] == "unsupported_audio"
    assert client.bodies[-1] == b""


def test_an_unexpected_failure_tells_nothing_of_itself() -> None:
    client = asyncio.run(_run(numbers(1, KeyError("secret"))))
    assert client.events[1]["error"]["type"] == "server_error"
    assert "secret" not in str(client.events)


def test_comments_keep_a_silent_stream_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "_KEEP_ALIVE_S", 0.0)

    async def run() -> Client:
        client = Client()
        go_on = asyncio.Event()

        async def waiting() -> AsyncGenerator[BaseModel, None]:
            await go_on.wait()
            yield Number(n=0)

        async def send(message: Message) -> None:
            client.sent.append(message)
            if len(client.sent) > 3:
                go_on.set()

        await EventStream(waiting(), {})({"type": "http"}, client.receive, send)
        return client

    client = asyncio.run(run())
    assert client.bodies[0] == client.bodies[1] == b": keep-alive\n\n"
    assert client.events == [{"n": 0}]


def test_the_work_ends_when_the_client_leaves() -> None:
    ended = []

    async def endless() -> AsyncGenerator[BaseModel, None]:
        try:
            yield Number(n=0)
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(True)

    with pytest.raises(ClientDisconnect):
        asyncio.run(_run(endless(), leave_at=b'{"n":0}'))
    assert ended


def test_the_work_ends_when_nothing_more_can_be_sent() -> None:
    ended = []

    async def two() -> AsyncGenerator[BaseModel, None]:
        try:
            yield Number(n=0)
            yield Number(n=1)
        finally:
            ended.append(True)

    async def refuse(message: Message) -> None:
        raise ConnectionResetError

    async def run() -> None:
        with pytest.raises(ConnectionResetError):
            await EventStream(two(), {})({"type": "http"}, Client().receive, refuse)
        assert ended

    asyncio.run(run())
