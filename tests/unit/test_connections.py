"""Connections to runners on other machines are watched, those on this machine left alone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from _bentoml_impl.client.proxy2 import SessionManager

from service import connections, inference
from service.errors import SentenceLost

pytestmark = pytest.mark.asyncio


class Proxy:
    def __init__(self, url: str) -> None:
        self._session_manager = SessionManager(url=url, timeout=3600, headers={"Runner-Name": "a"})


@contextlib.asynccontextmanager
async def session(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    proxy = Proxy(url)
    connections.watch(proxy)
    made = await proxy._session_manager.get_session()
    yield made
    await made.close()


async def test_a_connection_over_the_network_is_probed_and_used_once() -> None:
    async with session("http://runner:8000") as made:
        assert made.timeout.sock_connect == 5
        assert made.timeout.total == 3600  # an answer may take long
        assert made.connector is not None
        assert made.connector.force_close
        assert made.headers["Runner-Name"] == "a"
    watched = connections._watched_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("192.0.2.1", 80)))
    with watched:
        assert watched.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert watched.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000


async def test_a_connection_on_this_machine_is_left_alone() -> None:
    async with session("file:///tmp/runner.sock") as made:
        assert made.timeout.sock_connect is None
        assert isinstance(made.connector, aiohttp.UnixConnector)


async def test_every_call_has_a_connection_of_its_own() -> None:
    connected = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, session(f"http://127.0.0.1:{port}") as made:
        for _ in range(3):
            async with made.get("/"):
                pass
    assert connected == 3


async def test_a_machine_that_cannot_be_connected_to_did_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "_RETRY_PAUSE_S", 0.0)
    failures = [aiohttp.ConnectionTimeoutError("no answer")] * 3

    async def call() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert await inference._call("paraformer", call) == "done"


async def test_a_live_session_ends_where_its_machine_cannot_be_connected_to() -> None:
    async def call() -> None:
        raise aiohttp.ConnectionTimeoutError("no answer")

    with pytest.raises(SentenceLost):
        await inference._call_once("streaming", call)
