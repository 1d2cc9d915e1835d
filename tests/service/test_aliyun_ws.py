"""Alibaba Cloud's live protocol over the real models: what is said comes back, and every misuse ends cleanly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import prometheus_client
import pytest
import soxr
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from tests.aliyun_directives import TASK_ID, directive
from tests.audio_files import Encoding, encode, wav16
from tests.service.conftest import Serve
from tests.speech import RECORDINGS, Pcm, characters, error_rate, silence

PATH = "/ws/v1/asr"
WEATHER = RECORDINGS["weather"]
DIALOGUE = RECORDINGS["dialogue"]
ALL = {
    "enable_intermediate_result": True,
    "enable_punctuation_prediction": True,
    "enable_inverse_text_normalization": True,
    "enable_words": True,
}
Message = dict[str, Any]


def gauge() -> float:
    return prometheus_client.REGISTRY.get_sample_value("asr_live_sessions", {"protocol": "aliyun_ws"}) or 0


def requests(outcome: str) -> float:
    labels = {"protocol": "aliyun_ws", "outcome": outcome}
    return prometheus_client.REGISTRY.get_sample_value("asr_requests_total", labels) or 0


@pytest.fixture(autouse=True)
def no_session_left() -> Iterator[None]:
    yield
    assert gauge() == 0


class Client:
    """A client's side of one connection."""

    def __init__(self, socket: WebSocketTestSession, namespace: str = "SpeechTranscriber") -> None:
        self.socket = socket
        self.namespace = namespace
        self.verb = {"SpeechTranscriber": "Transcription", "SpeechRecognizer": "Recognition"}[namespace]

    def direct(self, name: str, payload: Message | None = None, task_id: str = TASK_ID) -> None:
        self.socket.send_text(directive(name, payload, namespace=self.namespace, task_id=task_id))

    def start(self, **payload: Any) -> None:
        self.direct(f"Start{self.verb}", payload)
        started = self.receive()
        assert started["header"]["name"] == f"{self.verb}Started", started

    def send(self, data: bytes, size: int = 3200) -> None:
        for start in range(0, len(data), size):
            self.socket.send_bytes(data[start : start + size])

    def stop(self) -> list[Message]:
        """Everything up to the end of the task."""
        self.direct(f"Stop{self.verb}")
        messages = [self.receive()]
        while messages[-1]["header"]["name"] not in (f"{self.verb}Completed", "TaskFailed"):
            messages.append(self.receive())
        return messages

    def receive(self) -> Message:
        message: Message = json.loads(self.socket.receive_text())
        return message

    def fails(self, code: int) -> Message:
        """The next message is this failure, and the connection is closed."""
        header: Message = self.receive()["header"]
        assert (header["namespace"], header["name"], header["status"]) == ("Default", "TaskFailed", code), header
        with pytest.raises(WebSocketDisconnect):
            self.socket.receive_text()
        return header


@contextmanager
def connected(client: TestClient, path: str = PATH, **options: Any) -> Iterator[Client]:
    with client.websocket_connect(path) as socket:
        yield Client(socket, **options)


def transcribed(client: TestClient, data: bytes, size: int = 3200, **payload: Any) -> list[Message]:
    with connected(client) as live:
        live.start(**payload)
        live.send(data, size)
        return live.stop()


def payloads(messages: Sequence[Message], name: str) -> list[Message]:
    return [message["payload"] for message in messages if message["header"]["name"] == name]


def text_of(messages: Sequence[Message]) -> str:
    assert messages[-1]["header"]["name"] == "TranscriptionCompleted", messages[-1]
    return "".join(end["result"] for end in payloads(messages, "SentenceEnd"))


def at_rate(pcm: Pcm, rate_hz: int) -> bytes:
    return (soxr.resample(pcm.astype(np.float32) / 32768, 16_000, rate_hz) * 32767).astype("<i2").tobytes()


# What is said


def test_sentences_come_in_order_with_their_times_and_words(client: TestClient) -> None:
    messages = transcribed(client, DIALOGUE.pcm.tobytes(), **{**ALL, "enable_inverse_text_normalization": False})
    begins, ends = payloads(messages, "SentenceBegin"), payloads(messages, "SentenceEnd")
    assert [end["index"] for end in ends] == [begin["index"] for begin in begins] == list(range(1, len(ends) + 1))
    assert error_rate(DIALOGUE.text, text_of(messages)) < 0.05
    for begin, end in zip(begins, ends, strict=True):
        assert begin["time"] == end["begin_time"] < end["time"] <= 1000 * DIALOGUE.duration_s + 1000
        assert end["words"][0]["startTime"] >= end["begin_time"] - 150
        assert all(word["startTime"] < word["endTime"] for word in end["words"])
        assert 0 < end["confidence"] <= 1
    assert {message["header"]["task_id"] for message in messages} == {TASK_ID}
    assert len({message["header"]["message_id"] for message in messages}) == len(messages)


