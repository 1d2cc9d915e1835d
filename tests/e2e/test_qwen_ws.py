"""Qwen3-ASR's streaming protocol on a served API: speakers in real time, many at once, and a bad day."""

from __future__ import annotations

import asyncio
import json
import time
from socket import SHUT_RDWR
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.e2e.conftest import KEY
from tests.e2e.server import Served
from tests.speech import RECORDINGS, Pcm, characters, error_rate

WEATHER = RECORDINGS["weather"]
DIALOGUE = RECORDINGS["dialogue"]
FRAME_BYTES = 3200  # 100 ms
STOP = json.dumps({"type": "stop"})


def address(server: Served, token: str = KEY) -> str:
    return f"ws://{urlsplit(server.url).netloc}/ws/v1/asr/qwen?token={token}"


def start(**payload: Any) -> str:
    return json.dumps({"type": "start", "payload": payload})


async def spoken(server: Served, pcm: Pcm, speed: float = 1.0, **payload: Any) -> list[dict[str, Any]]:
    """A session of somebody who speaks; every message."""
    async with connect_async(address(server)) as socket:
        await socket.send(start(**payload))

        async def receive() -> list[dict[str, Any]]:
            messages = [json.loads(await socket.recv())]
            while messages[-1]["type"] not in ("final", "error"):
                messages.append(json.loads(await socket.recv()))
            return messages

        receiving = asyncio.create_task(receive())
        data = pcm.tobytes()
        for at in range(0, len(data), FRAME_BYTES):
            await socket.send(data[at : at + FRAME_BYTES])
            await asyncio.sleep(0.1 / speed)
        await socket.send(STOP)
        return await receiving


def test_text_grows_while_somebody_speaks_and_ends_with_word_times(server: Served) -> None:
    messages = asyncio.run(spoken(server, WEATHER.pcm, chunk_size_sec=0.5, word_timestamps=True))
    results = [message["results"][0]["text"] for message in messages if message["type"] == "result"]
    assert len(results) >= 2
    final = messages[-1]["result"]
    assert characters(final["full_text"]) == characters(WEATHER.text)
    words = final["segments"][0]["words"]
    assert "".join(word["text"] for word in words) == characters(WEATHER.text)


def test_each_of_several_speakers_gets_his_own_text(server: Served) -> None:
    names = ["weather", "home", "meeting", "date", "numbers", "sentence-0", "sentence-1", "sentence-2"]

    async def all_speak() -> list[list[dict[str, Any]]]:
        return await asyncio.gather(*(spoken(server, RECORDINGS[name].pcm, speed=2) for name in names))

    for name, messages in zip(names, asyncio.run(all_speak()), strict=True):
        assert error_rate(RECORDINGS[name].text, messages[-1]["result"]["full_text"]) <= 0.2, name


def test_a_dialogue_that_is_sent_faster_than_it_was_spoken_is_complete(server: Served) -> None:
    final = asyncio.run(spoken(server, DIALOGUE.pcm, speed=20))[-1]["result"]
    assert error_rate(DIALOGUE.text, final["full_text"]) <= 0.15


def test_a_wrong_token_is_refused_before_the_session(server: Served) -> None:
    with pytest.raises(InvalidStatus) as refusal, connect(address(server, "wrong")):
        pass
    assert refusal.value.response.status_code == 401
    assert json.loads(refusal.value.response.body)["error_code"] == "AUTHENTICATION_FAILED"


def test_a_client_that_vanishes_leaves_no_session(server: Served) -> None:
    with connect(address(server)) as socket:
        socket.send(start())
        socket.send(WEATHER.pcm.tobytes())
        socket.recv(timeout=20)
        assert server.live_sessions() == 1
        socket.socket.shutdown(SHUT_RDWR)
    deadline = time.monotonic() + 20
    while (sessions := server.live_sessions()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert sessions == 0


def test_a_runner_that_dies_ends_its_sessions_in_words_and_comes_back(server: Served) -> None:
    with connect(address(server)) as socket:
        socket.send(start(chunk_size_sec=0.5))
        socket.send(WEATHER.pcm.tobytes()[:64_000])
        while json.loads(socket.recv(timeout=20))["type"] != "result":
            pass
        server.process_of("Qwen3Runner").kill()
        socket.send(WEATHER.pcm.tobytes()[64_000:])
        socket.send(STOP)
        messages: list[dict[str, Any]] = []
        try:
            while True:
                messages.append(json.loads(socket.recv(timeout=60)))
        except ConnectionClosed:
            pass
    assert messages[-1]["type"] in ("final", "error")
    if messages[-1]["type"] == "final":
        assert characters(messages[-1]["result"]["full_text"]) == characters(WEATHER.text)
    else:
        assert messages[-1]["error_code"] == "DEFAULT_SERVER_ERROR"
    server.wait_until_ready()
    final = asyncio.run(spoken(server, WEATHER.pcm, speed=5))[-1]["result"]
    assert characters(final["full_text"]) == characters(WEATHER.text)
