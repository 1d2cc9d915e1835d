"""Alibaba Cloud's bodies: segments, words, status styles, and a code for every failure."""

import json
from dataclasses import replace
from typing import Any

import pytest

from service.domain import Segment, Speaker, Transcript, Word
from service.errors import (
    AddressRefused,
    AudioTooLarge,
    InvalidKey,
    InvalidRequest,
    ModelNotFound,
    NotFound,
    NotReady,
    QueueFull,
    RecognitionFailed,
    ServiceError,
    UndecodableAudio,
    UnsupportedSampleRate,
)
from service.protocols.aliyun.rest_response import Task, failure_body, failure_code, recognition_body

TASK = Task(id="0" * 32, processing_s=1.23456, status_style="http", word_tokens=True)
TRANSCRIPT = Transcript(
    duration_s=60.5004,
    language="zh",
    model="m",
    segments=(
        Segment(0, 0.1, 1.0, "你好。", (Word("你", 0.1, 0.5), Word("好", 0.5, 0.98765, "。"))),
        Segment(1, 5.0, 6.0, "Hi.", (Word("Hi", 5.0, 6.0, "."),)),
    ),
)


def rendered(transcript: Transcript = TRANSCRIPT, task: Task = TASK) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(recognition_body(transcript, task).model_dump_json())
    return body


def test_a_recognition_has_the_contracts_shape() -> None:
    assert rendered() == {
        "task_id": "0" * 32,
        "status": 200,
        "message": "SUCCESS",
        "result": "你好。\nHi.",
        "duration": 60.5,
        "processing_time": 1.235,
        "segments": [
            {
                "text": "你好。",
                "start_time": 0.1,
                "end_time": 1.0,
                "speaker_id": "",
                "word_tokens": [
                    {"text": "你", "start_time": 0.1, "end_time": 0.5},
                    {"text": "好", "start_time": 0.5, "end_time": 0.988},
                ],
            },
            {
                "text": "Hi.",
                "start_time": 5.0,
                "end_time": 6.0,
                "speaker_id": "",
                "word_tokens": [{"text": "Hi", "start_time": 5.0, "end_time": 6.0}],
            },
        ],
    }


def test_the_cloud_style_changes_the_status_alone() -> None:
    assert rendered(task=replace(TASK, status_style="cloud")) == {**rendered(), "status": 20000000}


def test_words_are_left_out_where_they_are_not_asked_for() -> None:
    for segment in rendered(task=replace(TASK, word_tokens=False))["segments"]:
        assert set(segment) == {"text", "start_time", "end_time", "speaker_id"}


def test_a_speaker_is_named_and_warnings_are_told() -> None:
    segment = replace(TRANSCRIPT.segments[0], speaker=Speaker.unnamed(1))
    body = rendered(replace(TRANSCRIPT, segments=(segment,), warnings=("no",)))
    assert body["segments"][0]["speaker_id"] == "说话人1"
    assert body["warnings"] == ["no"]


def test_no_speech_is_an_empty_result() -> None:
    body = rendered(replace(TRANSCRIPT, segments=()))
    assert (body["result"], body["segments"], body["duration"]) == ("", [], 60.5)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (InvalidKey("no"), 40000001),
        (InvalidRequest("no"), 40000002),
        (InvalidRequest("no", param="format"), 40000003),
        (AddressRefused("no", param="audio_address"), 40000003),
        (ModelNotFound("no", param="model"), 40000003),
        (UnsupportedSampleRate("no", param="sample_rate"), 41010101),
        (NotFound("no"), 40000000),
        (AudioTooLarge("no"), 40000000),
        (AudioTooLarge("no", param="file"), 40000000),
        (UndecodableAudio("no"), 40000009),
        (QueueFull("no"), 40000005),
        (NotReady("no"), 50000000),
        (RecognitionFailed("no"), 50000000),
        (ServiceError("no"), 50000000),
    ],
)
def test_every_failure_has_its_code(failure: ServiceError, code: int) -> None:
    assert failure_code(failure) == code
    body = json.loads(failure_body(failure, "1" * 32).model_dump_json())
    assert body == {"task_id": "1" * 32, "status": code, "message": "no", "result": ""}
