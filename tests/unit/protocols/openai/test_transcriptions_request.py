"""What a form of the OpenAI API says, in all its spellings."""

from typing import Any

import pytest

from service.domain import Diarization, Hotword
from service.errors import InvalidRequest, ModelNotFound
from service.protocols.openai.transcriptions_request import (
    TranscriptionForm,
    TranscriptionRequest,
    resolve,
)

ENABLED = ("paraformer-demo", "paraformer-large")


def read(**fields: Any) -> TranscriptionRequest:
    """Keyword arguments as form fields; ``x__`` stands for ``x[]``."""
    sent = {name.replace("__", "[]"): value if isinstance(value, list) else [value] for name, value in fields.items()}
    return resolve(TranscriptionForm.from_fields(sent), sent, ENABLED)


def test_an_empty_form_gets_the_documented_defaults() -> None:
    request = read()
    assert request.options.model.id == "paraformer-demo"
    assert request.options.language is None
    assert request.response_format == "verbose_json"
    assert set(request.granularities) == {"segment", "word"}
    assert request.options.punctuation
    assert request.options.inverse_text_normalization
    assert not request.stream
    assert request.warnings == ()


@pytest.mark.parametrize("yes", ["true", "True", "TRUE", "1", "yes", "on"])
@pytest.mark.parametrize("no", ["false", "0", "no", "off"])
def test_booleans_are_read_as_people_write_them(yes: str, no: str) -> None:
    request = read(stream=yes, enable_punctuation_prediction=no)
    assert request.stream
    assert not request.options.punctuation


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stream", "perhaps"), ("word_timestamps", "2"), ("response_format", "xml"),
        ("timestamp_granularities[]", "letter"), ("timestamp_granularities", "letter"), ("include[]", "everything"),
        ("speaker_count", "two"), ("language", "Klingon"), ("language", "en"), ("languages[]", "en"),
        ("keywords[]", "x" * 201), ("keywords", ",".join(["x"] * 1001)), ("known_speaker_names[]", "x" * 60_000),
        ("known_speaker_names[]", ["a", "b", "c", "d", "e"]), ("model", ["a", "b"]), ("stream", ["true", "false"]),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_name(field: str, value: Any) -> None:
    sent = {field: value if isinstance(value, list) else [value]}
    with pytest.raises(InvalidRequest) as raised:
        resolve(TranscriptionForm.from_fields(sent), sent, ENABLED)
    assert raised.value.status == 400
    assert raised.value.param == field.partition("[")[0]
    assert field.partition("[")[0] in raised.value.message


@pytest.mark.parametrize("name", ["", "whisper-1", "whisper-large-v3", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"])
def test_openais_model_names_mean_the_default_model(name: str) -> None:
    assert read(model=name).options.model.id == "paraformer-demo"


def test_a_model_that_is_not_loaded_is_not_found() -> None:
    assert read(model="paraformer-large").options.model.id == "paraformer-large"
    with pytest.raises(ModelNotFound) as raised:
        read(model="gpt-9")
    assert raised.value.param == "model"
    assert "paraformer-demo" in raised.value.message


def test_lists_come_with_brackets_or_without() -> None:
    bracketed = read(response_format="verbose_json", timestamp_granularities__=["word", "segment"])
    bare = read(response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert bracketed.granularities == bare.granularities == ("word", "segment")
    assert read(model__="paraformer-large").options.model.id == "paraformer-large"


def test_word_times_can_be_left_out() -> None:
    assert read(word_timestamps="false").granularities == ("segment",)


def test_granularities_are_for_verbose_json() -> None:
    assert read(timestamp_granularities__="word").granularities == ("word",)
    assert read(timestamp_granularities__="word").warnings == ()
    for other in ({"response_format": "json"}, {"response_format": "srt"}, {"stream": "true"}):
        (warning,) = read(timestamp_granularities__="word", **other).warnings
        assert "timestamp_granularities" in warning


def test_logprobs_are_for_json_and_streams() -> None:
    assert read(include__="logprobs").response_format == "json"
    assert read(include__="logprobs", stream="true").logprobs
    with pytest.raises(InvalidRequest) as raised:
        read(include__="logprobs", response_format="srt")
    assert raised.value.param == "include"


@pytest.mark.parametrize("response_format", ["srt", "vtt"])
def test_subtitles_are_not_streamed(response_format: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(stream="true", response_format=response_format)
    assert raised.value.param == "response_format"


@pytest.mark.parametrize(
    "fields",
    [
        {"chunking_strategy": ["auto"]},
        {"chunking_strategy": ['{"type":"server_vad"}']},
        {"chunking_strategy[type]": ["server_vad"]},
    ],
)
def test_the_chunking_strategy_has_three_spellings(fields: dict[str, list[str]]) -> None:
    assert resolve(TranscriptionForm.from_fields(fields), fields, ENABLED).warnings == ()


def test_what_has_no_effect_is_said() -> None:
    fields = {
        "keywords[]": ["甲", "乙"],
        "speaker_count": ["2"],
        "response_format": ["json"],
        "chunking_strategy[type]": ["server_vad"],
        "chunking_strategy[threshold]": ["0.4"],
        "lanugage": ["zh"],
    }
    request = resolve(TranscriptionForm.from_fields(fields), fields, ENABLED)
    assert request.options.hotwords == (Hotword("甲"), Hotword("乙"))
    assert len(request.warnings) == 3
    for word in ("speaker_count", "chunking_strategy", "lanugage"):
        assert any(word in warning for warning in request.warnings)


def test_prompt_and_language_reach_recognition() -> None:
    options = read(prompt="客厅", language="Chinese").options
    assert (options.prompt, options.language) == ("客厅", "zh")
    assert read(languages__=["zh"]).options.language == "zh"
    assert read(language="auto").options.language is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"temperature": ["1.5"]}, True),
        ({"temperature": ["-1"]}, True),
        ({"temperature": ["hot"]}, True),
        ({"temperature": ["nan"]}, True),
        ({"temperature": ["0.0", "0.2", "0.4"]}, True),
        ({"temperature[]": ["0.0", "0.2"]}, True),
        ({"temperature": ["0.2"]}, False),
        ({"chunking_strategy": ["never"]}, True),
        ({"chunking_strategy": ["[1]"]}, True),
        ({"chunking_strategy": ['{"type":"server_vad","threshold":7}']}, True),
        ({"chunking_strategy[threshold]": ["0.5"]}, True),
        ({"chunking_strategy": ["{" * 10_000]}, True),
        ({"chunking_strategy": ["AUTO"]}, False),
    ],
)
def test_what_has_no_effect_has_no_wrong_value(fields: dict[str, list[str]], said: bool) -> None:
    request = resolve(TranscriptionForm.from_fields(fields), fields, ENABLED)
    assert bool(request.warnings) == said


