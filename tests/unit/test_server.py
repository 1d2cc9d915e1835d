"""The server's side of a connection, on uvicorn: doubled handshake headers, pings, giant frames, who never reads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
import zlib
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import MagicMock

import pytest
import uvicorn
import uvicorn.server
import websockets.exceptions
import websockets.sync.client
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service import server as ours
from service.protocols.openai.event_stream import EventStream
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
        app,
        port=0,
        log_config=None,
        http=ours.HttpProtocol,
        ws=ours.LiveWebSocketProtocol,
        lifespan="off",
        loop="asyncio",
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


def comes_true(what: Callable[[], bool]) -> bool:
    """Whether it does within seconds."""
    deadline = time.monotonic() + 10
    while not what() and time.monotonic() < deadline:
        time.sleep(0.01)
    return what()


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


def test_who_sends_a_giant_frame_whole_is_told_why_it_is_closed(port: int) -> None:
    with websockets.sync.client.connect(f"ws://127.0.0.1:{port}/", compression=None) as client:
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            client.send(bytes(64 << 20))
        with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
            client.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_text_that_is_not_utf_8_closes_its_connection(port: int) -> None:
    with connected(port, handshake()) as client:
        client.send(TEXT, b"\xff\xfe")
        opcode, reason = client.receive()
        assert (opcode, struct.unpack("!H", reason[:2])) == (CLOSE, (1007,))


def test_who_never_reads_is_dropped_when_the_conversation_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "_FLUSH_S", 0.0)
    app = Chatterbox()
    with running(app) as (server, port), connected(port, handshake()) as client:
        assert app.ended.wait(10)
        assert comes_true(lambda: not server.server_state.connections)
        assert client.status == 101


# Pings and what was sent before them


class Busy:
    """Takes one message and works on it until it is released; then takes the rest."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.taken: list[int] = []
        self.left = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            self.taken.append(len(message["bytes"]))
            await asyncio.to_thread(self.released.wait, 10)
            self.released.set()
        self.left.set()


def test_pings_behind_minutes_of_audio_are_answered_while_nothing_of_it_is_worked_through() -> None:
    app = Busy()
    minutes = 5 * 60 * 32_000
    with running(app) as (_, port):
        url = f"ws://127.0.0.1:{port}/"
        with websockets.sync.client.connect(url, ping_interval=0.2, ping_timeout=2, compression=None) as client:
            for _ in range(minutes // 9600):
                client.send(bytes(9600))
            assert client.ping().wait(5)
            assert len(app.taken) == 1
            app.released.set()
            assert comes_true(lambda: sum(app.taken) == minutes)
    assert ours._Messages.all_held_bytes == 0


@pytest.mark.parametrize("name", ["_READ_AHEAD_BYTES", "_ALL_READ_AHEAD_BYTES"])
def test_no_more_is_read_ahead_than_may_be(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(ours, name, 1 << 20)
    app = Busy()
    with running(app) as (_, port), connected(port, handshake()) as client:
        client.socket.settimeout(0.5)
        message = struct.pack("!BBQI", 0x80 | BINARY, 0x80 | 127, 1 << 16, 0) + bytes(1 << 16)
        with pytest.raises(TimeoutError):
            client.socket.sendall(message * 1000)  # more than the kernel takes
        # what was being parsed comes on top
        assert ours._Messages.all_held_bytes < (1 << 20) + (1 << 19)
        client.socket.settimeout(10)
        app.released.set()
        assert comes_true(lambda: ours._Messages.all_held_bytes == 0)


def test_what_a_client_has_sent_before_it_left_is_not_worked_through() -> None:
    app = Busy()
    with running(app) as (_, port):
        with connected(port, handshake()) as client:
            for _ in range(100):
                client.send(BINARY, bytes(9600))
            assert comes_true(lambda: ours._Messages.all_held_bytes == 99 * 9600)
        assert comes_true(lambda: ours._Messages.all_held_bytes == 0)
        app.released.set()
        assert app.left.wait(10)
        assert len(app.taken) == 1


def test_pongs_do_not_pile_up_for_who_never_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    answer = ours.LiveWebSocketProtocol.handle_ping

    def answered(self: Any) -> None:
        answer(self)
        sizes.append(self.transport.get_write_buffer_size())

    monkeypatch.setattr(ours.LiveWebSocketProtocol, "handle_ping", answered)
    ping = struct.pack("!BBI", 0x80 | PING, 0x80 | 125, 0) + bytes(125)
    with running(Busy()) as (_, port), connected(port, handshake()) as client:
        for _ in range(200):  # more than the kernel takes
            client.socket.sendall(ping * 1000)
        assert comes_true(lambda: len(sizes) == 200_000)
        assert 0 < max(sizes) < 1 << 19  # what one read brings, and the high-water mark


def test_nothing_is_agreed_that_makes_a_small_message_large(port: int) -> None:
    offer = ("Sec-WebSocket-Extensions", "permessage-deflate")
    with connected(port, handshake(FIRST, offer)) as client:
        assert "sec-websocket-extensions" not in client.headers
        client.send(BINARY, zlib.compress(bytes(1 << 20)))
        assert int(client.receive()[1]) < 2000


# Answers that nobody reads


class Event(BaseModel):
    text: str = "x" * 10_000


class Streaming:
    """Sends events without end."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    async def _events(self) -> AsyncGenerator[BaseModel, None]:
        try:
            while True:
                yield Event()
                await asyncio.sleep(0)
        finally:
            self.closed.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await EventStream(self._events(), {})(scope, receive, send)


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(bytes(50_000_000))(scope, receive, send)


def test_a_stream_that_nobody_reads_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "_STALL_S", 0.1)
    app = Streaming()
    with running(app) as (server, port), contextlib.closing(asking(port)):
        assert app.closed.wait(10)
        assert comes_true(lambda: not server.server_state.connections)


@pytest.mark.parametrize("header", ["", "Connection: close\r\n"])
def test_a_large_answer_that_nobody_reads_is_dropped(monkeypatch: pytest.MonkeyPatch, header: str) -> None:
    monkeypatch.setattr(ours, "_STALL_S", 0.1)
    with running(large) as (server, port), contextlib.closing(asking(port, header)):
        assert comes_true(lambda: bool(server.server_state.total_requests))
        assert comes_true(lambda: not server.server_state.connections)


def test_an_answer_that_is_read_slowly_is_not_dropped() -> None:
    transport, loop = MagicMock(), MagicMock()
    config = uvicorn.Config(large, ws=ours.LiveWebSocketProtocol)  # type: ignore[arg-type]
    config.load()
    protocol = ours.HttpProtocol(config, uvicorn.server.ServerState(), {}, _loop=loop)
    protocol.connection_made(transport)

    def unread(size: int) -> None:
        transport.get_write_buffer_size.return_value = size

    def time_passes() -> None:
        loop.call_later.call_args.args[1]()

    unread(200_000)
    protocol.pause_writing()
    for size in (199_999, 100_000):
        unread(size)
        time_passes()
    protocol.resume_writing()
    unread(300_000)  # of what came next
    protocol.pause_writing()
    time_passes()
    transport.abort.assert_not_called()
    time_passes()
    transport.abort.assert_called_once()


def asking(port: int, header: str = "") -> socket.socket:
    """A client that has asked, and has not read."""
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.sendall(f"GET / HTTP/1.1\r\nHost: x\r\n{header}\r\n".encode())
    return client
