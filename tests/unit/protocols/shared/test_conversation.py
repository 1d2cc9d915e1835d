"""What live protocols share: a connection's time limits, how conversations end, places for sessions."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message
from starlette.websockets import WebSocket

from service.admission import LiveSessions
from service.errors import IdleTooLong, InvalidRequest, NotReady, QueueFull, ServiceError, SlowReader
from service.protocols.shared import conversation as live
from service.protocols.shared.conversation import Connection, converse, report_failures


class Wire:
    """The server's side of a client: what was sent to it, and whether it still reads."""

    def __init__(self, *messages: Message, reads: bool = True, offers: tuple[str, ...] = ()) -> None:
        self.sent: list[Message] = []
        self.messages: list[Message] = [{"type": "websocket.connect"}, *messages]
        self.reads = reads
        self.offers = list(offers)

    async def receive(self) -> Message:
        if not self.messages:
            await asyncio.get_running_loop().create_future()
        return self.messages.pop(0)

    async def send(self, message: Message) -> None:
        if message["type"] != "websocket.accept" and not self.reads:
            await asyncio.get_running_loop().create_future()
        self.sent.append(message)

    async def connection(self, *subprotocols: str) -> Connection:
        scope: dict[str, Any] = {"type": "websocket", "subprotocols": self.offers}
        connection = Connection(WebSocket(scope, self.receive, self.send))
        await connection.accept(*subprotocols)
        return connection

    @property
    def close_code(self) -> int | None:
        closes: list[int] = [message["code"] for message in self.sent if message["type"] == "websocket.close"]
        return closes[0] if closes else None


@pytest.mark.parametrize(
    ("offers", "agreed"), [((), None), (("binary",), "binary"), (("x", "binary"), "binary"), (("x",), None)]
)
def test_a_known_subprotocol_is_agreed_to(offers: tuple[str, ...], agreed: str | None) -> None:
    wire = Wire(offers=offers)
    asyncio.run(wire.connection("binary"))
    assert wire.sent[0].get("subprotocol") == agreed


def test_text_and_bytes_are_told_apart_and_a_client_that_leaves_is_noticed() -> None:
    async def run() -> None:
        connection = await Wire(
            {"type": "websocket.receive", "text": ""},
            {"type": "websocket.receive", "bytes": b"x"},
            {"type": "websocket.receive", "bytes": b"", "text": None},
            {"type": "websocket.disconnect", "code": 1006},
        ).connection()
        assert [await connection.receive() for _ in range(3)] == ["", b"x", b""]
        with pytest.raises(ClientDisconnect):
            await connection.receive()

    asyncio.run(run())


def test_a_client_that_says_nothing_is_idle() -> None:
    async def run() -> None:
        with pytest.raises(IdleTooLong):
            await (await Wire().connection()).receive(0.001)

    asyncio.run(run())


def test_a_client_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_SEND_S", 0.001)
    wire = Wire(reads=False)

    async def run() -> None:
        connection = await wire.connection()
        with pytest.raises(SlowReader):
            await connection.send("text")
        async with report_failures(connection, str):
            await connection.send("text")

    asyncio.run(run())
    assert len(wire.sent) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 1000),
        (InvalidRequest("wrong"), 1008),
        (NotReady("later"), 1013),
        (QueueFull("later"), 1013),
        (KeyError("ours"), 1011),
    ],
)
def test_how_a_conversation_ends_is_told(error: Exception | None, code: int) -> None:
    wire = Wire()

    async def run() -> None:
        connection = await wire.connection()
        async with report_failures(connection, lambda failure: failure.code):
            if error is not None:
                raise error

    asyncio.run(run())
    assert wire.close_code == code
    texts = [message["text"] for message in wire.sent if message["type"] == "websocket.send"]
    assert texts == ([] if error is None else [error.code if isinstance(error, ServiceError) else "server_error"])


def test_a_client_that_left_is_told_nothing() -> None:
    wire = Wire()

    async def run() -> None:
        async with report_failures(await wire.connection(), str):
            raise ClientDisconnect

    asyncio.run(run())
    assert len(wire.sent) == 1


def test_a_conversation_ends_with_what_is_told() -> None:
    stopped = []

    async def listening() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            stopped.append(True)

    async def telling() -> None:
        await asyncio.sleep(0)

    asyncio.run(converse(listening(), telling()))
    assert stopped


@pytest.mark.parametrize("who", ["listening", "telling"])
def test_whoever_fails_first_ends_both(who: str) -> None:
    stopped = []

    async def failing() -> None:
        raise InvalidRequest("wrong")

    async def waiting() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            stopped.append(True)

    async def run() -> None:
        both = (failing(), waiting()) if who == "listening" else (waiting(), failing())
        with pytest.raises(InvalidRequest):
            await converse(*both)

    asyncio.run(run())
    assert stopped


def test_a_listener_that_has_heard_enough_lets_the_rest_be_told() -> None:
    told = []

    async def listening() -> None: ...

    async def telling() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        told.append(True)

    asyncio.run(converse(listening(), telling()))
    assert told


def test_there_are_so_many_places_and_each_is_given_back() -> None:
    places = LiveSessions(1)
    for _ in range(2):
        with suppress(KeyError), places.admit("test"):
            with pytest.raises(QueueFull), places.admit("test"):
                pass
            raise KeyError


def test_a_task_that_overlooks_its_cancellation_is_cancelled_again() -> None:
    async def listening() -> None:
        raise InvalidRequest("enough")

    async def telling() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    with pytest.raises(InvalidRequest):
        asyncio.run(asyncio.wait_for(converse(listening(), telling()), 5))