def test_partials_grow_within_their_sentence(client: TestClient) -> None:
    messages = transcribed(client, WEATHER.pcm.tobytes(), **ALL)
    names = [message["header"]["name"] for message in messages]
    changes = payloads(messages, "TranscriptionResultChanged")
    assert changes
    assert names.index("SentenceBegin") < names.index("TranscriptionResultChanged") < names.index("SentenceEnd")
    assert {change["index"] for change in changes} == {1}
    assert [len(change["result"]) for change in changes] == sorted(len(change["result"]) for change in changes)
    assert text_of(messages) == WEATHER.text


def test_the_defaults_tell_plain_sentences_only(client: TestClient) -> None:
    messages = transcribed(client, WEATHER.pcm.tobytes())
    assert [message["header"]["name"] for message in messages] == [
        "SentenceBegin", "SentenceEnd", "TranscriptionCompleted",
    ]  # fmt: skip
    assert text_of(messages) == characters(WEATHER.text)
    assert payloads(messages, "SentenceEnd")[0]["words"] == []


@pytest.mark.parametrize("size", [3, 641, 1 << 24])
def test_frames_of_any_size_give_the_same_text(client: TestClient, size: int) -> None:
    """Three bytes: ten thousand frames."""
    pcm = np.concatenate([silence(0.1), WEATHER.pcm])[: 16_000 if size == 3 else None]
    whole = transcribed(client, pcm.tobytes())
    assert text_of(transcribed(client, pcm.tobytes(), size)) == text_of(whole) != ""


@pytest.mark.parametrize("format", ["pcm8k", "wav", "WAV8k", "opus", "mp3", "aac"])
def test_every_format_is_heard_as_what_it_is(client: TestClient, format: str) -> None:
    speech = WEATHER.pcm / 32768
    data, payload = {
        "pcm8k": (at_rate(WEATHER.pcm, 8000), {"format": "pcm", "sample_rate": 8000}),
        "wav": (wav16(speech), {"format": "wav"}),
        "WAV8k": (wav16(soxr.resample(speech, 16_000, 8000), 8000), {"format": "WAV"}),
        "opus": (encode(speech, Encoding("ogg", "libopus", 16_000)), {"format": "opus"}),
        "mp3": (encode(speech, Encoding("mp3", "libmp3lame", 16_000)), {"format": "mp3"}),
        "aac": (encode(speech, Encoding("adts", "aac", 16_000)), {"format": "aac"}),
    }[format]
    assert error_rate(WEATHER.text, text_of(transcribed(client, data, 777, **payload))) <= 0.15


def test_a_recognizer_answers_with_one_result(client: TestClient) -> None:
    with connected(client, namespace="SpeechRecognizer") as live:
        live.start(**ALL)
        live.send(WEATHER.pcm.tobytes())
        messages = live.stop()
    assert {message["header"]["namespace"] for message in messages} == {"SpeechRecognizer"}
    assert {message["header"]["name"] for message in messages} == {"RecognitionResultChanged", "RecognitionCompleted"}
    assert messages[-1]["payload"] == {"result": WEATHER.text}


def test_one_task_may_follow_another(client: TestClient) -> None:
    with connected(client) as live:
        for task in range(2):
            live.start()
            live.send(WEATHER.pcm.tobytes())
            messages = live.stop()
            assert text_of(messages) == characters(WEATHER.text), task
            assert payloads(messages, "SentenceEnd")[0]["index"] == 1


@pytest.mark.parametrize("path", ["/ws/v1", "/", "/ws/v1/asr/funasr"])
def test_the_dialect_is_known_on_every_path(client: TestClient, path: str) -> None:
    with connected(client, path) as live:
        live.start()
        live.direct("StopTranscription")
        assert live.receive()["header"]["name"] == "TranscriptionCompleted"


def test_controlling_a_task_changes_nothing(client: TestClient) -> None:
    with connected(client) as live:
        live.start()
        live.direct("ControlTranscriber", {"anything": 1})
        live.send(WEATHER.pcm.tobytes())
        assert text_of(live.stop()) == characters(WEATHER.text)


