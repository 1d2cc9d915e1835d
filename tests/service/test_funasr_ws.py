"""FunASR's WebSocket protocol over the real pipeline: what its clients get, in what order, and for bad input."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import prometheus_client
import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from service.errors import RecognitionFailed
from service.inference import Runners
from service.protocols.funasr import live as funasr_ws
from tests.audio_files import wav16
from tests.full_disk import fill
from tests.service.conftest import Serve
from tests.speech import RECORDINGS, Pcm, characters, error_rate, silence

PATH = "/ws/v1/asr/funasr"
WEATHER = RECORDINGS["weather"]
PAUSE = RECORDINGS["long-pause"]
FRAME_BYTES = 1920
END = {"is_speaking": False, "is_end": True}


@pytest.fixture
def client(serve: Serve) -> Iterator[TestClient]:
    with serve() as client:
        yield client


def first(**fields: Any) -> dict[str, Any]:
    return {
        "mode": "2pass",
        "chunk_size": [5, 10, 5],
        "chunk_interval": 10,
        "wav_name": "demo",
        "wav_format": "pcm",
        "audio_fs": 16000,
        "is_speaking": True,
        "hotwords": "",
        "itn": True,
        **fields,
    }


def speak(socket: WebSocketTestSession, audio: Pcm | bytes, **fields: Any) -> list[dict[str, Any]]:
    """One recording, as the Python client sends it; everything that comes back, to the acknowledgement."""
    socket.send_json(first(**fields))
    send(socket, audio)
    socket.send_json(END)
    return received(socket)


def send(socket: WebSocketTestSession, audio: Pcm | bytes) -> None:
    data = audio if isinstance(audio, bytes) else audio.tobytes()
    for start in range(0, len(data), FRAME_BYTES):
        socket.send_bytes(data[start : start + FRAME_BYTES])


def received(socket: WebSocketTestSession) -> list[dict[str, Any]]:
    messages = [socket.receive_json()]
    while not messages[-1].get("is_end"):
        messages.append(socket.receive_json())
    return messages


def shown(messages: list[dict[str, Any]]) -> str:
    """What the Python client has on its screen in the end."""
    settled = open_sentence = ""
    for message in messages:
        if message["mode"] in ("online", "2pass-online"):
            open_sentence += message["text"]
        else:
            open_sentence = ""
            settled += message["text"]
    return settled + open_sentence


def assert_ended_by(socket: WebSocketTestSession, code: int, error: str) -> None:
    message = received(socket)[-1]
    assert message["is_final"] is False
    assert error in message["error"]
    with pytest.raises(WebSocketDisconnect) as caught:
        socket.receive_json()
    assert caught.value.code == code


def live_sessions() -> float:
    value = prometheus_client.REGISTRY.get_sample_value("asr_live_sessions", {"protocol": "funasr_ws"})
    return value or 0.0


# What is said


def test_two_passes_end_in_the_offline_text_with_its_times(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        messages = speak(socket, WEATHER.pcm)
    *results, end = messages
    assert end == {"mode": "2pass", "wav_name": "demo", "text": "", "is_final": True, "is_end": True}
    assert shown(results) == WEATHER.text
    offline = [m for m in results if m["mode"] == "2pass-offline"]
    assert [m["text"] for m in offline] == [WEATHER.text]
    times = json.loads(offline[0]["timestamp"])
    assert len(times) == len(characters(WEATHER.text))
    assert all(start <= end for start, end in times)
    assert [s["text_seg"] for s in offline[0]["stamp_sents"]] == [" ".join(characters(WEATHER.text))]
    assert all(m["is_final"] is False and m["wav_name"] == "demo" for m in results)


@pytest.mark.parametrize("mode", ["2PASS", "Offline"])
def test_what_an_opening_asks_for_without_effect_is_told_at_the_end(client: TestClient, mode: str) -> None:
    with client.websocket_connect(PATH) as socket:
        *_, end = speak(socket, WEATHER.pcm, mode=mode, hotwords="天气 500", wav_name=7, itn="", chunk_size=5)
    assert (end["mode"], end["wav_name"]) == (mode.lower(), "7")
    assert end["warnings"] == ["hotwords: 1 weights are beyond 1 to 100 and count as the nearest."]


def test_online_text_grows_before_the_sentence_ends(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        messages = speak(socket, PAUSE.pcm)
    modes = [m["mode"] for m in messages[:-1]]
    assert modes[0] == "2pass-online"
    assert modes[-1] == "2pass-offline"
    assert modes.count("2pass-offline") == len(PAUSE.sentences)


def test_online_alone_is_deltas_without_marks(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        *results, end = speak(socket, WEATHER.pcm, mode="online")
    assert {m["mode"] for m in results} == {"online"}
    assert end["mode"] == "online"
    assert shown(results) == characters(shown(results))
    assert error_rate(WEATHER.text, shown(results)) <= 0.2


def test_an_offline_recording_is_answered_once(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        result, end = speak(socket, PAUSE.pcm, mode="offline")
    assert result["mode"] == "offline"
    assert error_rate(PAUSE.text, result["text"]) <= 0.05
    assert result["is_final"] is False
    assert len(json.loads(result["timestamp"])) == len(characters(result["text"]))
    assert len(result["stamp_sents"]) >= len(PAUSE.sentences)
    assert end["is_end"] is True


def test_a_client_of_the_offline_server_gets_its_result_and_no_more(client: TestClient) -> None:
    opening = {name: value for name, value in first().items() if name != "mode"}
    with client.websocket_connect(PATH) as socket:
        for _ in range(2):
            socket.send_json(opening)
            send(socket, WEATHER.pcm)
            socket.send_json({"is_speaking": False})
        assert [socket.receive_json()["text"] for _ in range(2)] == [WEATHER.text] * 2


@pytest.mark.parametrize("mode", ["2pass", "offline"])
def test_a_file_is_decoded_whatever_it_is(client: TestClient, mode: str) -> None:
    with client.websocket_connect(PATH) as socket:
        messages = speak(socket, WEATHER.path.read_bytes(), mode=mode, wav_format="others")
    assert shown(messages) == WEATHER.text


def test_a_wav_file_called_pcm_is_read_by_its_header(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        wav = wav16(WEATHER.pcm / 32768, 16_000)
        result, _ = speak(socket, wav, mode="offline", wav_format="PCM", audio_fs=48_000)
    assert result["text"] == WEATHER.text


def test_the_rate_of_pcm_is_the_clients(client: TestClient) -> None:
    slow = np.repeat(WEATHER.pcm, 3)
    with client.websocket_connect(PATH) as socket:
        assert error_rate(WEATHER.text, shown(speak(socket, slow, audio_fs=48_000))) <= 0.2


@pytest.mark.parametrize("mode", ["2pass", "online", "offline"])
@pytest.mark.parametrize("name", [name for name in RECORDINGS if name.startswith("short")])
def test_short_answers_survive(client: TestClient, name: str, mode: str) -> None:
    with client.websocket_connect(PATH) as socket:
        text = shown(speak(socket, RECORDINGS[name].pcm, mode=mode))
    assert characters(text) == characters(RECORDINGS[name].text)


def test_recordings_follow_each_other_on_one_connection(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        for name in ("a", "b", "c"):
            messages = speak(socket, WEATHER.pcm, wav_name=name, mode="offline" if name == "b" else "2pass")
            assert shown(messages) == WEATHER.text
            assert {m["wav_name"] for m in messages} == {name}
    assert live_sessions() == 0


def test_the_next_recording_may_come_before_the_last_result(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        for name in ("a", "b"):
            socket.send_json(first(wav_name=name))
            send(socket, WEATHER.pcm)
            socket.send_json({"is_speaking": False})
        assert {m["wav_name"] for m in received(socket)} == {"a"}
        assert {m["wav_name"] for m in received(socket)} == {"b"}


@pytest.mark.parametrize("mode", ["2pass", "online", "offline"])
@pytest.mark.parametrize("audio", [b"", silence(1).tobytes()], ids=["nothing", "silence"])
def test_nothing_said_is_still_answered(client: TestClient, mode: str, audio: bytes) -> None:
    with client.websocket_connect(PATH) as socket:
        messages = speak(socket, audio, mode=mode)
    assert messages[-1]["is_final"] is True
    assert shown(messages) == ""


def test_an_end_without_a_beginning_is_answered(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        socket.send_json(first(is_speaking=False, wav_name="h5"))
        assert received(socket)[-1]["wav_name"] == "h5"


def test_the_root_speaks_it_too_and_agrees_to_binary(client: TestClient) -> None:
    with client.websocket_connect("/", subprotocols=["binary"]) as socket:
        assert socket.accepted_subprotocol == "binary"
        assert shown(speak(socket, WEATHER.pcm)) == WEATHER.text


# What goes wrong


def garbage(socket: WebSocketTestSession) -> None:
    socket.send_text("hello")


def audio_first(socket: WebSocketTestSession) -> None:
    socket.send_bytes(b"\0" * 1920)


def unknown_mode(socket: WebSocketTestSession) -> None:
    socket.send_json(first(mode="3pass"))


def text_for_audio(socket: WebSocketTestSession) -> None:
    socket.send_json(first())
    socket.send_text("0011")


def no_file(socket: WebSocketTestSession) -> None:
    socket.send_json(first(wav_format="others", mode="offline"))
    socket.send_bytes(b"\x07no audio at all" * 200)
    socket.send_json(END)


def no_stream(socket: WebSocketTestSession) -> None:
    socket.send_json(first(wav_format="mp3"))
    socket.send_bytes(b"\x07no audio at all" * 2000)
    socket.send_json(END)


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (garbage, "JSON"),
        (audio_first, "JSON"),
        (unknown_mode, "mode"),
        (text_for_audio, "JSON object"),
        (no_file, ""),
        (no_stream, ""),
    ],
)
def test_what_is_wrong_is_said_and_ends_the_connection(
    client: TestClient, act: Callable[[WebSocketTestSession], None], error: str
) -> None:
    with client.websocket_connect(PATH) as socket:
        act(socket)
        assert_ended_by(socket, 1008, error)
    assert live_sessions() == 0


def test_silence_on_the_line_ends_the_sentence_and_not_the_session(serve: Serve) -> None:
    with serve(live_idle_timeout_sec=0.2) as client, client.websocket_connect(PATH) as socket:
        socket.send_json(first())
        for _ in range(2):
            send(socket, WEATHER.pcm[: round(16_000 * WEATHER.sentences[0].end_s)])  # no silence that would end it
            while (message := socket.receive_json())["mode"] != "2pass-offline":
                pass
            assert message["text"] == WEATHER.text
        second_ms = json.loads(message["timestamp"])[0][0]
        assert second_ms > 1000 * WEATHER.sentences[0].end_s
        socket.send_json(END)
        assert received(socket)[-1]["is_final"] is True


@pytest.mark.parametrize(
    "meanwhile", [first(), first(hotwords="天气"), {}, {"type": "ping"}], ids=["again", "hotwords", "nothing", "ping"]
)
def test_what_changes_nothing_is_ignored(client: TestClient, meanwhile: dict[str, Any]) -> None:
    half = len(WEATHER.pcm) // 2
    with client.websocket_connect(PATH) as socket:
        for _ in range(2):
            socket.send_json(first())
            send(socket, WEATHER.pcm[:half])
            socket.send_json(meanwhile)
            send(socket, WEATHER.pcm[half:])
            socket.send_json(END)
            send(socket, WEATHER.pcm)  # audio after the end
            socket.send_json({"type": "ping"})
            assert shown(received(socket)) == WEATHER.text


@pytest.mark.parametrize("wrong", ["0011", "[]"])
def test_what_was_said_is_told_before_what_is_wrong(client: TestClient, wrong: str) -> None:
    with client.websocket_connect(PATH) as socket:
        socket.send_json(first())
        send(socket, WEATHER.pcm[: round(16_000 * WEATHER.sentences[0].end_s)])
        socket.send_text(wrong)
        *results, end = received(socket)
    assert shown(results) == WEATHER.text
    assert "JSON object" in end["error"]


def test_an_end_that_follows_a_failure_has_the_warnings(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        socket.send_json(first(hotwords="天气 500 ＊＊ 20"))
        send(socket, WEATHER.pcm)
        socket.send_text("[]")
        *_, end = received(socket)
    assert end["error"]
    assert [warning.partition(" ")[0] for warning in end["warnings"]] == ["hotwords:", "Hotwords"]


def test_a_failure_between_recordings_has_no_warnings(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        assert speak(socket, WEATHER.pcm, hotwords="天气 500")[-1]["warnings"]
        socket.send_text("[]")
        *_, end = received(socket)
    assert end["error"]
    assert "warnings" not in end


def test_a_connection_between_recordings_does_not_wait_for_ever(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(funasr_ws, "LONGEST_REST_S", 0.1)
    with client.websocket_connect(PATH) as socket:
        speak(socket, b"")
        assert_ended_by(socket, 1008, "Nothing has come")


def test_models_that_are_loading_are_said_to_be(serve: Serve) -> None:
    with serve(ready=False) as client:
        for mode in ("2pass", "offline"):
            with client.websocket_connect(PATH) as socket:
                socket.send_json(first(mode=mode))
                assert_ended_by(socket, 1013, "loading")


def test_one_session_too_many_is_refused(serve: Serve) -> None:
    with serve(max_live_sessions=1) as client, client.websocket_connect(PATH) as one:
        one.send_json(first())
        send(one, WEATHER.pcm[:16000])
        with client.websocket_connect(PATH) as another:
            another.send_json(first())
            assert_ended_by(another, 1013, "live sessions")
        send(one, WEATHER.pcm[16000:])
        one.send_json(END)
        assert shown(received(one)) == WEATHER.text


def test_a_recording_that_is_being_spoken_counts_as_a_session(serve: Serve) -> None:
    with serve(max_live_sessions=1) as client, client.websocket_connect(PATH) as one:
        one.send_json(first(mode="offline"))
        send(one, WEATHER.pcm)
        with client.websocket_connect(PATH) as another:
            another.send_json(first(mode="offline"))
            assert_ended_by(another, 1013, "live sessions")
        one.send_json(END)
        assert shown(received(one)) == WEATHER.text


def test_connections_that_have_not_said_a_word_are_bounded(serve: Serve) -> None:
    with serve(max_live_sessions=1) as client:
        with client.websocket_connect(PATH), client.websocket_connect(PATH):
            with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(PATH):
                pass
            assert refused.value.status_code == 429
        with client.websocket_connect(PATH) as socket:
            speak(socket, WEATHER.pcm)


@pytest.mark.parametrize("mode", ["2pass", "offline"])
def test_a_recognition_that_fails_is_told(client: TestClient, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise RecognitionFailed("the recogniser has failed")

    monkeypatch.setattr(Runners, "recognise", fail)
    with client.websocket_connect(PATH) as socket:
        socket.send_json(first(mode=mode))
        send(socket, WEATHER.pcm)
        socket.send_json(END)
        assert_ended_by(socket, 1011, "the recogniser has failed")
    assert live_sessions() == 0


@pytest.mark.parametrize("mode", ["2pass", "offline"])
def test_a_client_that_vanishes_leaves_nothing_behind(client: TestClient, mode: str) -> None:
    with client.websocket_connect(PATH) as socket:
        socket.send_json(first(mode=mode))
        send(socket, WEATHER.pcm)
    assert live_sessions() == 0


def test_too_large_a_file_is_refused_as_it_comes(serve: Serve) -> None:
    with serve(max_audio_size="10KB") as client, client.websocket_connect(PATH) as socket:
        socket.send_json(first(mode="offline"))
        send(socket, WEATHER.pcm)
        assert_ended_by(socket, 1008, "larger")


def test_a_full_disk_is_told_as_such(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch)
    with client.websocket_connect(PATH) as socket:
        socket.send_json(first(mode="offline"))
        send(socket, WEATHER.pcm)
        socket.send_json(END)
        assert_ended_by(socket, 1013, "no room")


def test_no_text_is_logged(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), client.websocket_connect(PATH) as socket:
        speak(socket, WEATHER.pcm)
    assert "天气" not in caplog.text
