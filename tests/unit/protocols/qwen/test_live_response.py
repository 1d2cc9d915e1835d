"""The messages of Qwen3-ASR's streaming protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.domain import Word
from service.errors import InvalidKey, InvalidRequest, ModelNotFound, QueueFull, RecognitionFailed, WrongState
from service.errors import ServiceError as Failure
from service.live.events import Event, PartialChanged, SentenceBegan, SentenceEnded
from service.protocols.qwen.live_response import SessionMessages, error_message

HAO = (Word("好", 1.0, 1.25, "。"),)
GUESSED = (Word("hi", 1.0, 1.25, timed=False),)


def told(*events: Event, with_words: bool = False) -> list[dict[str, Any]]:
    session = SessionMessages("t", with_words=with_words)
    messages = [message for event in events for message in session.event(event)]
    return [json.loads(message) for message in [*messages, session.final()]]


def partial(index: int, text: str) -> PartialChanged:
    return PartialChanged(index, 500, text, (), "zh")


def ended(index: int, text: str, reason: Any = "silence", words: tuple[Word, ...] = HAO) -> SentenceEnded:
    return SentenceEnded(index, 1000, 1250, text, words, "zh", reason)


def test_a_partial_shows_all_segments_and_its_own_text() -> None:
    messages = told(SentenceBegan(1, 0), partial(1, "今天"), ended(1, "今天好。"), partial(2, "明"))
    assert messages[0] == {
        "type": "result",
        "task_id": "t",
        "results": [
            {
                "text": "今天",
                "current_segment_text": "今天",
                "language": "zh",
                "chunk_id": 0,
                "is_partial": True,
                "segment_index": 0,
            }
        ],
        "segment_index": 0,
        "confirmed_segments_count": 0,
    }
    second = messages[3]["results"][0]
    assert second["text"] == "今天好。\n明"
    assert (second["current_segment_text"], second["chunk_id"], second["segment_index"]) == ("明", 1, 1)
    assert messages[3]["confirmed_segments_count"] == 1


def test_a_pause_ends_a_segment_and_begins_the_next() -> None:
    end, start, final = told(ended(1, "好。"))
    assert end == {
        "type": "segment_end",
        "task_id": "t",
        "segment_index": 0,
        "reason": "silence",
        "result": {"text": "好。", "segment_text": "好。", "language": "zh"},
        "confirmed_texts": ["好。"],
    }
    assert start == {"type": "segment_start", "task_id": "t", "segment_index": 1}
    assert final["result"]["segments"] == [{"index": 0, "text": "好。", "language": "zh", "reason": "silence"}]


def test_the_final_message_has_every_segment_once() -> None:
    final = told(partial(1, "一"), ended(1, "一。"), ended(2, "二。", "max_duration"), ended(3, "三。", "stop"))[-1]
    result = final["result"]
    assert result["text"] == result["full_text"] == "一。\n二。\n三。"
    assert (result["total_segments"], result["total_chunks"], result["language"]) == (3, 1, "zh")
    assert [s["reason"] for s in result["segments"]] == ["silence", "max_duration", "stop"]


def test_what_the_stop_ends_is_told_by_the_final_message_only() -> None:
    assert [m["type"] for m in told(ended(1, "好。", "stop"))] == ["final"]


def test_a_noise_is_no_segment_and_what_was_shown_of_it_is_taken_back() -> None:
    messages = told(partial(1, "嗯"), ended(1, "", words=()), partial(2, "好"), ended(2, "好。", "stop"))
    assert [m["type"] for m in messages] == ["result", "result", "result", "final"]
    assert messages[1]["results"][0]["text"] == ""
    assert messages[3]["result"]["total_segments"] == 1


def test_words_come_with_the_end_of_a_segment_if_asked_for() -> None:
    end, _, final = told(ended(1, "好。"), with_words=True)
    words = [{"text": "好", "start_time": 1.0, "end_time": 1.25}]
    assert end["result"]["words"] == words
    assert final["result"]["segments"][0]["words"] == words
    assert told(ended(1, "hi", words=GUESSED), with_words=True)[0]["result"]["words"] == []


def test_silence_has_a_final_message_too() -> None:
    (final,) = told()
    assert final["result"] == {
        "text": "",
        "full_text": "",
        "language": "",
        "total_chunks": 0,
        "total_segments": 0,
        "segments": [],
    }


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (WrongState("x"), "INVALID_STATE"),
        (InvalidRequest("x"), "INVALID_MESSAGE"),
        (InvalidRequest("x", param="language"), "INVALID_PARAMETER"),
        (ModelNotFound("x", param="model"), "INVALID_PARAMETER"),
        (InvalidKey("x"), "AUTHENTICATION_FAILED"),
        (QueueFull("x"), "DEFAULT_SERVER_ERROR"),
        (RecognitionFailed("x"), "DEFAULT_SERVER_ERROR"),
    ],
)
def test_failures_have_the_protocols_codes(failure: Failure, code: str) -> None:
    message = json.loads(error_message(failure, "t"))
    assert message == {"type": "error", "error_code": code, "message": "x", "task_id": "t"}
