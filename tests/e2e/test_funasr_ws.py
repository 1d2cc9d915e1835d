"""FunASR's protocol as its users meet it: a client that behaves like theirs, and those that misbehave."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import soundfile
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.e2e.clients.funasr_client import Heard, recognise
from tests.e2e.conftest import KEY
from tests.e2e.server import Served
from tests.speech import RECORDINGS, characters, error_rate

WEATHER = RECORDINGS["weather"]
DIALOGUE = RECORDINGS["dialogue"]
START = json.dumps({"mode": "2pass", "wav_name": "demo", "is_speaking": True})
END = json.dumps({"is_speaking": False, "is_end": True})


def address(server: Served, path: str = "/", token: str = KEY) -> str:
    return f"ws://{urlsplit(server.url).netloc}{path}?token={token}"


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The recordings as wav files, by name."""
    folder = tmp_path_factory.mktemp("wav")
    paths = {name: folder / f"{name}.wav" for name in ("weather", "dialogue", "long-pause")}
    for name, path in paths.items():
        soundfile.write(path, RECORDINGS[name].pcm, 16_000)
    return paths


def heard(server: Served, mode: str, *paths: Path, path: str = "/", **options: Any) -> list[Heard]:
    return asyncio.run(recognise(address(server, path), mode, *paths, **options))


@pytest.mark.parametrize("path", ["/", "/ws/v1/asr/funasr", "/ws/v1/asr"])
def test_two_passes_on_every_path(server: Served, wav: dict[str, Path], path: str) -> None:
    result = heard(server, "2pass", wav["weather"], path=path)[0]
    assert result.screen == WEATHER.text
    assert result.messages[0]["mode"] == "2pass-online"
    assert result.result["mode"] == "2pass-offline"
    assert len(json.loads(result.result["timestamp"])) == len(characters(WEATHER.text))


def test_online_text_comes_while_somebody_speaks(server: Served, wav: dict[str, Path]) -> None:
    result = heard(server, "online", wav["weather"], pace=1)[0]
    assert len(result.messages) > 2
    assert error_rate(WEATHER.text, result.screen) <= 0.2


def test_a_list_of_files_on_one_connection(server: Served, wav: dict[str, Path]) -> None:
    names = ["weather", "long-pause", "weather"]
    results = heard(server, "offline", *(wav[name] for name in names), hotwords='{"天气": 20}')
    assert [r.result["wav_name"] for r in results] == names
    for name, result in zip(names, results, strict=True):
        assert error_rate(RECORDINGS[name].text, result.screen) <= 0.05


@pytest.mark.parametrize("mode", ["2pass", "offline"])
def test_a_compressed_file(server: Served, mode: str) -> None:
    assert heard(server, mode, WEATHER.path)[0].screen == WEATHER.text


def test_a_dialogue_keeps_all_its_sentences(server: Served, wav: dict[str, Path]) -> None:
    result = heard(server, "2pass", wav["dialogue"])[0]
    spoken = [word for word in DIALOGUE.text if not word.isdigit()]
    assert error_rate("".join(spoken), "".join(c for c in result.screen if not c.isdigit())) <= 0.15
    offline = [m for m in result.messages if m["mode"] == "2pass-offline"]
    assert len(offline) > len(DIALOGUE.sentences) / 2
    starts = [json.loads(m["timestamp"])[0][0] for m in offline]
    assert starts == sorted(starts)


def test_clients_at_once_get_their_own_text(server: Served, wav: dict[str, Path]) -> None:
    async def all_at_once() -> list[list[Heard]]:
        paths = [wav["weather"], wav["long-pause"]] * 6
        return await asyncio.gather(*(recognise(address(server), "2pass", path) for path in paths))

    alone = {path: heard(server, "2pass", path)[0].screen for path in (wav["weather"], wav["long-pause"])}
    screens = [results[0].screen for results in asyncio.run(all_at_once())]
    assert screens == list(alone.values()) * 6


# What goes wrong


def received_to_end(socket: ClientConnection) -> tuple[dict[str, Any], int]:
    """The last message, and the code that the connection was closed with."""
    message: dict[str, Any] = {}
    try:
        while True:
            message = json.loads(socket.recv(timeout=30))
    except ConnectionClosed as closed:
        return message, closed.rcvd.code if closed.rcvd else 1006


@pytest.mark.parametrize(
    "messages",
    [["hello"], [b"\0" * 1920], [START, "0011"], ['{"mode":"3pass"}']],
    ids=["text", "audio first", "text for audio", "no such mode"],
)
def test_what_is_wrong_is_said_and_ends_the_connection(server: Served, messages: list[str | bytes]) -> None:
    with connect(address(server, "/ws/v1/asr/funasr")) as socket:
        for message in messages:
            socket.send(message)
        last, code = received_to_end(socket)
    assert last["is_end"] is True
    assert last["is_final"] is False
    assert last["error"]
    assert code == 1008


def test_a_giant_frame_ends_its_own_connection_only(server: Served, wav: dict[str, Path]) -> None:
    with connect(address(server)) as socket:
        socket.send(START)
        socket.send(bytes(17 << 20))
        assert received_to_end(socket)[1] == 1009
    assert heard(server, "2pass", wav["weather"])[0].screen == WEATHER.text


def test_ten_thousand_tiny_frames_are_one_recording(server: Served) -> None:
    data = WEATHER.pcm.tobytes()
    step = -(-len(data) // 10_000) | 1  # odd: no frame holds whole samples
    with connect(address(server)) as socket:
        socket.send(START)
        for start in range(0, len(data), step):
            socket.send(data[start : start + step])
        socket.send(END)
        texts = []
        while not (message := json.loads(socket.recv(timeout=60))).get("is_end"):
            texts.append(message["text"])
    assert texts[-1] == WEATHER.text


def test_clients_that_vanish_leave_no_session(server: Served, wav: dict[str, Path]) -> None:
    for mode in ("2pass", "offline"):
        socket = connect(address(server))
        socket.send(json.dumps({"mode": mode, "is_speaking": True}))
        socket.send(WEATHER.pcm.tobytes())
        socket.socket.close()
    assert heard(server, "2pass", wav["weather"])[0].screen == WEATHER.text
    assert server.live_sessions() == 0


@pytest.mark.parametrize("token", ["", "wrong"])
def test_without_a_key_nobody_comes_in(server: Served, token: str) -> None:
    with pytest.raises(InvalidStatus) as caught, connect(address(server, token=token)):
        pass
    assert caught.value.response.status_code in (401, 403)
