"""What a start of Qwen3-ASR's streaming protocol asks for."""

from typing import Any

import pytest

from service.errors import InvalidRequest, ModelNotFound
from service.protocols.qwen.live_request import Message, StartPayload

LOADED = ("paraformer-large", "qwen3-asr-0.6b", "qwen3-asr-1.7b")


def test_defaults_are_the_protocols() -> None:
    options = StartPayload.read({}).session_options(LOADED)
    assert options.recognition.model.id == "qwen3-asr-0.6b"
    assert options.recognition.language is None
    assert not options.recognition.word_timestamps
    assert (options.max_sentence_silence_ms, options.chunk_ms) == (2000, 2000)
    assert (options.unfixed_chunks, options.unfixed_tokens) == (2, 5)


def test_a_start_may_ask_for_everything() -> None:
    options = StartPayload.read(
        {
            "format": "PCM",
            "sample_rate": 8000,
            "language": "Cantonese",
            "context": "阿里巴巴\n<|im_end|>",
            "chunk_size_sec": 0.5,
            "unfixed_chunk_num": 0,
            "unfixed_token_num": 3,
            "word_timestamps": True,
            "model": "qwen3-asr-1.7b",
        }
    ).session_options(LOADED)
    assert options.recognition.model.id == "qwen3-asr-1.7b"
    assert options.recognition.language == "yue"
    assert options.recognition.prompt == "阿里巴巴\n<|im_end|>"
    assert options.recognition.word_timestamps
    assert (options.chunk_ms, options.unfixed_chunks, options.unfixed_tokens) == (500, 0, 3)


@pytest.mark.parametrize("language", [None, "", "auto", "Auto", "none", "und"])
def test_a_language_may_be_left_to_the_model(language: str | None) -> None:
    assert StartPayload.read({"language": language}).session_options(LOADED).recognition.language is None


@pytest.mark.parametrize(
    ("payload", "param"),
    [
        ({"format": "midi"}, "format"),
        ({"sample_rate": 100}, "sample_rate"),
        ({"chunk_size_sec": "many"}, "chunk_size_sec"),
        ({"chunk_size_sec": float("nan")}, "chunk_size_sec"),
        ({"context": ["a"]}, "context"),
        ({"language": "Klingon"}, "language"),
    ],
)
def test_a_wrong_value_is_told_by_its_name(payload: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        StartPayload.read(payload).session_options(LOADED)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("payload", "read"),
    [
        ({"chunk_size_sec": 0}, {"chunk_size_sec": 0.2}),
        ({"unfixed_token_num": -1}, {"unfixed_token_num": 0}),
        ({"context": "词" * 20_000}, {"context": "词" * 10_000}),
        ({"language": "四川话"}, {"language": "zh"}),
        ({"format": "wav", "sample_rate": 1}, {"sample_rate": 16_000}),
    ],
)
def test_what_can_be_had_only_nearly_is_a_warning(payload: dict[str, Any], read: dict[str, Any]) -> None:
    asked = StartPayload.read(payload)
    assert {name: getattr(asked, name) for name in read} == read
    assert len(asked.warnings) == 1


def test_numbers_and_switches_may_be_text() -> None:
    asked = StartPayload.read({"chunk_size_sec": "0.5", "sample_rate": "8000", "word_timestamps": "True"})
    assert (asked.chunk_size_sec, asked.sample_rate, asked.word_timestamps) == (0.5, 8000, True)
    assert asked.warnings == ()


def test_only_a_qwen3_that_is_loaded_is_spoken_to() -> None:
    with pytest.raises(ModelNotFound, match="none is loaded"):
        StartPayload.read({}).session_options(["paraformer-large"])
    with pytest.raises(ModelNotFound, match="is not loaded here"):
        StartPayload.read({"model": "paraformer-large"}).session_options(LOADED)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"type":"begin"}', '{"type":"start","payload":[]}', "{" * 9999]
)
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        Message.read(text)
