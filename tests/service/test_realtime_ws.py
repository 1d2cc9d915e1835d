"""OpenAI's Realtime transcription over the real pipeline: events in their order, and what bad events get."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import prometheus_client
import pytest
import soundfile
import soxr
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from service.errors import RecognitionFailed
from service.inference import Runners
from service.protocols.openai import realtime as realtime_ws
from tests.service.conftest import Serve
from tests.speech import RECORDINGS, Pcm, characters, error_rate, silence

PATH = "/v1/realtime?intent=transcription"
RATE_HZ = 24_000
WEATHER = RECORDINGS["weather"]
PAUSE = RECORDINGS["long-pause"]
TRANSCRIPTION = "conversation.item.input_audio_transcription."
SDK = TypeAdapter(RealtimeServerEvent)
Event = dict[str, Any]


@pytest.fixture
def client(serve: Serve) -> Iterator[TestClient]:
    with serve() as client:
        yield client


@pytest.fixture
def socket(client: TestClient) -> Iterator[WebSocketTestSession]:
    """A connection that has been greeted."""
    with client.websocket_connect(PATH) as socket:
        assert receive(socket)["type"] == "session.created"
        yield socket


def receive(socket: WebSocketTestSession) -> Event:
    """The next event, which the SDK's types must be able to read."""
    event = socket.receive_json()
    if not event["type"].startswith("transcription_session"):  # of an earlier SDK
        SDK.validate_python(event)
    return event  # type: ignore[no-any-return]


def receive_until(socket: WebSocketTestSession, kind: str) -> list[Event]:
    events = [receive(socket)]
    while events[-1]["type"] != kind:
        assert events[-1]["type"] != "error", events[-1]
        events.append(receive(socket))
    return events


def update(socket: WebSocketTestSession, **input: Any) -> Event:
    session = {"type": "transcription", "audio": {"input": input}}
    socket.send_json({"type": "session.update", "event_id": "update", "session": session})
    return receive(socket)


def append(socket: WebSocketTestSession, data: bytes, frame_bytes: int = 4800) -> None:
    for start in range(0, len(data), frame_bytes):
        audio = base64.b64encode(data[start : start + frame_bytes]).decode()
        socket.send_json({"type": "input_audio_buffer.append", "audio": audio})


def at_24_khz(*parts: Pcm) -> bytes:
    return np.asarray(soxr.resample(np.concatenate(parts), 16_000, RATE_HZ), np.int16).tobytes()


def commit(socket: WebSocketTestSession) -> None:
    socket.send_json({"type": "input_audio_buffer.commit", "event_id": "commit"})


def transcripts(events: list[Event]) -> list[str]:
    return [e["transcript"] for e in events if e["type"] == f"{TRANSCRIPTION}completed"]


def assert_error(event: Event, event_id: str | None, code: str, param: str | None = None) -> None:
    assert event["type"] == "error", event
    assert event["error"]["event_id"] == event_id
    assert (event["error"]["code"], event["error"]["param"]) == (code, param)
    assert event["error"]["message"]


def live_sessions() -> float:
    value = prometheus_client.REGISTRY.get_sample_value("asr_live_sessions", {"protocol": "openai_realtime"})
    return value or 0.0


# What is said