# Who may


@pytest.mark.parametrize("path", [PATH, "/ws/v1", "/", "/ws/v1/asr/funasr", "/ws/v1/none"])
@pytest.mark.parametrize("query", ["", "?token=wrong"])
def test_without_the_key_there_is_no_connection(serve: Serve, path: str, query: str) -> None:
    with pytest.raises(WebSocketDenialResponse) as caught, serve(api_key="one,two").websocket_connect(path + query):
        pass
    assert caught.value.status_code == 401
    body = caught.value.json()
    assert body["status"] == 40000001
    assert "wrong" not in body["message"]


@pytest.mark.parametrize(
    ("query", "headers"),
    [("?token=two", {}), ("", {"X-NLS-Token": "two"}), ("", {"Authorization": "Bearer two"})],
)
def test_a_key_may_come_in_three_ways(serve: Serve, query: str, headers: dict[str, str]) -> None:
    with serve(api_key="one,two").websocket_connect(PATH + query, headers=headers) as socket:
        live = Client(socket)
        live.start()
        assert live.stop()[-1]["header"]["name"] == "TranscriptionCompleted"


def test_a_path_that_nobody_serves_is_not_found(client: TestClient) -> None:
    with pytest.raises(WebSocketDenialResponse) as caught, client.websocket_connect("/ws/v2"):
        pass
    assert caught.value.status_code == 404


# Misuse


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"max_sentence_silence": "long"}, 40000003),
        ({"format": "tiff"}, 40000003),
        ({"vocabulary_id": 5}, 40000003),
        ({"sample_rate": 44100}, 41010101),
    ],
)
def test_a_start_that_asks_for_the_impossible_fails(client: TestClient, payload: Message, code: int) -> None:
    with connected(client) as live:
        live.direct("StartTranscription", payload)
        assert live.fails(code)["task_id"] == TASK_ID


def test_what_a_start_asks_for_without_effect_is_told_at_the_end(client: TestClient) -> None:
    id = "a3f5c0e19b7d4e82a3f5c0e19b7d4e82"
    with connected(client) as live:
        live.start(vocabulary_id=id, max_sentence_silence=100, format="WAV", sample_rate=44100)
        status_message = live.stop()[-1]["header"]["status_message"]
    for field in ("vocabulary_id", "max_sentence_silence", "sample_rate"):
        assert field in status_message


def test_a_message_that_is_none_fails(client: TestClient) -> None:
    for text in ("hello", "{}", "[]", '{"header":{"namespace":"SpeechTranscriber"}}'):
        with connected(client) as live:
            live.socket.send_text(text)
            live.fails(40000002)


def test_an_unknown_directive_fails(client: TestClient) -> None:
    with connected(client) as live:
        live.direct("StartRecognition")
        live.fails(40010003)


def test_what_comes_before_a_start_fails(client: TestClient) -> None:
    with connected(client) as live:
        live.direct("StopTranscription")
        live.fails(40010005)
    with connected(client) as live:
        live.socket.send_bytes(bytes(3200))
        live.fails(40010005)


def test_a_second_start_fails(client: TestClient) -> None:
    with connected(client) as live:
        live.start()
        live.direct("StartTranscription", {})
        live.fails(40010005)


def test_text_instead_of_audio_fails(client: TestClient) -> None:
    with connected(client) as live:
        live.start()
        live.socket.send_text("UklGRg==")
        live.fails(40000002)


@pytest.mark.parametrize("format", ["wav", "opus", "mp3", "aac", "amr"])
def test_audio_that_is_none_fails(client: TestClient, format: str) -> None:
    with connected(client) as live:
        live.start(format=format)
        live.send(np.random.default_rng(1).bytes(60_000))
        live.direct("StopTranscription")
        live.fails(40000009)


def test_a_stop_at_once_completes(client: TestClient) -> None:
    assert [message["header"]["name"] for message in transcribed(client, b"")] == ["TranscriptionCompleted"]


def test_a_client_that_says_nothing_is_closed(serve: Serve) -> None:
    with connected(serve(live_idle_timeout_sec=0.05)) as live:
        live.fails(40000004)


def test_a_client_that_sends_no_audio_is_closed(serve: Serve) -> None:
    with connected(serve(live_idle_timeout_sec=0.2)) as live:
        live.start()
        live.fails(40000004)


