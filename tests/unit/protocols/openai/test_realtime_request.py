"""Client events of the Realtime API, and what they make of a transcription session."""

import base64
import json
from typing import Any

import pytest
from openai.types.realtime import SessionUpdatedEvent

from service.domain import Hotword
from service.errors import InvalidRequest, ModelNotFound
from service.protocols.openai.realtime_request import (
    Append,
    Clear,
    Commit,
    RefusedEvent,
    SessionSettings,
    Update,
    flattened,
    read_event,
)

ENABLED = ("paraformer-demo",)
QWEN3 = ("paraformer-demo", "qwen3-asr-demo")


def event(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields})


def updated(settings: SessionSettings | None = None, **input: Any) -> SessionSettings:
    session = {"type": "transcription", "audio": {"input": input}}
    return (settings or SessionSettings()).updated(session, ENABLED)


def test_audio_is_decoded() -> None:
    read = read_event(event("input_audio_buffer.append", audio=base64.b64encode(b"\1\2").decode()))
    assert read == Append(b"\1\2")


def test_the_other_events() -> None:
    assert read_event(event("input_audio_buffer.commit", event_id="e1")) == Commit("e1")
    assert read_event(event("input_audio_buffer.clear")) == Clear()
    assert read_event(event("session.update", session={})) == Update({}, "session.updated", None)
    flat = read_event(event("transcription_session.update", session={}))
    assert flat == Update({}, "transcription_session.updated", None)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("hello", None),
        ("[1]", None),
        (b"\0\1\2", None),
        ("[" * 100_000, None),
        (event("response.create", event_id="mine"), "type"),
        (event("input_audio_buffer.append", audio="*", event_id="mine"), "audio"),
        (event("input_audio_buffer.append", audio="你好", event_id="mine"), "audio"),
        (event("input_audio_buffer.append", audio=5, event_id="mine"), "audio"),
        (event("input_audio_buffer.append", event_id="mine"), "audio"),
        (event("session.update", session="x", event_id="mine"), "session"),
    ],
)
def test_what_can_not_be_followed_is_refused_with_the_clients_id(message: str | bytes, param: str | None) -> None:
    with pytest.raises(RefusedEvent) as caught:
        read_event(message)
    assert caught.value.param == param
    assert caught.value.event_id == ("mine" if param else None)


def test_the_defaults_are_the_apis() -> None:
    options = SessionSettings().session_options(ENABLED, own_threshold=0.6)
    assert SessionSettings().audio.input.format.rate == 24_000
    assert options.max_sentence_silence_ms == 500
    assert options.speech_noise_threshold == 0.6
    assert not options.partial_punctuation


def test_only_what_is_given_changes() -> None:
    first = updated(transcription={"model": "whisper-1", "language": "zh"}, turn_detection=None)
    second = updated(first, transcription={"prompt": "天气"})
    recognition = second.recognition(ENABLED)
    assert (recognition.model.id, recognition.language, recognition.prompt) == ("paraformer-demo", "zh", "天气")
    assert second.audio.input.turn_detection is None


def test_null_takes_a_setting_back_and_switches_turn_detection_off() -> None:
    changed = updated(updated(transcription={"language": "zh"}), transcription=None, turn_detection=None)
    assert changed.recognition(ENABLED).language is None
    assert changed.audio.input.turn_detection is None
    assert updated(changed, turn_detection={"type": "server_vad"}).audio.input.turn_detection is not None


def test_the_flat_shape_of_before_means_the_same() -> None:
    flat = {
        "input_audio_format": "g711_ulaw",
        "input_audio_transcription": {"model": "gpt-4o-transcribe", "language": "zh"},
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 700},
        "input_audio_noise_reduction": {"type": "near_field"},
    }
    changed = SessionSettings().updated(flat, ENABLED)
    assert changed.audio.input.format.law == "mu"
    assert changed.session_options(ENABLED, 0.6).max_sentence_silence_ms == 700
    shown = flattened(changed.described("sess_1", ENABLED))
    assert shown["input_audio_format"] == "g711_ulaw"
    assert shown["input_audio_transcription"]["model"] == "paraformer-demo"
    assert shown["turn_detection"]["silence_duration_ms"] == 700


def test_the_sdk_reads_the_described_session() -> None:
    shown = updated(turn_detection=None).described("sess_1", ENABLED)
    SessionUpdatedEvent.model_validate({"event_id": "e", "type": "session.updated", "session": shown}, strict=True)


@pytest.mark.parametrize(("threshold", "own_scale"), [(0, -1), (0.25, -0.2), (0.5, 0.6), (0.75, 0.8), (1, 1)])
def test_a_threshold_of_one_half_is_the_models_own(threshold: float, own_scale: float) -> None:
    options = updated(turn_detection={"type": "server_vad", "threshold": threshold}).session_options(ENABLED, 0.6)
    assert options.speech_noise_threshold == pytest.approx(own_scale)


def test_a_silence_beyond_sense_is_the_nearest_that_has_some() -> None:
    detection = updated(turn_detection={"type": "server_vad", "silence_duration_ms": 5}).audio.input.turn_detection
    assert detection is not None
    assert detection.silence_duration_ms == 200