def test_a_new_session_tells_what_holds(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        session = receive(socket)["session"]
    assert session["type"] == "transcription"
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": RATE_HZ}
    assert session["audio"]["input"]["transcription"]["model"] == "paraformer-demo"
    assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"


def test_the_server_finds_where_a_turn_ends(socket: WebSocketTestSession) -> None:
    update(socket, transcription={"model": "whisper-1", "language": "zh"})
    append(socket, at_24_khz(WEATHER.pcm, silence(2)))
    events = receive_until(socket, f"{TRANSCRIPTION}completed")
    kinds = list(dict.fromkeys(e["type"] for e in events))
    assert kinds == [
        "input_audio_buffer.speech_started",
        f"{TRANSCRIPTION}delta",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{TRANSCRIPTION}completed",
    ]
    assert len({e.get("item_id") or e["item"]["id"] for e in events}) == 1
    assert events[-1]["transcript"] == WEATHER.text
    sentence = WEATHER.sentences[0]
    started, stopped = events[0], next(e for e in events if e["type"].endswith("speech_stopped"))
    assert started["audio_start_ms"] == pytest.approx(max(0, 1000 * sentence.start_s - 300), abs=150)
    assert stopped["audio_end_ms"] == pytest.approx(1000 * sentence.end_s + 500, abs=150)
    assert events[-1]["usage"]["seconds"] == pytest.approx(sentence.end_s - sentence.start_s, abs=0.3)


def test_deltas_are_appended_and_the_transcript_replaces_them(socket: WebSocketTestSession) -> None:
    append(socket, at_24_khz(WEATHER.pcm, silence(1)))
    events = receive_until(socket, f"{TRANSCRIPTION}completed")
    deltas = "".join(e["delta"] for e in events if e["type"] == f"{TRANSCRIPTION}delta")
    assert error_rate(WEATHER.text, deltas) <= 0.2
    assert all(e["content_index"] == 0 for e in events if e["type"].startswith(TRANSCRIPTION))


def test_turns_follow_each_other(socket: WebSocketTestSession) -> None:
    append(socket, at_24_khz(PAUSE.pcm, silence(1)))
    events = [e for _ in PAUSE.sentences for e in receive_until(socket, f"{TRANSCRIPTION}completed")]
    assert error_rate(PAUSE.text, "".join(transcripts(events))) <= 0.05
    committed = [e for e in events if e["type"] == "input_audio_buffer.committed"]
    assert [e["previous_item_id"] for e in committed] == [None, *(e["item_id"] for e in committed[:-1])]


def test_without_turn_detection_the_client_commits(socket: WebSocketTestSession) -> None:
    assert update(socket, turn_detection=None)["session"]["audio"]["input"]["turn_detection"] is None
    for _ in range(2):
        append(socket, at_24_khz(PAUSE.pcm))
        commit(socket)
        events = receive_until(socket, f"{TRANSCRIPTION}completed")
        assert not [e for e in events if "speech_" in e["type"]]
        assert len(transcripts(events)) == 1
        assert error_rate(PAUSE.text, events[-1]["transcript"]) <= 0.05
        assert events[-1]["usage"]["seconds"] == pytest.approx(PAUSE.duration_s, abs=0.1)
    assert live_sessions() == 0


class ImpatientOnce:
    """An idle clock that runs out when two frames have come, and never again."""

    frames = 0

    def __init__(self, limit_s: float) -> None: ...

    def restart(self) -> None:
        ImpatientOnce.frames += 1

    @property
    def left_s(self) -> float:
        return 0 if ImpatientOnce.frames == 2 else 60


def test_a_pause_before_the_commit_loses_nothing(socket: WebSocketTestSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime_ws, "IdleClock", ImpatientOnce)
    update(socket, turn_detection=None)
    audio = at_24_khz(PAUSE.pcm)
    append(socket, audio, len(audio) // 4 + 2)
    commit(socket)
    events = receive_until(socket, f"{TRANSCRIPTION}completed")
    assert ImpatientOnce.frames == 4
    assert error_rate(PAUSE.text, events[-1]["transcript"]) <= 0.1
    assert len({e.get("item_id") or e["item"]["id"] for e in events}) == 1


def test_a_commit_ends_a_turn_that_is_being_spoken(socket: WebSocketTestSession) -> None:
    append(socket, at_24_khz(WEATHER.pcm))
    commit(socket)
    events = receive_until(socket, f"{TRANSCRIPTION}completed")
    assert transcripts(events) == [WEATHER.text]
    append(socket, at_24_khz(WEATHER.pcm, silence(1)))
    again = receive_until(socket, f"{TRANSCRIPTION}completed")
    assert transcripts(again) == [WEATHER.text]
    assert again[0]["audio_start_ms"] >= 1000 * WEATHER.duration_s - 350


def test_cleared_audio_is_forgotten(socket: WebSocketTestSession) -> None:
    update(socket, turn_detection=None)
    append(socket, at_24_khz(PAUSE.pcm))
    socket.send_json({"type": "input_audio_buffer.clear"})
    receive_until(socket, "input_audio_buffer.cleared")
    commit(socket)
    assert_error(receive(socket), "commit", "input_audio_buffer_commit_empty")
    append(socket, at_24_khz(WEATHER.pcm))
    commit(socket)
    assert transcripts(receive_until(socket, f"{TRANSCRIPTION}completed")) == [WEATHER.text]


def test_a_sentence_that_is_cleared_while_it_is_spoken_gets_no_transcript(socket: WebSocketTestSession) -> None:
    append(socket, at_24_khz(WEATHER.pcm[:32_000]))
    receive_until(socket, f"{TRANSCRIPTION}delta")
    socket.send_json({"type": "input_audio_buffer.clear"})
    assert transcripts(receive_until(socket, "input_audio_buffer.cleared")) == []
    append(socket, at_24_khz(WEATHER.pcm))
    commit(socket)
    assert transcripts(receive_until(socket, f"{TRANSCRIPTION}completed")) == [WEATHER.text]


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
def test_telephone_audio(socket: WebSocketTestSession, kind: str) -> None:
    target = io.BytesIO()
    narrow = np.asarray(soxr.resample(WEATHER.pcm, 16_000, 8000), np.int16)
    subtype = "ULAW" if kind == "audio/pcmu" else "ALAW"
    soundfile.write(target, narrow, 8000, format="RAW", subtype=subtype)
    assert update(socket, format={"type": kind})["session"]["audio"]["input"]["format"] == {"type": kind}
    append(socket, target.getvalue(), 1600)
    commit(socket)
    text = receive_until(socket, f"{TRANSCRIPTION}completed")[-1]["transcript"]
    assert error_rate(WEATHER.text, text) <= 0.3


@pytest.mark.parametrize("detection", [None, {"type": "server_vad"}])
@pytest.mark.parametrize("name", [name for name in RECORDINGS if name.startswith("short")])
def test_short_answers_survive(socket: WebSocketTestSession, name: str, detection: dict[str, Any] | None) -> None:
    update(socket, turn_detection=detection)
    append(socket, at_24_khz(RECORDINGS[name].pcm))
    commit(socket)
    assert transcripts(receive_until(socket, f"{TRANSCRIPTION}completed")) == [RECORDINGS[name].text]


def test_log_probabilities_of_the_words(socket: WebSocketTestSession) -> None:
    session = {"type": "transcription", "include": ["item.input_audio_transcription.logprobs"]}
    socket.send_json({"type": "session.update", "session": session})
    receive(socket)
    append(socket, at_24_khz(WEATHER.pcm))
    commit(socket)
    completed = receive_until(socket, f"{TRANSCRIPTION}completed")[-1]
    assert "".join(p["token"] for p in completed["logprobs"]) == characters(WEATHER.text)


def test_the_earlier_dialect_is_answered_in_kind(socket: WebSocketTestSession) -> None:
    session = {"input_audio_transcription": {"model": "gpt-4o-transcribe"}, "turn_detection": None}
    socket.send_json({"type": "transcription_session.update", "session": session})
    answer = receive(socket)
    assert answer["type"] == "transcription_session.updated"
    assert answer["session"]["input_audio_format"] == "pcm16"
    append(socket, at_24_khz(WEATHER.pcm))
    commit(socket)
    kinds = [e["type"] for e in receive_until(socket, f"{TRANSCRIPTION}completed")]
    assert "conversation.item.created" in kinds
    assert "conversation.item.added" not in kinds


def test_settings_may_change_between_and_within_turns(socket: WebSocketTestSession) -> None:
    for silence_ms in (400, 900):
        answer = update(socket, turn_detection={"type": "server_vad", "silence_duration_ms": silence_ms})
        assert answer["session"]["audio"]["input"]["turn_detection"]["silence_duration_ms"] == silence_ms
    append(socket, at_24_khz(WEATHER.pcm))
    changed = {"audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 500}}}}
    socket.send_json({"type": "session.update", "session": {"type": "transcription", **changed}})
    events = receive_until(socket, "session.updated")
    assert transcripts(events) == [WEATHER.text]


def test_a_browser_offers_its_key_as_a_subprotocol(serve: Serve) -> None:
    offered = ["realtime", "openai-insecure-api-key.a-key", "openai-beta.realtime-v1"]
    with serve(api_key="a-key") as client, client.websocket_connect(PATH, subprotocols=offered) as socket:
        assert socket.accepted_subprotocol == "realtime"


# What goes wrong


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_without_a_key_nobody_comes_in(serve: Serve, headers: dict[str, str]) -> None:
    with serve(api_key="a-key") as client:
        with pytest.raises(Exception) as caught, client.websocket_connect(PATH, headers=headers):
            pass
        assert getattr(caught.value, "status_code", 403) in (401, 403)
        for way in ({"headers": {"Authorization": "Bearer a-key"}}, {}):
            query = "" if way else "&token=a-key"
            with client.websocket_connect(PATH + query, **way) as socket:
                assert receive(socket)["type"] == "session.created"


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("hello", "invalid_value", None),
        ('{"type":"response.create","event_id":"e"}', "invalid_value", "type"),
        ('{"type":"input_audio_buffer.append","audio":"no base64!","event_id":"e"}', "invalid_value", "audio"),
        ('{"type":"input_audio_buffer.commit","event_id":"e"}', "input_audio_buffer_commit_empty", None),
        ('{"type":"session.update","session":{"type":"realtime"},"event_id":"e"}', "invalid_request", "session.type"),
    ],
)
def test_a_wrong_event_is_answered_and_the_session_goes_on(
    socket: WebSocketTestSession, message: str, code: str, param: str | None
) -> None:
    socket.send_text(message)
    assert_error(receive(socket), "e" if "event_id" in message else None, code, param)
    append(socket, at_24_khz(WEATHER.pcm))
    socket.send_text(message)
    commit(socket)
    events = [receive(socket)]
    while events[-1]["type"] != f"{TRANSCRIPTION}completed":
        events.append(receive(socket))
    assert error_rate(WEATHER.text, "".join(transcripts(events))) == 0
    assert [e["error"]["code"] for e in events if e["type"] == "error"][:1] in ([code], [])


def test_raw_audio_frames_are_refused(socket: WebSocketTestSession) -> None:
    socket.send_bytes(WEATHER.pcm.tobytes())
    assert_error(receive(socket), None, "invalid_value")


def test_an_unknown_model_is_refused(socket: WebSocketTestSession) -> None:
    answer = update(socket, transcription={"model": "no-such"})
    assert_error(answer, "update", "model_not_found", "session.audio.input.transcription.model")


def assert_closed(socket: WebSocketTestSession, code: int) -> None:
    with pytest.raises(WebSocketDisconnect) as caught:
        socket.receive_json()
    assert caught.value.code == code


@pytest.mark.parametrize("query", ["?intent=conversation", "?intent=transcription&model=no-such"])
def test_what_can_not_be_had_is_said_at_once(client: TestClient, query: str) -> None:
    with client.websocket_connect(f"/v1/realtime{query}") as socket:
        assert receive(socket)["type"] == "error"
        assert_closed(socket, 1008)


def test_the_name_of_a_speech_model_in_the_query_means_the_default(client: TestClient) -> None:
    with client.websocket_connect(f"{PATH}&model=gpt-4o-realtime-preview") as socket:
        assert receive(socket)["type"] == "session.created"


def test_an_idle_connection_does_not_wait_for_ever(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime_ws, "_BETWEEN_TURNS_S", 0.1)
    with client.websocket_connect(PATH) as socket:
        receive(socket)
        assert_error(receive(socket), None, "idle")
        assert_closed(socket, 1008)


def test_models_that_are_loading_are_said_to_be(serve: Serve) -> None:
    with serve(ready=False) as client, client.websocket_connect(PATH) as socket:
        receive(socket)
        append(socket, bytes(4800))
        assert_error(receive(socket), None, "not_ready")
        assert_closed(socket, 1013)


def test_one_session_too_many_is_refused(serve: Serve) -> None:
    with serve(max_live_sessions=1) as client, client.websocket_connect(PATH) as one:
        receive(one)
        append(one, at_24_khz(WEATHER.pcm))
        receive(one)
        with client.websocket_connect(PATH) as another:
            receive(another)
            append(another, bytes(4800))
            assert_error(receive(another), None, "queue_full")
            assert_closed(another, 1013)
        commit(one)
        assert transcripts(receive_until(one, f"{TRANSCRIPTION}completed")) == [WEATHER.text]


def test_a_recognition_that_fails_is_told_with_its_item(
    socket: WebSocketTestSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise RecognitionFailed("the recogniser has failed")

    monkeypatch.setattr(Runners, "recognise", fail)
    append(socket, at_24_khz(WEATHER.pcm, silence(1)))
    events = receive_until(socket, f"{TRANSCRIPTION}failed")
    assert events[-1]["item_id"] == events[0]["item_id"]
    assert events[-1]["error"]["code"] == "recognition_failed"
    assert_error(receive(socket), None, "recognition_failed")
    assert_closed(socket, 1011)
    assert live_sessions() == 0


def test_a_client_that_vanishes_leaves_nothing_behind(client: TestClient) -> None:
    with client.websocket_connect(PATH) as socket:
        receive(socket)
        append(socket, at_24_khz(WEATHER.pcm))
        receive(socket)
    assert live_sessions() == 0


def test_no_text_is_logged(socket: WebSocketTestSession, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        append(socket, at_24_khz(WEATHER.pcm))
        commit(socket)
        receive_until(socket, f"{TRANSCRIPTION}completed")
    assert "天气" not in caplog.text


@pytest.mark.parametrize(
    "session",
    [
        {"type": "transcription"},
        {"type": "transcription", "audio": {"input": {"noise_reduction": {"type": "near_field"}}}},
        {"type": "transcription", "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": "high"}}}},
    ],
    ids=["nothing", "noise", "refused"],
)
def test_an_update_that_changes_nothing_of_the_sound_does_not_cut_a_sentence(
    socket: WebSocketTestSession, session: Event
) -> None:
    speech = RECORDINGS["date"]
    audio = at_24_khz(speech.pcm, silence(1.5))
    half = len(audio) // 3 // 2 * 2
    append(socket, audio[:half])
    socket.send_json({"type": "session.update", "session": session})
    append(socket, audio[half:])
    events = [receive(socket)]
    while events[-1]["type"] != f"{TRANSCRIPTION}completed":
        events.append(receive(socket))
    assert characters(events[-1]["transcript"]) == "今天是2026年11月23日"
    assert {"session.updated", "error"} & {event["type"] for event in events}


