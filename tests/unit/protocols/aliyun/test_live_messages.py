"""Alibaba Cloud's live protocol: what a client may say, and what events look like there."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest

from service.domain import Hotword, Word
from service.errors import (
    IdleTooLong,
    InvalidKey,
    InvalidRequest,
    ModelNotFound,
    NotReady,
    QueueFull,
    ServiceError,
    UndecodableAudio,
    UnknownDirective,
    UnsupportedSampleRate,
    WrongState,
)
from service.live.events import PartialChanged, SentenceBegan, SentenceEnded
from service.protocols.aliyun.live_request import StartPayload, read_directive
from service.protocols.aliyun.live_response import RecognizerMessages, Task, TranscriberMessages, task_failed
from service.protocols.aliyun.rest_response import failure_code
from tests.aliyun_directives import TASK_ID, directive

ENABLED = ("paraformer-demo",)
WORDS = (
    Word("今天", 0.5, 0.9, logprob=math.log(0.9)),
    Word("好", 0.9, 1.2004, punctuation="。", logprob=math.log(0.4)),
)


# What a client says


@pytest.mark.parametrize(
    ("namespace", "name", "action"),
    [
        ("SpeechTranscriber", "StartTranscription", "start"),
        ("SpeechTranscriber", "StopTranscription", "stop"),
        ("SpeechTranscriber", "ControlTranscriber", "control"),
        ("SpeechTranscriber", "ControlTranscription", "control"),
        ("SpeechRecognizer", "StartRecognition", "start"),
        ("SpeechRecognizer", "StopRecognition", "stop"),
    ],
)
def test_every_directive_is_known_and_keeps_the_clients_task_id(namespace: str, name: str, action: str) -> None:
    said = read_directive(directive(name, namespace=namespace, context={"sdk": {}}))
    assert said == (namespace, action, TASK_ID, {})
    assert read_directive(directive(name, namespace=namespace, payload={"a": 1})).payload == {"a": 1}


@pytest.mark.parametrize(
    ("namespace", "name"),
    [("SpeechTranscriber", "StartRecognition"), ("SpeechSynthesizer", "StartSynthesis"), ("SpeechTranscriber", "x")],
)
def test_what_is_no_directive_is_said_to_be_none(namespace: str, name: str) -> None:
    with pytest.raises(UnknownDirective):
        read_directive(directive(name, namespace=namespace))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        "null",
        "1e400",
        "{}",
        '{"header":null}',
        '{"header":{"namespace":"SpeechTranscriber","name":"StartTranscription"}}',
        '{"header":{"namespace":"SpeechTranscriber","name":"StartTranscription","task_id":""}}',
        '{"header":{"namespace":"SpeechTranscriber","name":"StartTranscription","task_id":7}}',
        '{"header":{"namespace":"SpeechTranscriber","name":"StartTranscription","task_id":"a"},"payload":[]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_message_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_directive(text)
    assert failure_code(caught.value) == 40000002
    assert len(caught.value.message) < 300


def test_the_defaults_are_the_clouds() -> None:
    asked = StartPayload.read({})
    assert (asked.format, asked.sample_rate) == ("pcm", 16000)
    options = asked.session_options(ENABLED)
    assert options.recognition.model.id == ENABLED[0]
    recognition = options.recognition
    assert not any((recognition.punctuation, recognition.inverse_text_normalization, recognition.word_timestamps))
    assert not any((options.partials, options.partial_punctuation, options.ends_at_marks))
    assert (options.finals, options.max_sentence_silence_ms, options.speech_noise_threshold) == (True, 800, None)


def test_everything_that_is_asked_for_reaches_the_session() -> None:
    asked = StartPayload.read(
        {
            "format": "OPUS",
            "sample_rate": 8000,
            "enable_intermediate_result": True,
            "enable_punctuation_prediction": True,
            "enable_inverse_text_normalization": True,
            "max_sentence_silence": 2000,
            "enable_words": True,
            "disfluency": True,
            "vocabulary_id": "阿里 20",
            "speech_noise_threshold": -0.5,
            "enable_semantic_sentence_detection": "true",
            "nobody_knows": None,
        }
    )
    assert (asked.format, asked.sample_rate, asked.enable_words) == ("opus", 8000, True)
    options = asked.session_options(ENABLED)
    assert options.partials
    assert options.ends_at_marks
    assert options.partial_punctuation
    assert options.recognition.punctuation
    assert options.recognition.inverse_text_normalization
    assert options.recognition.word_timestamps
    assert options.recognition.hotwords == (Hotword("阿里", 20),)
    assert (options.max_sentence_silence_ms, options.speech_noise_threshold) == (2000, -0.5)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("format", "tiff", 40000003),
        ("sample_rate", 44100, 41010101),
        ("sample_rate", "many", 41010101),
        ("speech_noise_threshold", math.nan, 40000003),
        ("enable_words", "perhaps", 40000003),
        ("vocabulary_id", 5, 40000003),
        ("model_id", "gpt-9", 40000003),
    ],
)
def test_a_value_out_of_range_is_named(field: str, value: Any, code: int) -> None:
    with pytest.raises(ServiceError) as caught:
        StartPayload.read({field: value}).session_options(ENABLED)
    assert failure_code(caught.value) == code
    assert field.removesuffix("_id") in caught.value.message


@pytest.mark.parametrize("silence_ms", [200, 2000, 6000])
@pytest.mark.parametrize("threshold", [-1, 0, 1])
def test_the_bounds_belong_to_the_ranges(silence_ms: int, threshold: int) -> None:
    asked = StartPayload.read({"max_sentence_silence": silence_ms, "speech_noise_threshold": threshold})
    assert (asked.max_sentence_silence, asked.speech_noise_threshold, asked.warnings) == (silence_ms, threshold, ())


@pytest.mark.parametrize(
    ("payload", "read", "warned"),
    [
        ({"vocabulary_id": "a3f5c0e19b7d4e82a3f5c0e19b7d4e82"}, {"vocabulary_id": ()}, True),
        ({"vocabulary_id": "阿里"}, {"vocabulary_id": (Hotword("阿里"),)}, False),
        ({"sample_rate": "8000"}, {"sample_rate": 8000}, False),
        ({"max_sentence_silence": 199}, {"max_sentence_silence": 200}, True),
        ({"max_sentence_silence": "6000"}, {"max_sentence_silence": 6000}, False),
        ({"max_sentence_silence": 6001}, {"max_sentence_silence": 6000}, True),
        ({"format": "opu"}, {"format": "opus"}, False),
        ({"format": "wav", "sample_rate": 44100}, {"format": "wav", "sample_rate": 16000}, True),
        ({"speech_noise_threshold": 1.1}, {"speech_noise_threshold": 1}, True),
        ({"disfluency": "perhaps"}, {}, False),
        ({"model_id": "Paraformer"}, {"model_id": "Paraformer"}, False),
    ],
)
def test_what_leaves_the_sound_readable_is_at_most_a_warning(
    payload: dict[str, Any], read: dict[str, Any], warned: bool
) -> None:
    asked = StartPayload.read(payload)
    assert {name: getattr(asked, name) for name in read} == read
    assert bool(asked.warnings) == warned
    asked.session_options(ENABLED)


# What the service says


def told(message: str | None, namespace: str, name: str) -> dict[str, Any]:
    """The payload, when the header is right."""
    assert message is not None
    value = json.loads(message)
    header = value["header"]
    assert set(value) == {"header", "payload"}
    assert (header["namespace"], header["name"], header["task_id"]) == (namespace, name, TASK_ID)
    assert (header["status"], header["status_text"]) == (20000000, "Gateway:SUCCESS:Success.")
    assert header["status_message"]
    assert re.fullmatch("[0-9a-f]{32}", header["message_id"])
    payload: dict[str, Any] = value["payload"]
    return payload


def test_sentences_are_told_in_milliseconds_with_their_words() -> None:
    transcriber = TranscriberMessages(Task(TASK_ID, "SpeechTranscriber", with_words=True))
    assert re.fullmatch(
        "[0-9a-f]{32}", told(transcriber.started(), "SpeechTranscriber", "TranscriptionStarted")["session_id"]
    )
    began = transcriber.event(SentenceBegan(1, 430))
    assert told(began, "SpeechTranscriber", "SentenceBegin") == {"index": 1, "time": 430}
    partial = transcriber.event(PartialChanged(1, 1200, "今天", WORDS[:1]))
    assert told(partial, "SpeechTranscriber", "TranscriptionResultChanged") == {
        "index": 1,
        "time": 1200,
        "result": "今天",
        "confidence": 0.9,
        "words": [{"text": "今天", "startTime": 500, "endTime": 900}],
        "status": 0,
    }
    ended = transcriber.event(SentenceEnded(1, 430, 1300, "今天好。", WORDS))
    assert told(ended, "SpeechTranscriber", "SentenceEnd") == {
        "index": 1,
        "time": 1300,
        "begin_time": 430,
        "result": "今天好。",
        "confidence": 0.6,
        "words": [
            {"text": "今天", "startTime": 500, "endTime": 900},
            {"text": "好", "startTime": 900, "endTime": 1200},
        ],
        "status": 0,
    }
    assert told(transcriber.completed(()), "SpeechTranscriber", "TranscriptionCompleted") == {}


def test_words_are_told_only_to_who_asked() -> None:
    ended = TranscriberMessages(Task(TASK_ID, "SpeechTranscriber")).event(SentenceEnded(1, 0, 9, "今天好。", WORDS))
    assert told(ended, "SpeechTranscriber", "SentenceEnd")["words"] == []


def test_text_without_probabilities_has_no_confidence() -> None:
    partial = TranscriberMessages(Task(TASK_ID, "SpeechTranscriber")).event(
        PartialChanged(1, 9, "好", (Word("好", 0, 1),))
    )
    assert told(partial, "SpeechTranscriber", "TranscriptionResultChanged")["confidence"] == 0


def test_a_recognizer_tells_all_sentences_as_one_result() -> None:
    recognizer = RecognizerMessages(Task(TASK_ID, "SpeechRecognizer"))
    told(recognizer.started(), "SpeechRecognizer", "RecognitionStarted")
    assert recognizer.event(SentenceBegan(1, 0)) is None
    assert told(recognizer.event(PartialChanged(1, 9, "今天", ())), "SpeechRecognizer", "RecognitionResultChanged") == {
        "result": "今天"
    }
    assert recognizer.event(SentenceEnded(1, 0, 9, "今天好。", ())) is None
    changed = recognizer.event(PartialChanged(2, 12, "明天", ()))
    assert told(changed, "SpeechRecognizer", "RecognitionResultChanged") == {"result": "今天好。明天"}
    recognizer.event(SentenceEnded(2, 10, 19, "明天也好。", ()))
    assert told(recognizer.completed(()), "SpeechRecognizer", "RecognitionCompleted") == {
        "result": "今天好。明天也好。"
    }


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (InvalidKey("no"), 40000001),
        (InvalidRequest("no"), 40000002),
        (InvalidRequest("no", param="format"), 40000003),
        (ModelNotFound("no", param="model"), 40000003),
        (IdleTooLong("no"), 40000004),
        (QueueFull("no"), 40000005),
        (UndecodableAudio("no"), 40000009),
        (UnknownDirective("no"), 40010003),
        (WrongState("no"), 40010005),
        (UnsupportedSampleRate("no", param="sample_rate"), 41010101),
        (NotReady("no"), 50000000),
        (ServiceError("no"), 50000000),
    ],
)
def test_a_failure_has_the_clouds_code_and_the_default_namespace(failure: ServiceError, code: int) -> None:
    header = json.loads(task_failed(failure, TASK_ID, ["Most was quiet."]))["header"]
    assert (header["namespace"], header["name"], header["task_id"]) == ("Default", "TaskFailed", TASK_ID)
    assert (header["status"], header["status_text"]) == (code, "no")
    assert header["status_message"] == "no Most was quiet."


def test_what_the_client_should_know_comes_with_the_end() -> None:
    message = TranscriberMessages(Task(TASK_ID, "SpeechTranscriber")).completed(["Most was quiet."])
    assert json.loads(message)["header"]["status_message"] == "Most was quiet."
