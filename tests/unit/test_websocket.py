"""The server's side of a WebSocket, on uvicorn: doubled handshake headers, pings, giant frames, who never reads."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from service import websocket
from tests.websocket_client import BINARY, CLOSE, PING, PONG, TEXT, RawClient, expected_accept, handshake

FIRST, SECOND = "dGhlIHNhbXBsZSBub25jZQ==", "c2Vjb25kIHNhbXBsZSBubw=="


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": str(len(message.get("bytes") or message["text"]))})


class Chatterbox:
    """Sends until it may not, then returns."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        try:
            while True:
                await asyncio.wait_for(send({"type": "websocket.send", "bytes": bytes(1 << 20)}), 0.2)
        except asyncio.TimeoutError:
            self.ended.set()


@contextmanager
def running(app: object) -> Iterator[tuple[uvicorn.Server, int]]:
    """The server, as BentoML starts it, and its port."""
    config = uvicorn.Config(
        app, port=0, log_config=None, ws=websocket.LiveWebSocketProtocol, lifespan="off", loop="asyncio"
    )  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive()
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(echo) as (_, port):
        yield port


@contextmanager
def connected(port: int, headers: list[tuple[str, str]]) -> Iterator[RawClient]:
    client = RawClient("127.0.0.1", port, "/", headers)
    try:
        yield client
    finally:
        client.close()


@pytest.mark.parametrize("second", [FIRST, SECOND])
def test_of_doubled_handshake_headers_the_first_counts(port: int, second: str) -> None:
    headers = [*handshake(FIRST), *handshake(second)]
    with connected(port, headers) as client:
        assert client.status == 101
        assert client.headers["sec-websocket-accept"] == expected_accept(FIRST)
        client.send(TEXT, b"abc")
        assert client.receive() == (TEXT, b"3")


def test_an_ordinary_handshake_is_as_ever(port: int) -> None:
    with connected(port, handshake(SECOND)) as client:
        assert (client.status, client.headers["sec-websocket-accept"]) == (101, expected_accept(SECOND))


def test_a_handshake_without_a_key_is_refused(port: int) -> None:
    with connected(port, [("Sec-WebSocket-Version", "13")]) as client:
        assert client.status == 400


def test_a_refusal_with_a_body_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"content-length", b"2")]})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    with running(refusing) as (_, port), connected(port, handshake()) as client:
        assert (client.status, client.body()) == (401, b"no")
    assert caplog.records == []


def test_a_ping_is_answered(port: int) -> None:
    with connected(port, handshake()) as client:
        client.send(PING, b"there?")
        assert client.receive() == (PONG, b"there?")


def test_a_giant_frame_closes_its_connection_before_it_is_read(port: int) -> None:
    with connected(port, handshake()) as client:
        client.send(BINARY, b"", announced=1 << 40)
        opcode, reason = client.receive()
        assert (opcode, struct.unpack("!H", reason[:2])) == (CLOSE, (1009,))
        with pytest.raises(EOFError):
            client.receive()


def test_text_that_is_not_utf_8_closes_its_connection(port: int) -> None:
    with connected(port, handshake()) as client:
        client.send(TEXT, b"\xff\xfe")
        opcode, reason = client.receive()
        assert (opcode, struct.unpack("!H", reason[:2])) == (CLOSE, (1007,))


def test_who_never_reads_is_dropped_when_the_conversation_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "_FLUSH_S", 0.0)
    app = Chatterbox()
    with running(app) as (server, port), connected(port, handshake()) as client:
        assert app.ended.wait(10)
        for _ in range(500):
            if not server.server_state.connections:
                break
            threading.Event().wait(0.01)
        assert not server.server_state.connections
        assert client.status == 101
