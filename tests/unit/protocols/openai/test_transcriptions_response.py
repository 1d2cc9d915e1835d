"""The OpenAI bodies: what the official SDK's own types accept, with the numbers that the transcript holds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from openai.types.audio import (
    Transcription,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionVerbose,
)
from pydantic import BaseModel

from service.domain import Segment, Speaker, Transcript, Word
from service.errors import (
    InvalidKey,
    InvalidRequest,
    ModelNotFound,
    NotReady,
    QueueFull,
    RecognitionFailed,
    UndecodableAudio,
)
from service.protocols.openai.transcriptions_response import (
    Granularity,
    SpokenLanguage,
    delta_event,
    diarized_segments,
    done_event,
    error_body,
    error_response,
    json_body,
    spoken_languages,
    verbose_json_body,
)

HELLO = Segment(
    index=0,
    start_s=0.12345,
    end_s=1.9996,
    text="你好，world.",
    words=(
        Word("你", 0.12345, 0.5, "", -0.25, (11,)),
        Word("好", 0.5, 0.75, "，", -0.25, (12,)),
        Word("world", 1.0, 1.9996, ".", -1.0, (13, 14)),
    ),
)
AGAIN = Segment(
    index=1, start_s=3.0, end_s=4.0, text="again 吗？", words=(Word("again", 3.0, 3.5), Word("吗", 3.5, 4.0, "？"))
)
BOTH = Transcript(duration_s=8.4700003, language="zh", model="paraformer-demo", segments=(HELLO, AGAIN))
SILENCE = Transcript(duration_s=5.0, language="zh", model="paraformer-demo", segments=())


def sent(body: BaseModel) -> Any:
    """What the client gets, after the SDK's own type has accepted it strictly."""
    return json.loads(body.model_dump_json())


def test_json_is_the_text_the_language_and_the_usage_and_nothing_else() -> None:
    body = sent(json_body(BOTH))
    assert body == {
        "text": "你好，world. again 吗？",
        "languages": [{"code": "zh"}],
        "usage": {"type": "duration", "seconds": 9},
    }
    parsed = Transcription.model_validate(body, strict=True)
    assert parsed.usage is not None
    assert parsed.usage.type == "duration"


def test_usage_counts_whole_seconds_rounded_up() -> None:
    def seconds(duration_s: float) -> int:
        return json_body(Transcript(duration_s, "zh", "m", ())).usage.seconds

    assert [seconds(d) for d in (0.0, 0.05, 5.0, 5.0000000001, 5.001, 8.47)] == [0, 1, 5, 5, 6, 9]


def test_logprobs_name_each_word_whose_probability_is_known() -> None:
    body = sent(json_body(BOTH, logprobs=True))
    assert body["logprobs"] == [
        {"token": "你", "bytes": [228, 189, 160], "logprob": -0.25},
        {"token": "好", "bytes": [229, 165, 189], "logprob": -0.25},
        {"token": "world", "bytes": list(b"world"), "logprob": -1.0},
    ]
    Transcription.model_validate(body)
    assert sent(json_body(SILENCE, logprobs=True))["logprobs"] == []


def test_verbose_json_has_every_field_of_a_segment() -> None:
    body = sent(verbose_json_body(BOTH, {"segment"}))
    TranscriptionVerbose.model_validate(body, strict=True)
    assert list(body) == ["task", "language", "duration", "text", "segments", "usage"]
    assert (body["task"], body["language"], body["duration"]) == ("transcribe", "zh", 8.47)
    assert body["segments"][0] == {
        "id": 0,
        "seek": 12,
        "start": 0.123,
        "end": 2.0,
        "text": "你好，world.",
        "tokens": [11, 12, 13, 14],
        "temperature": 0.0,
        "avg_logprob": pytest.approx(-1.5 / 4),
        "compression_ratio": pytest.approx(15 / 23, rel=0.1),
        "no_speech_prob": 0.0,
    }
    assert (body["segments"][1]["avg_logprob"], body["segments"][1]["tokens"]) == (0.0, [])


@pytest.mark.parametrize("granularities", [{"word"}, {"segment"}, {"word", "segment"}])
def test_granularities_decide_which_lists_are_there(granularities: set[Granularity]) -> None:
    body = sent(verbose_json_body(BOTH, granularities))
    TranscriptionVerbose.model_validate(body, strict=True)
    assert {"words", "segments"} & set(body) == {g + "s" for g in granularities}
    if "segment" in granularities:
        assert all(("words" in segment) == ("word" in granularities) for segment in body["segments"])


def test_words_are_in_file_time_wherever_they_are_listed() -> None:
    body = sent(verbose_json_body(BOTH, set(get_args(Granularity))))
    assert body["words"] == [word for segment in body["segments"] for word in segment["words"]]
    assert body["words"][2:4] == [
        {"word": "world", "start": 1.0, "end": 2.0},
        {"word": "again", "start": 3.0, "end": 3.5},
    ]