@pytest.mark.parametrize("detection", [{"type": "server_vad"}, None])
def test_a_transcript_has_the_warnings(socket: WebSocketTestSession, detection: dict[str, Any] | None) -> None:
    transcription = {"keywords": ["天气", "＊＊"], "prompt": "一 天气"}
    updated = update(socket, turn_detection=detection, transcription=transcription)
    append(socket, at_24_khz(WEATHER.pcm, silence(1.5)))
    if detection is None:
        commit(socket)
    completed = receive_until(socket, f"{TRANSCRIPTION}completed")[-1]
    assert completed["warnings"] == [
        *updated["session"]["warnings"],
        "Hotwords had no effect, as paraformer-demo cannot write them: ＊＊.",
    ]
    update(socket, turn_detection=None, transcription={"keywords": [], "prompt": ""})
    append(socket, at_24_khz(WEATHER.pcm))
    commit(socket)
    assert "warnings" not in receive_until(socket, f"{TRANSCRIPTION}completed")[-1]


def test_a_prompt_of_more_than_the_model_reads_is_cut_and_told(socket: WebSocketTestSession) -> None:
    transcription = {"model": "qwen3-asr-demo", "prompt": "天气 会议 北京 上海 " * 300}
    warning = "Of prompt and hotwords only the first 36 characters count with qwen3-asr-demo."
    assert warning in update(socket, transcription=transcription, turn_detection=None)["session"]["warnings"]
    append(socket, at_24_khz(WEATHER.pcm))
    commit(socket)
    completed = receive_until(socket, f"{TRANSCRIPTION}completed")[-1]
    assert characters(completed["transcript"]) == characters(WEATHER.text)
    assert completed["warnings"] == [warning]
