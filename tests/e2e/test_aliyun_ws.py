"""Alibaba Cloud's live protocol as its users meet it: the official clients, and those that misbehave."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.aliyun_directives import directive
from tests.e2e.conftest import KEY
from tests.e2e.server import Served
from tests.speech import RECORDINGS
from tests.websocket_client import BINARY, CLOSE, PING, PONG, TEXT, RawClient, expected_accept, handshake

CLIENTS = Path(__file__).parent / "clients"
WEATHER = RECORDINGS["weather"]


def address(server: Served, path: str = "/ws/v1/asr", token: str = KEY) -> str:
    return f"ws://{urlsplit(server.url).netloc}{path}?token={token}"


@contextmanager
def connected(server: Served) -> Iterator[ClientConnection]:
    with connect(address(server), max_size=None) as socket:
        yield socket


def name_of(message: str | bytes) -> str:
    name: str = json.loads(message)["header"]["name"]
    return name


def receive_to_end(socket: ClientConnection) -> list[dict[str, Any]]:
    """Everything until the task is completed or failed."""
    messages = []
    while not messages or messages[-1]["header"]["name"] not in ("TranscriptionCompleted", "TaskFailed"):
        messages.append(json.loads(socket.recv(timeout=30)))
    return messages


def transcribe(server: Served, data: bytes, frame_bytes: int = 3200) -> str:
    with connected(server) as socket:
        socket.send(directive("StartTranscription", {"enable_punctuation_prediction": True}))
        for start in range(0, len(data), frame_bytes):
            socket.send(data[start : start + frame_bytes])
        socket.send(directive("StopTranscription"))
        messages = receive_to_end(socket)
    assert messages[-1]["header"]["name"] == "TranscriptionCompleted", messages[-1]
    return "".join(m["payload"]["result"] for m in messages if m["header"]["name"] == "SentenceEnd")


def failure(server: Served, *messages: str | bytes) -> int:
    """The code of the failure that these messages lead to; the server closes after it."""
    with connected(server) as socket:
        for message in messages:
            socket.send(message)
        code: int = receive_to_end(socket)[-1]["header"]["status"]
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=10)
    return code


@pytest.fixture(autouse=True)
def nobody_is_harmed(server: Served) -> Iterator[None]:
    """After every test: no session is left, and the next client is served."""
    yield
    deadline = time.monotonic() + 15
    while server.live_sessions() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert server.live_sessions() == 0
    assert transcribe(server, WEATHER.pcm.tobytes()) == WEATHER.text


# Official clients


def run_npm_client(server: Served, folder: Path, kind: str, token: str = KEY) -> list[tuple[str, dict[str, Any]]]:
    """The events that the npm client saw."""
    if shutil.which("node") is None or not (CLIENTS / "node_modules" / "alibabacloud-nls").is_dir():
        pytest.skip("needs node, and: npm install --no-package-lock --prefix tests/e2e/clients")
    audio = folder / "weather.pcm"
    audio.write_bytes(WEATHER.pcm.tobytes())
    url = address(server).partition("?")[0]
    command = ["node", str(CLIENTS / "aliyun_nls.cjs"), kind, url, token, str(audio)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [(line["event"], line.get("message")) for line in lines]


def test_the_npm_client_transcribes(server: Served, tmp_path: Path) -> None:
    events = run_npm_client(server, tmp_path, "SpeechTranscription")
    names = [name for name, _ in events]
    assert names[0] == "started"
    assert names.index("begin") < names.index("changed") < names.index("end") < names.index("completed")
    (end,) = (message for name, message in events if name == "end")
    assert end["payload"]["result"] == WEATHER.text
    assert {message["header"]["task_id"] for _, message in events if message} == {end["header"]["task_id"]}


def test_the_npm_client_recognises(server: Served, tmp_path: Path) -> None:
    events = dict(run_npm_client(server, tmp_path, "SpeechRecognition"))
    assert {"started", "changed", "completed"} <= events.keys()
    assert events["completed"]["payload"]["result"] == WEATHER.text


def test_the_npm_client_is_told_of_a_wrong_token(server: Served, tmp_path: Path) -> None:
    events = run_npm_client(server, tmp_path, "SpeechTranscription", token="wrong")
    assert events[-1] == ("error", {"error": "Unexpected server response: 401"})


@contextmanager
def raw(server: Served, *headers: tuple[str, str]) -> Iterator[RawClient]:
    host, _, port = urlsplit(server.url).netloc.partition(":")
    client = RawClient(host, int(port), "/ws/v1", headers)
    try:
        yield client
    finally:
        client.close()


def test_a_client_that_doubles_the_handshake_headers_is_served(server: Served) -> None:
    """As Alibaba Cloud's Python SDK does: its own WebSocket code adds headers that are there already."""
    first, second = "dGhlIHNhbXBsZSBub25jZQ==", "c2Vjb25kIHNhbXBsZSBubw=="
    with raw(server, *handshake(first), *handshake(second), ("X-NLS-Token", KEY)) as client:
        assert client.status == 101
        assert client.headers["sec-websocket-accept"] == expected_accept(first)
        client.send(TEXT, directive("StartTranscription", {"enable_punctuation_prediction": True}).encode())
        assert name_of(client.receive()[1]) == "TranscriptionStarted"
        client.send(PING, b"1")
        assert client.receive() == (PONG, b"1")
        pcm = WEATHER.pcm.tobytes()
        for start in range(0, len(pcm), 640):
            client.send(BINARY, pcm[start : start + 640])
        client.send(TEXT, directive("StopTranscription").encode())
        messages = [json.loads(client.receive()[1])]
        while messages[-1]["header"]["name"] != "TranscriptionCompleted":
            messages.append(json.loads(client.receive()[1]))
        assert messages[-2]["payload"]["result"] == WEATHER.text
        client.send(CLOSE, b"\x03\xe8")
        assert client.receive()[0] == CLOSE