def test_text_that_repeats_itself_compresses_as_whisper_counts_it() -> None:
    def ratio(text: str) -> float:
        (segment,) = verbose_json_body(Transcript(1, "zh", "m", (Segment(0, 0, 1, text),)), {"segment"}).segments or []
        return segment.compression_ratio

    assert ratio("谢谢" * 100) > 2.4 > ratio("今天星期几？") > 0
    assert ratio("") == 0


def test_silence_is_an_empty_transcript_with_the_true_duration() -> None:
    body = sent(verbose_json_body(SILENCE, {"word", "segment"}))
    TranscriptionVerbose.model_validate(body, strict=True)
    assert (body["text"], body["segments"], body["words"], body["duration"]) == ("", [], [], 5.0)


def test_a_speaker_is_there_only_when_known() -> None:
    known = Segment(0, 0.0, 1.0, "好。", speaker=Speaker.unnamed(1))
    body = sent(verbose_json_body(Transcript(2.0, "zh", "m", (known, AGAIN)), {"segment"}))
    TranscriptionVerbose.model_validate(body, strict=True)
    assert body["segments"][0]["speaker"] == "说话人1"
    assert "speaker" not in body["segments"][1]


def test_warnings_are_there_only_when_there_are_any() -> None:
    warned = Transcript(1.0, "zh", "m", (HELLO,), warnings=("keyword 'ﬁ' has characters the model does not know",))
    for render in (json_body, done_event, lambda t: verbose_json_body(t, {"segment"})):
        assert sent(render(warned))["warnings"] == list(warned.warnings)
        assert "warnings" not in sent(render(BOTH))


def test_deltas_joined_are_the_final_text() -> None:
    pieces = ["你好。", "Good morning.", "How are you?", "", "我很好", "OK", "305元", "3.5", "，对吗？", " x ", ""]
    segments = (Segment(n, n, n + 1, text, (Word(text, n, n + 1),)) for n, text in enumerate(pieces))
    spoken = Transcript(99.0, "zh", "m", tuple(segments))
    received = ""
    for segment in spoken.segments:
        event = sent(delta_event(received, segment.words))
        TranscriptionTextDeltaEvent.model_validate(event, strict=True)
        assert list(event) == ["type", "delta"]
        received += event["delta"]
    done = sent(done_event(spoken))
    TranscriptionTextDoneEvent.model_validate(done, strict=True)
    assert received == done["text"] == spoken.text
    assert done["languages"] == [{"code": "zh"}]
    assert "Good morning. How are you?" in received


def test_streamed_logprobs_come_with_their_delta_and_again_at_the_end() -> None:
    deltas = [sent(delta_event("", segment.words, logprobs=True)) for segment in BOTH.segments]
    done = sent(done_event(BOTH, logprobs=True))
    for event in deltas:
        TranscriptionTextDeltaEvent.model_validate(event, strict=True)
    TranscriptionTextDoneEvent.model_validate(done, strict=True)
    assert [entry for event in deltas for entry in event["logprobs"]] == done["logprobs"]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (InvalidRequest("bad"), "invalid_request_error"),
        (InvalidKey("no"), "invalid_request_error"),
        (ModelNotFound("which?", param="model"), "invalid_request_error"),
        (QueueFull("later", retry_after_s=3), "rate_limit_error"),
        (NotReady("soon"), "server_error"),
        (RecognitionFailed("sorry"), "server_error"),
    ],
)
def test_an_error_always_has_its_four_fields(failure: Any, kind: str) -> None:
    assert sent(error_body(failure)) == {
        "error": {"message": failure.message, "type": kind, "param": failure.param, "code": failure.code}
    }


def test_a_known_speaker_keeps_the_name_whatever_it_is_and_the_others_have_letters() -> None:
    known, other = Speaker("说话人7"), Speaker.unnamed(1)
    said = [Segment(n, float(n), n + 1.0, "好。", speaker=speaker) for n, speaker in enumerate((known, other, known))]
    assert [segment.speaker for segment in diarized_segments(Transcript(3.0, "zh", "m", tuple(said)))] == [
        "说话人7",
        "A",
        "说话人7",
    ]


def test_what_is_no_audio_is_a_bad_request_to_openais_clients() -> None:
    response = error_response(UndecodableAudio("no audio"))
    assert response.status_code == 400
    error = json.loads(bytes(response.body))["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "unsupported_audio")
    assert error_response(QueueFull("full")).status_code == 429


def test_a_language_that_is_not_known_is_not_listed() -> None:
    assert spoken_languages(["", "zh", "en", "zh"]) == [SpokenLanguage(code="zh"), SpokenLanguage(code="en")]
    assert sent(json_body(replace(SILENCE, language="")))["languages"] == []
