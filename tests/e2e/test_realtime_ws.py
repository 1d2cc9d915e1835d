"""OpenAI's Realtime transcription by the official SDK, and clients that misbehave."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import numpy as np
import openai
import pytest
import soxr
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import RealtimeServerEvent
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.e2e.conftest import KEY
from tests.e2e.server import Served
from tests.speech import RECORDINGS, Pcm, error_rate, silence

WEATHER = RECORDINGS["weather"]
PAUSE = RECORDINGS["long-pause"]
TRANSCRIPTION = "conversation.item.input_audio_transcription."
FRAME_BYTES = 4800  # 100 ms


def at_24_khz(*parts: Pcm) -> bytes:
    return np.asarray(soxr.resample(np.concatenate(parts), 16_000, 24_000), np.int16).tobytes()


@asynccontextmanager
async def session(server: Served, key: str = KEY, **input: object) -> AsyncIterator[AsyncRealtimeConnection]:
    """As OpenAI's guide to realtime transcription does it."""
    client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)
    async with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        assert (await connection.recv()).type == "session.created"
        await connection.session.update(
            session={
                "type": "transcription",
                "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe", "language": "zh"}, **input}},  # type: ignore[typeddict-item]
            }
        )
        assert (await connection.recv()).type == "session.updated"
        yield connection


async def append(connection: AsyncRealtimeConnection, data: bytes, pace: float = 0) -> None:
    for start in range(0, len(data), FRAME_BYTES):
        frame = data[start : start + FRAME_BYTES]
        await connection.input_audio_buffer.append(audio=base64.b64encode(frame).decode())
        await asyncio.sleep(pace * len(frame) / 48_000)


async def receive_until(connection: AsyncRealtimeConnection, kind: str, count: int = 1) -> list[RealtimeServerEvent]:
    """Everything up to the ``count``-th event of a kind."""
    events = []
    async for event in connection:
        assert event.type != "error", event
        events.append(event)
        if sum(e.type == kind for e in events) == count:
            break
    return events


def test_the_server_finds_the_turns_while_somebody_speaks(server: Served) -> None:
    async def talk() -> list[RealtimeServerEvent]:
        async with session(server) as connection:
            speaking = asyncio.create_task(append(connection, at_24_khz(WEATHER.pcm, silence(2)), pace=1))
            events = await receive_until(connection, f"{TRANSCRIPTION}completed")
            await speaking
            return events

    events = asyncio.run(talk())
    assert events[0].type == "input_audio_buffer.speech_started"
    deltas = [e.delta for e in events if e.type == "conversation.item.input_audio_transcription.delta"]
    assert len(deltas) > 1
    assert error_rate(WEATHER.text, "".join(d or "" for d in deltas)) <= 0.2
    completed = events[-1]
    assert completed.type == "conversation.item.input_audio_transcription.completed"
    assert completed.transcript == WEATHER.text
    assert completed.item_id == events[0].item_id


def test_without_turn_detection_the_client_commits(server: Served) -> None:
    async def talk() -> list[str]:
        texts = []
        async with session(server, turn_detection=None) as connection:
            for recording in (PAUSE, WEATHER):
                await append(connection, at_24_khz(recording.pcm))
                await connection.input_audio_buffer.commit()
                completed = (await receive_until(connection, f"{TRANSCRIPTION}completed"))[-1]
                assert completed.type == "conversation.item.input_audio_transcription.completed"
                texts.append(completed.transcript)
        return texts

    paused, weather = asyncio.run(talk())
    assert error_rate(PAUSE.text, paused) <= 0.05
    assert weather == WEATHER.text


def test_sessions_at_once_get_their_own_text(server: Served) -> None:
    async def talk(pcm: Pcm) -> str:
        async with session(server, turn_detection=None) as connection:
            await append(connection, at_24_khz(pcm))
            await connection.input_audio_buffer.commit()
            completed = (await receive_until(connection, f"{TRANSCRIPTION}completed"))[-1]
            assert completed.type == "conversation.item.input_audio_transcription.completed"
            return completed.transcript

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*(talk(RECORDINGS[name].pcm) for name in ("weather", "meeting") * 5))

    async def alone() -> list[str]:
        return [await talk(RECORDINGS[name].pcm) for name in ("weather", "meeting")]

    assert asyncio.run(all_at_once()) == asyncio.run(alone()) * 5


# What goes wrong


def test_wrong_events_are_answered_and_the_session_goes_on(server: Served) -> None:
    async def talk() -> tuple[list[tuple[str | None, str | None]], str]:
        async with session(server, turn_detection=None) as connection:
            await connection.input_audio_buffer.append(audio="no base64!", event_id="append")
            await connection.input_audio_buffer.commit(event_id="commit")
            await connection.session.update(
                session={"type": "transcription", "audio": {"input": {"transcription": {"model": "no-such"}}}},
                event_id="update",
            )
            await connection.response.create(event_id="response")
            errors = []
            for _ in range(4):
                event = await connection.recv()
                assert event.type == "error"
                errors.append((event.error.event_id, event.error.code))
            await append(connection, at_24_khz(WEATHER.pcm))
            await connection.input_audio_buffer.commit()
            completed = (await receive_until(connection, f"{TRANSCRIPTION}completed"))[-1]
            assert completed.type == "conversation.item.input_audio_transcription.completed"
            return errors, completed.transcript

    errors, text = asyncio.run(talk())
    assert errors == [
        ("append", "invalid_value"),
        ("commit", "input_audio_buffer_commit_empty"),
        ("update", "model_not_found"),
        ("response", "invalid_value"),
    ]
    assert text == WEATHER.text


def test_a_wrong_key_is_refused_at_the_door(server: Served) -> None:
    async def come() -> None:
        async with session(server, key="wrong"):
            pass

    with pytest.raises(InvalidStatus) as caught:
        asyncio.run(come())
    assert caught.value.response.status_code in (401, 403)


def test_a_browser_brings_its_key_as_a_subprotocol(server: Served) -> None:
    url = f"ws://{urlsplit(server.url).netloc}/v1/realtime?intent=transcription"
    offered = ["realtime", f"openai-insecure-api-key.{KEY}"]
    with connect(url, subprotocols=offered) as socket:  # type: ignore[arg-type]
        assert socket.subprotocol == "realtime"
        assert json.loads(socket.recv(timeout=10))["type"] == "session.created"


def test_a_giant_frame_and_a_client_that_vanishes_harm_nobody_else(server: Served) -> None:
    url = f"ws://{urlsplit(server.url).netloc}/v1/realtime?intent=transcription&token={KEY}"
    frame = json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(48_000)).decode()})
    with connect(url) as giant:
        giant.recv(timeout=30)
        giant.send(frame + " " * (17 << 20))
        with pytest.raises(ConnectionClosed):
            giant.recv(timeout=30)
    vanishing = connect(url)
    vanishing.send(frame)
    vanishing.socket.close()

    async def talk() -> RealtimeServerEvent:
        async with session(server) as connection:
            await append(connection, at_24_khz(WEATHER.pcm, silence(2)))
            return (await receive_until(connection, f"{TRANSCRIPTION}completed"))[-1]

    completed = asyncio.run(talk())
    assert completed.type == "conversation.item.input_audio_transcription.completed"
    assert completed.transcript == WEATHER.text
    assert server.live_sessions() == 0