def test_a_wrong_token_is_refused_in_the_handshake(server: Served) -> None:
    for token in ("wrong", ""):
        with pytest.raises(InvalidStatus) as caught, connect(address(server, token=token)):
            pass
        assert caught.value.response.status_code == 401
        assert json.loads(caught.value.response.body or b"")["status"] == 40000001


# Misuse: each ends cleanly, which nobody_is_harmed checks


def test_text_instead_of_audio(server: Served) -> None:
    assert failure(server, directive("StartTranscription"), "audio" * 1000) == 40000002


def test_a_stop_before_a_start_and_two_starts(server: Served) -> None:
    assert failure(server, directive("StopTranscription")) == 40010005
    assert failure(server, directive("StartTranscription"), directive("StartTranscription")) == 40010005


def test_a_giant_frame(server: Served) -> None:
    with connected(server) as socket:
        socket.send(directive("StartTranscription"))
        socket.recv(timeout=10)
        with suppress(ConnectionClosed):
            socket.send(bytes(17 << 20))
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(timeout=10)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


def test_ten_thousand_tiny_frames(server: Served) -> None:
    pcm = WEATHER.pcm.tobytes()
    assert transcribe(server, pcm, len(pcm) // 10_000) == WEATHER.text


@pytest.mark.parametrize("polite", [True, False])
def test_a_client_that_vanishes_in_the_middle_of_a_sentence(server: Served, polite: bool) -> None:
    with raw(server, *handshake(), ("X-NLS-Token", KEY)) as client:
        client.send(TEXT, directive("StartTranscription", {"enable_intermediate_result": True}).encode())
        client.receive()
        client.send(BINARY, WEATHER.pcm.tobytes()[:40_000])
        while name_of(client.receive()[1]) != "SentenceBegin":
            pass
        assert server.live_sessions() == 1
        if polite:
            client.send(CLOSE, b"\x03\xe8")


def test_two_hundred_idle_connections(server: Served) -> None:
    with ExitStack() as stack:
        sockets = [stack.enter_context(connected(server)) for _ in range(200)]
        assert transcribe(server, WEATHER.pcm.tobytes()) == WEATHER.text
        for socket in sockets:
            assert json.loads(socket.recv(timeout=20))["header"]["status"] == 40000004


def test_a_runner_that_dies_in_the_middle_of_a_sentence_fails_its_session(server: Served) -> None:
    pcm = WEATHER.pcm.tobytes()
    with connected(server) as socket:
        socket.send(directive("StartTranscription", {"enable_intermediate_result": True}))
        socket.send(pcm[:48_000])
        while name_of(socket.recv(timeout=10)) != "TranscriptionResultChanged":
            pass
        server.process_of("ParaformerStreamingRunner").kill()
        socket.send(pcm[48_000:])
        assert receive_to_end(socket)[-1]["header"]["status"] == 50000000
    server.wait_until_ready()