@pytest.mark.parametrize("model", ["whisper-1", "gpt-4o-mini-transcribe", "gpt-realtime-whisper", "paraformer-demo"])
def test_names_that_mean_the_default_model(model: str) -> None:
    assert updated(transcription={"model": model}).recognition(ENABLED).model.id == "paraformer-demo"


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ModelNotFound) as caught:
        updated(transcription={"model": "no-such"})
    assert caught.value.param == "session.audio.input.transcription.model"


@pytest.mark.parametrize(
    ("input", "param"),
    [
        ({"format": {"type": "audio/ogg"}}, "session.audio.input.format.type"),
        ({"format": {"type": "audio/pcm", "rate": 1}}, "session.audio.input.format.rate"),
        ({"turn_detection": {"type": "guessing"}}, "session.audio.input.turn_detection.type"),
        ({"turn_detection": {"threshold": "high"}}, "session.audio.input.turn_detection.threshold"),
        ({"transcription": {"language": "klingon"}}, "session.audio.input.transcription.language"),
        ({"transcription": "whisper-1"}, "session.audio.input.transcription"),
    ],
)
def test_a_wrong_setting_is_named(input: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        updated(**input)
    assert caught.value.param == param


def test_only_transcription_sessions_are_to_be_had() -> None:
    with pytest.raises(InvalidRequest) as caught:
        SessionSettings().updated({"type": "realtime"}, ENABLED)
    assert caught.value.param == "session.type"


def test_keywords_and_the_words_of_a_prompt_are_hotwords() -> None:
    recognition = updated(transcription={"keywords": ["声学"], "prompt": "天气"}).recognition(ENABLED)
    assert recognition.hotwords == (Hotword("天气"), Hotword("声学"))


def test_qwen3_asr_reads_a_prompt_as_it_is() -> None:
    settings = SessionSettings().updated(
        {
            "type": "transcription",
            "audio": {"input": {"transcription": {"model": "qwen3-asr-demo", "keywords": ["声学"], "prompt": "天气"}}},
        },
        QWEN3,
    )
    recognition = settings.recognition(QWEN3)
    assert (recognition.prompt, recognition.hotwords) == ("天气", (Hotword("声学"),))


def test_log_probabilities_are_told_on_demand() -> None:
    session = {"type": "transcription", "include": ["item.input_audio_transcription.logprobs"]}
    assert SessionSettings().updated(session, ENABLED).logprobs
    assert not SessionSettings().logprobs


@pytest.mark.parametrize("audio", ["AQI=", "AQI", " AQ\nI="])
def test_audio_is_base64_in_any_form(audio: str) -> None:
    assert read_event(event("input_audio_buffer.append", audio=audio)) == Append(b"\1\2")
    assert read_event(event("input_audio_buffer.append", audio="-_8")) == Append(b"\xfb\xff")


@pytest.mark.parametrize("off", [{"type": "none"}, {"type": "None"}, {"type": "disabled"}, "none", False, None])
def test_turn_detection_is_switched_off_in_many_ways(off: object) -> None:
    changed = updated(turn_detection=off)
    assert changed.audio.input.turn_detection is None
    assert changed.warnings == ()


def test_semantic_turn_detection_is_the_servers_with_a_warning() -> None:
    changed = updated(turn_detection={"type": "semantic_vad", "eagerness": "low"})
    shown = changed.described("sess_1", ENABLED)
    assert shown["audio"]["input"]["turn_detection"]["type"] == "server_vad"
    assert any("semantic_vad" in warning for warning in shown["warnings"])
    assert "warnings" not in updated(changed, transcription={"language": "zh"}).described("sess_1", ENABLED)


@pytest.mark.parametrize("format", ["pcm16", "audio/pcm", {"type": "PCM16"}, {"type": "audio/pcm", "rate": "24000"}])
def test_a_format_may_be_only_named(format: object) -> None:
    given = updated(format=format).audio.input.format
    assert (given.type, given.rate) == ("audio/pcm", 24_000)


def test_the_rate_of_g711_is_always_the_same() -> None:
    assert updated(format={"type": "g711_ulaw", "rate": 1}).audio.input.format.law == "mu"


@pytest.mark.parametrize("language", ["auto", "AUTO", "none", "und", ""])
def test_a_language_may_be_left_to_the_model(language: str) -> None:
    assert updated(transcription={"language": language}).recognition(ENABLED).language is None


@pytest.mark.parametrize(
    "input",
    [
        {"turn_detection": {"threshold": 7}},
        {"turn_detection": {"prefix_padding_ms": -1}},
        {"transcription": {"prompt": "天气声学，" * 300_000}},
        {"transcription": {"language": "Sichuan"}},
        {"transcription": {"prompt": "今天我们在公司里一起讨论这个问题"}},
    ],
)
def test_what_can_be_had_only_nearly_is_a_warning(input: dict[str, Any]) -> None:
    changed = updated(**input)
    assert len(changed.warnings) == 1
    assert len(json.dumps(changed.described("sess_1", ENABLED), ensure_ascii=False)) < 12_000


@pytest.mark.parametrize(
    "input",
    [
        {"noise_reduction": "near_field"},
        {"noise_reduction": {"type": "far_field"}},
        {"delay": "low"},
        {"transcription": {"delay": "minimal", "model": "gpt-live-transcribe", "keywords": "天气, 声学"}},
    ],
)
def test_what_means_nothing_here_is_accepted(input: dict[str, Any]) -> None:
    assert updated(**input).warnings == ()