@pytest.mark.parametrize("value", ["0", "auto", "AUTO", "null", "-1"])
def test_speakers_may_be_left_to_be_counted(value: str) -> None:
    request = read(speaker_count=value)
    assert request.options.diarization == Diarization(None)
    assert request.warnings == ()


@pytest.mark.parametrize("value", ["auto", "Auto", "none", "null", "undefined", "und", "multi"])
def test_no_language_is_chosen_by_these_words(value: str) -> None:
    assert read(language=value, languages__=[value]) == read()


@pytest.mark.parametrize(
    "fields",
    [
        {"keywords[]": ["甲,乙"]},
        {"keywords": ["甲 乙"]},
        {"keywords": ["甲", "乙"]},
        {"keywords[0]": ["甲"], "keywords[1]": ["乙"]},
        {"keywords": ['["甲", "乙"]']},
        {"keywords": ["\u200b甲，\u202e乙"]},
    ],
)
def test_keywords_are_listed_in_many_ways(fields: dict[str, list[str]]) -> None:
    request = resolve(TranscriptionForm.from_fields(fields), fields, ENABLED)
    assert request.options.hotwords == (Hotword("甲"), Hotword("乙"))
    assert request.warnings == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"timestamp_granularities": ["word,segment"]},
        {"timestamp_granularities": ['["word","segment"]']},
        {"timestamp_granularities[0]": ["Word"], "timestamp_granularities[1]": ["SEGMENT"]},
    ],
)
def test_granularities_are_listed_in_many_ways(fields: dict[str, list[str]]) -> None:
    assert resolve(TranscriptionForm.from_fields(fields), fields, ENABLED).granularities == ("word", "segment")


def test_formats_have_any_case() -> None:
    assert read(response_format="SRT").response_format == "srt"
    assert read(response_format="Verbose_JSON").response_format == "verbose_json"


def test_the_same_value_twice_says_nothing_new() -> None:
    assert read(stream=["true", "true"]).stream


def test_speakers_names_may_share_a_field() -> None:
    urls = ["data:audio/wav;base64,AAAA", "data:audio/wav;base64,BBBB"]
    request = read(known_speaker_names="Ann, Bob", known_speaker_references=",".join(urls))
    assert request.speaker_references == (("Ann", urls[0]), ("Bob", urls[1]))
    assert read(known_speaker_names="Ann, B", known_speaker_references=urls[0]).speaker_references == (
        ("Ann, B", urls[0]),
    )


def test_a_dialect_is_its_language_with_a_warning() -> None:
    request = read(language="四川话")
    assert request.options.language == "zh"
    assert "Sichuan" in request.warnings[0]
    with pytest.raises(InvalidRequest):
        read(language="Cantonese (Hong Kong accent)")  # which Paraformer has not


def test_a_prompt_of_any_length_costs_little() -> None:
    request = read(prompt="天气，" * 20_000)
    assert len(request.options.prompt) == 10_000
    assert request.options.hotwords == (Hotword("天气"),)
    assert "prompt" in request.warnings[0]


def test_a_thousand_unknown_fields_are_one_short_warning() -> None:
    (warning,) = read(**{f"unknown{i}": "x" for i in range(1000)}).warnings
    assert len(warning) < 300
    assert "and 990 others" in warning
