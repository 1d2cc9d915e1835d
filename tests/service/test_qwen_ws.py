"""Qwen3-ASR's streaming protocol over the real pipeline and network: what its clients get, and for bad input."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import soxr
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from service.errors import RecognitionFailed
from service.inference import Runners
from tests.audio_files import wav16
from tests.engines import qwen3_runner
from tests.service.conftest import Serve
from tests.speech import RECORDINGS, Pcm, characters, error_rate, silence

PATH = "/ws/v1/asr/qwen"
WEATHER = RECORDINGS["weather"]
FRAME_BYTES = 6400
Messages = list[dict[str, Any]]


@pytest.fixture
def client(serve: Serve) -> Iterator[TestClient]:
    with serve() as client:
        yield client


def start(**payload: Any) -> dict[str, Any]:
    return {"type": "start", "payload": {"chunk_size_sec": 0.6, **payload}}


def send(socket: WebSocketTestSession, audio: Pcm | bytes) -> None:
    data = audio if isinstance(audio, bytes) else audio.tobytes()
    for at in range(0, len(data), FRAME_BYTES):
        socket.send_bytes(data[at : at + FRAME_BYTES])


def received(socket: WebSocketTestSession, last: str = "final") -> Messages:
    messages = [socket.receive_json()]
    while messages[-1]["type"] != last:
        messages.append(socket.receive_json())
    return messages


def speak(socket: WebSocketTestSession, audio: Pcm | bytes, **payload: Any) -> Messages:
    """One session; everything that comes back, to its final."""
    socket.send_json(start(**payload))
    send(socket, audio)
    socket.send_json({"type": "stop"})
    return received(socket)


def kinds(messages: Messages) -> list[str]:
    """The types in their order, results that follow one another once."""
    found = [message["type"] for message in messages]
    return [kind for i, kind in enumerate(found) if kind != "result" or found[i - 1] != "result"]


def assert_ended_by(socket: WebSocketTestSession, code: str, message: str) -> None:
    said = received(socket, "error")[-1]
    assert said["error_code"] == code
    assert message in said["message"]
    assert said["task_id"]
    with pytest.raises(WebSocketDisconnect):
        socket.receive_json()


def said(name: str) -> str:
    return characters(RECORDINGS[name].text)


# What is said


def test_a_session_is_its_start_its_results_and_its_final(client: TestClient) -> None:
    with client.websocket_connect(f"{PATH}?task_id=mine") as socket:
        messages = speak(socket, WEATHER.pcm)
    assert kinds(messages)[0] == "started"
    assert {message["task_id"] for message in messages} == {"mine"}
    assert messages[0]["params"]["chunk_size_sec"] == 0.6
    assert messages[0]["params"]["model"] == "qwen3-asr-demo"
    final = messages[-1]["result"]
    assert characters(final["full_text"]) == said("weather")
    assert final["text"] == final["full_text"]
    assert (final["language"], final["total_segments"]) == ("zh", 1)
    (segment,) = final["segments"]
    assert (segment["index"], segment["reason"]) == (0, "stop")
    assert "words" not in segment


def test_two_seconds_of_silence_end_a_segment_and_the_next_one_starts(client: TestClient) -> None:
    audio = np.concatenate([WEATHER.pcm, silence(2.5), RECORDINGS["home"].pcm])
    with client.websocket_connect(PATH) as socket:
        messages = speak(socket, audio)
    order = [kind for kind in kinds(messages) if kind != "result"]
    assert order == ["started", "segment_end", "segment_start", "final"]
    end = next(message for message in messages if message["type"] == "segment_end")
    assert (end["segment_index"], end["reason"]) == (0, "silence")
    assert end["confirmed_texts"] == [end["result"]["segment_text"]]
    final = messages[-1]["result"]
    assert [segment["reason"] for segment in final["segments"]] == ["silence", "stop"]
    assert final["full_text"] == "\n".join(segment["text"] for segment in final["segments"])
    assert characters(final["full_text"]) == said("weather") + said("home")


def test_a_long_breath_ends_no_segment(client: TestClient) -> None:
    audio = np.concatenate([WEATHER.pcm, silence(0.7), RECORDINGS["home"].pcm])
    with client.websocket_connect(PATH) as socket:
        final = speak(socket, audio)[-1]["result"]
    assert final["total_segments"] == 1
    assert characters(final["text"]) == said("weather") + said("home")


@pytest.mark.parametrize("name", ["short-0", "short-1", "short-2", "short-3", "short-4"])
def test_the_shortest_words_are_not_lost(client: TestClient, name: str) -> None:
    with client.websocket_connect(PATH) as socket:
        final = speak(socket, RECORDINGS[name].pcm)[-1]["result"]
    assert characters(final["text"]) == said(name)


def test_a_minute_without_a_pause_ends_a_segment_and_loses_nothing(client: TestClient) -> None:
    speech = [r for name, r in RECORDINGS.items() if re.match(r"sentence|weather|home|meeting|service", name)]
    pieces = [r.pcm[int(s.start_s * 16_000) : int(s.end_s * 16_000)] for r in speech for s in r.sentences]
    texts = [characters(s.text) for r in speech for s in r.sentences]
    repeat = -(-65 * 16_000 // sum(map(len, pieces)))
    with client.websocket_connect(PATH) as socket:
        final = speak(socket, np.concatenate(pieces * repeat), chunk_size_sec=4)[-1]["result"]
    reasons = [segment["reason"] for segment in final["segments"]]
    assert "max_duration" in reasons[:-1]
    assert error_rate("".join(texts * repeat), characters(final["text"])) < 0.1


def test_what_two_partials_agree_on_stays_but_for_its_last_tokens(client: TestClient) -> None:
    unfixed = 3
    with client.websocket_connect(PATH) as socket:
        socket.send_json(start(chunk_size_sec=0.4, unfixed_chunk_num=1, unfixed_token_num=unfixed))
        pcm = RECORDINGS["dialogue"].pcm[: 8 * 16_000]
        for at in range(0, len(pcm), 6400):
            send(socket, pcm[at : at + 6400])
            time.sleep(0.1)  # a step is skipped while the last one runs
        socket.send_json({"type": "stop"})
        messages = received(socket)
    results = [message["results"][0] for message in messages if message["type"] == "result"]
    assert all(result["is_partial"] for result in results)
    assert [result["chunk_id"] for result in results] == list(range(len(results)))
    texts = [result["text"] for result in results]  # a token is a letter
    assert len(texts) > 5
    for before, now, after in zip(texts, texts[1:], texts[2:], strict=False):
        agreed = [a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, now, strict=False))]
        assert after.startswith("".join(agreed[: max(0, len(now) - unfixed)]))


def test_words_have_times_where_they_are_asked_for(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        final = speak(socket, WEATHER.pcm, word_timestamps=True)[-1]["result"]
    words = final["segments"][0]["words"]
    assert "".join(word["text"] for word in words) == said("weather")
    (sentence,) = WEATHER.sentences
    assert words[0]["start_time"] == pytest.approx(sentence.start_s, abs=0.2)
    assert words[-1]["end_time"] == pytest.approx(sentence.end_s, abs=0.2)
    assert all(a["end_time"] <= b["start_time"] for a, b in itertools.pairwise(words))


def test_silence_has_no_segment(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        messages = speak(socket, silence(3))
    assert [message["type"] for message in messages] == ["started", "final"]
    assert messages[-1]["result"] == {
        "text": "",
        "full_text": "",
        "language": "",
        "total_chunks": 0,
        "total_segments": 0,
        "segments": [],
    }


def test_one_connection_has_one_session_after_the_other(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        first = speak(socket, WEATHER.pcm)[-1]["result"]
        second = speak(socket, RECORDINGS["home"].pcm)[-1]["result"]
    assert [characters(first["text"]), characters(second["text"])] == [said("weather"), said("home")]
    assert second["segments"][0]["index"] == 0


@pytest.mark.parametrize("rate", [8000, 48_000])
def test_other_rates_and_containers_are_understood(client: TestClient, rate: int) -> None:
    audio = soxr.resample(WEATHER.pcm, 16_000, rate)
    with client.websocket_connect(PATH) as socket:
        final = speak(socket, audio, sample_rate=rate)[-1]["result"]
        inside = speak(socket, wav16(WEATHER.pcm / 32768), format="wav")[-1]["result"]
    assert error_rate(said("weather"), characters(final["text"])) < 0.2
    assert characters(inside["text"]) == said("weather")


def test_the_language_may_be_given_by_name_or_code(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        for language in ("Chinese", "zh", "auto", None):
            final = speak(socket, WEATHER.pcm, language=language)[-1]["result"]
            assert final["language"] == "zh"


def test_a_context_is_taken(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        final = speak(socket, WEATHER.pcm, context="天气 会议")[-1]["result"]
    assert characters(final["text"]) == said("weather")


def test_a_context_of_more_than_the_model_reads_is_cut_and_told(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        final = speak(socket, WEATHER.pcm, context="天气 会议 北京 上海 " * 300)[-1]["result"]
    assert characters(final["text"]) == said("weather")
    assert final["warnings"] == ["Of prompt and hotwords only the first 36 characters count with qwen3-asr-demo."]


def test_words_that_the_aligner_did_not_find_are_told(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def timestamps(_: Pcm, units: Sequence[str]) -> list[int]:
        return [0] * 2 * len(units)

    monkeypatch.setattr(qwen3_runner()._engines["qwen3-asr-demo"].backend, "timestamps", timestamps)
    with client.websocket_connect(PATH) as socket:
        for asked in (True, False):
            final = speak(socket, WEATHER.pcm, word_timestamps=asked)[-1]["result"]
            assert characters(final["text"]) == said("weather")
            told = ["Some words have no times: qwen3-asr-demo did not find them in the audio."]
            assert final.get("warnings", []) == (told if asked else [])


def test_what_a_start_asks_for_without_effect_is_told_by_the_final(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        socket.send_json({"type": "Start", "payload": {"language": "四川话", "unfixed_token_num": -1}})
        send(socket, WEATHER.pcm)
        socket.send_json({"type": "STOP"})
        messages = received(socket)
    assert messages[0]["params"]["language"] == "zh"
    warnings = messages[-1]["result"]["warnings"]
    assert [warning.partition(":")[0] for warning in warnings] == ["language", "unfixed_token_num"]


# Bad input


@pytest.mark.parametrize(
    ("payload", "code", "message"),
    [
        ({"format": "tape"}, "INVALID_PARAMETER", "format"),
        ({"sample_rate": 0}, "INVALID_PARAMETER", "sample_rate"),
        ({"chunk_size_sec": "many"}, "INVALID_PARAMETER", "chunk_size_sec"),
        ({"language": "Klingon"}, "INVALID_PARAMETER", "Klingon"),
        ({"model": "paraformer-demo"}, "INVALID_PARAMETER", "paraformer-demo"),
    ],
)
def test_a_wrong_start_is_refused(client: TestClient, payload: dict[str, Any], code: str, message: str) -> None:
    with client.websocket_connect(PATH) as socket:
        socket.send_json({"type": "start", "payload": payload})
        assert_ended_by(socket, code, message)


@pytest.mark.parametrize("text", ["hello", "[]", '{"type": "begin"}', '{"type": "start", "payload": 3}'])
def test_a_message_that_is_none_is_refused(client: TestClient, text: str) -> None:
    with client.websocket_connect(PATH) as socket:
        socket.send_text(text)
        assert_ended_by(socket, "INVALID_MESSAGE", "message of the protocol")


def test_audio_or_a_stop_before_a_start_is_a_wrong_state(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        socket.send_bytes(bytes(640))
        assert_ended_by(socket, "INVALID_STATE", "before a start")
    with client.websocket_connect(PATH) as socket:
        socket.send_json({"type": "stop"})
        assert_ended_by(socket, "INVALID_STATE", "no session")


def test_a_second_start_is_a_wrong_state(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        socket.send_json(start())
        socket.send_json(start())
        assert_ended_by(socket, "INVALID_STATE", "under way")


def test_a_missing_key_is_told_in_the_protocols_form(serve: Serve) -> None:
    with serve(api_key="secret") as client:
        with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect(PATH):
            pass
        assert isinstance(caught.value, WebSocketDenialResponse)
        assert caught.value.status_code == 401
        assert caught.value.json()["error_code"] == "AUTHENTICATION_FAILED"
        with client.websocket_connect(f"{PATH}?token=secret") as socket:
            assert speak(socket, silence(0.5))[-1]["type"] == "final"


def test_a_recogniser_that_fails_ends_the_session_with_an_error(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> Any:
        raise RecognitionFailed("out of memory")

    monkeypatch.setattr(Runners, "stream", fail)
    with client.websocket_connect(PATH) as socket:
        socket.send_json(start())
        send(socket, WEATHER.pcm)
        assert_ended_by(socket, "DEFAULT_SERVER_ERROR", "")


def test_what_was_said_is_told_before_what_is_wrong(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        socket.send_json(start())
        send(socket, WEATHER.pcm)
        socket.send_json(start())
        messages = received(socket, "error")
    assert messages[-2]["result"]["full_text"] == WEATHER.text
    assert messages[-1]["error_code"] == "INVALID_STATE"


def test_silence_on_the_line_ends_a_segment_and_not_the_session(serve: Serve) -> None:
    pcm = WEATHER.pcm[: round(16_000 * WEATHER.sentences[0].end_s)]  # no silence that would end it
    with serve(live_idle_timeout_sec=0.2) as client, client.websocket_connect(PATH) as socket:
        socket.send_json(start())
        for _ in range(2):
            send(socket, pcm)
            assert received(socket, "segment_start")
        socket.send_json({"type": "ping"})
        socket.send_json({"type": "stop"})
        socket.send_json({"type": "stop"})
        final = received(socket)[-1]["result"]
    assert characters(final["full_text"]) == characters(WEATHER.text) * 2