def test_a_client_that_has_completed_is_closed_without_a_failure(serve: Serve) -> None:
    with connected(serve(live_idle_timeout_sec=0.2)) as live:
        live.start()
        live.stop()
        with pytest.raises(WebSocketDisconnect) as caught:
            live.socket.receive_text()
    assert caught.value.code == 1000


def test_one_session_too_many_is_refused_until_there_is_room(serve: Serve) -> None:
    client = serve(max_live_sessions=1)
    with connected(client) as first:
        first.start()
        with connected(client) as second:
            second.direct("StartTranscription", {})
            second.fails(40000005)
        first.stop()
        with connected(client) as third:
            third.start()


@pytest.mark.parametrize("format", ["pcm", "opus"])
def test_a_session_is_no_longer_than_a_recording_may_be(serve: Serve, format: str) -> None:
    ogg = encode(np.zeros(4 * 48_000), Encoding("ogg", "libopus", 48_000))
    with connected(serve(max_audio_duration_sec=2)) as live:
        live.start(format=format)
        live.socket.send_bytes(bytes(4 * 32_000) if format == "pcm" else ogg)
        assert "longer than the limit of 2 s" in live.fails(40000000)["status_text"]


def test_while_models_load_a_start_is_refused(serve: Serve) -> None:
    with connected(serve(ready=False)) as live:
        live.direct("StartTranscription", {})
        live.fails(50000000)


def test_a_client_that_vanishes_in_the_middle_costs_nobody_anything(client: TestClient) -> None:
    left = requests("client_disconnected")
    with connected(client) as live:
        live.start(**ALL)
        live.send(WEATHER.pcm.tobytes()[:30_000])
    assert gauge() == 0
    assert requests("client_disconnected") == left + 1
    assert text_of(transcribed(client, WEATHER.pcm.tobytes())) == characters(WEATHER.text)


def test_sessions_are_counted_by_outcome(client: TestClient) -> None:
    before = requests("ok"), requests("wrong_state")
    transcribed(client, WEATHER.pcm.tobytes())
    with connected(client) as live:
        live.start()
        live.direct("StartTranscription", {})
        live.fails(40010005)
    assert (requests("ok"), requests("wrong_state")) == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize("end", ["silence", "start", "text"])
def test_what_was_said_is_told_before_what_ends_the_task(serve: Serve, end: str) -> None:
    with connected(serve(live_idle_timeout_sec=0.3)) as live:
        live.start(**ALL)
        live.send(WEATHER.pcm.tobytes()[: round(32_000 * WEATHER.sentences[0].end_s)])
        if end == "start":
            live.direct("StartTranscription", {})
        elif end == "text":
            live.socket.send_text("UklGRg==")
        messages = [live.receive()]
        while messages[-1]["header"]["name"] != "TaskFailed":
            messages.append(live.receive())
    assert [end["result"] for end in payloads(messages, "SentenceEnd")] == [WEATHER.text]


def test_a_failure_has_the_tasks_warnings_and_no_later_ones(client: TestClient) -> None:
    for _ in range(2):
        with connected(client) as live:
            live.start(**ALL, max_sentence_silence=9999, vocabulary_id="天气 20 ＊＊ 20")
            live.send(WEATHER.pcm.tobytes())
            live.direct("StartTranscription", {})
            while (message := live.receive())["header"]["name"] != "TaskFailed":
                pass
        status, told = message["header"]["status_text"], message["header"]["status_message"]
        assert told.startswith(f"{status} max_sentence_silence: ")
        assert told.endswith("Hotwords had no effect, as paraformer-demo cannot write them: ＊＊.")


def test_a_failure_between_tasks_has_no_warnings(client: TestClient) -> None:
    with connected(client) as live:
        live.start(max_sentence_silence=9999)
        live.direct("StopTranscription")
        while live.receive()["header"]["name"] != "TranscriptionCompleted":
            pass
        live.direct("StopTranscription")
        header = live.receive()["header"]
    assert header["name"] == "TaskFailed"
    assert header["status_message"] == header["status_text"]


def test_what_changes_nothing_is_ignored(client: TestClient) -> None:
    with connected(client) as live:
        live.start(**ALL)
        live.socket.send_text("{}")
        live.socket.send_text('{"type": "ping"}')
        live.send(WEATHER.pcm.tobytes())
        live.direct("StopTranscription")
        live.direct("StopTranscription")
        messages = [live.receive()]
        while messages[-1]["header"]["name"] not in ("TranscriptionCompleted", "TaskFailed"):
            messages.append(live.receive())
    assert text_of(messages) == WEATHER.text
