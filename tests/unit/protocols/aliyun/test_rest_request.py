"""The query of Alibaba Cloud's REST API: what is understood, what is refused, what is reported."""

from typing import Any

import pytest

from service.domain import Diarization, Hotword, RawPcm
from service.errors import InvalidRequest, ModelNotFound, ServiceError, UnsupportedSampleRate
from service.protocols.aliyun.rest_request import RecognitionQuery, RecognitionRequest, query_parameters, resolve

ENABLED = ("paraformer-demo", "paraformer-large")


def understood(*items: tuple[str, str], **query: str) -> RecognitionRequest:
    given = [*items, *query.items()]
    return resolve(RecognitionQuery.from_items(given), [name for name, _ in given], ENABLED)


def test_an_empty_query_asks_for_everything_of_the_default_model() -> None:
    request = understood()
    assert request.options.model.id == "paraformer-demo"
    assert request.options.word_timestamps
    assert request.options.punctuation
    assert request.options.inverse_text_normalization
    assert (request.audio_address, request.raw, request.warnings) == ("", None, ())
    assert understood(format="", sample_rate="", model_id="", vocabulary_id="") == request


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
def test_pcm_is_raw_at_the_rate_that_is_named(rate: int) -> None:
    assert understood(format="pcm", sample_rate=str(rate)).raw == RawPcm(rate)


def test_only_pcm_is_raw_and_16_khz_unless_said() -> None:
    assert understood(format="PCM").raw == RawPcm(16000)
    for name in ("wav", "MP3", "aac", "amr", "opus", "speex", "flac", "m4a"):
        assert understood(format=name, sample_rate="8000").raw is None
    assert understood(sample_rate="8000").raw is None


@pytest.mark.parametrize("rate", ["11025", "0", "-16000", "abc", "9" * 5000])
def test_a_sample_rate_outside_the_list_is_refused_where_it_says_how_to_read(rate: str) -> None:
    with pytest.raises(UnsupportedSampleRate) as raised:
        understood(format="pcm", sample_rate=rate)
    assert raised.value.param == "sample_rate"
    assert "8000" in raised.value.message
    for format in ("wav", "mp3", ""):
        (warning,) = understood(format=format, sample_rate=rate).warnings
        assert "sample_rate" in warning


@pytest.mark.parametrize("rate", ["16000.0", "１６０００", " 16000"])
def test_a_sample_rate_is_a_number_in_any_writing(rate: str) -> None:
    assert understood(format="pcm", sample_rate=rate).raw == RawPcm(16000)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"word_timestamps": "perhaps"}, "word_timestamps"),
        ({"enable_punctuation_prediction": "2"}, "enable_punctuation_prediction"),
        ({"speaker_count": "two"}, "speaker_count"),
        ({"vocabulary_id": "\ufffd\ufffd 10"}, "vocabulary_id"),
    ],
)
def test_a_wrong_value_is_refused_and_named(query: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        understood(**query)
    assert raised.value.param == param


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest) as raised:
        understood(("format", "wav"), ("format", "pcm"))
    assert raised.value.param == "format"


def test_what_can_not_change_the_result_is_a_warning() -> None:
    (warning,) = understood(format="docx").warnings
    assert "format" in warning
    assert understood(speaker_count="0").options.diarization == Diarization(None)
    assert understood(("format", "pcm"), ("format", "pcm")).raw == RawPcm(16000)


def test_a_model_that_is_not_loaded_is_not_found() -> None:
    with pytest.raises(ModelNotFound):
        understood(model_id="gpt-9")
    assert understood(model_id="whisper-1").options.model.id == "paraformer-demo"
    assert understood(model_id="paraformer-large").options.model.id == "paraformer-large"


def test_switches_reach_recognition() -> None:
    options = understood(
        word_timestamps="false", enable_punctuation_prediction="0", enable_inverse_text_normalization="False"
    ).options
    assert not options.word_timestamps
    assert not options.punctuation
    assert not options.inverse_text_normalization


def test_what_has_no_effect_is_said() -> None:
    request = understood(vocabulary_id="张三 20", appkey="k", token="secret", volume="3")
    assert request.options.hotwords == (Hotword("张三", 20),)
    (about_names,) = request.warnings
    assert "volume" in about_names
    assert "token" not in about_names


def test_the_document_names_every_parameter_and_its_values() -> None:
    documented: dict[str, Any] = {p["name"]: p for p in query_parameters(RecognitionQuery)}
    assert set(documented) == set(RecognitionQuery.model_fields)
    assert documented["sample_rate"]["schema"]["enum"] == [8000, 16000, 22050, 24000, 44100, 48000]
    assert "pcm" in documented["format"]["schema"]["enum"]
    assert all(p["in"] == "query" and p["description"] and not p["required"] for p in documented.values())


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(ServiceError) as raised:
        understood(word_timestamps="s3cret")
    assert "s3cret" not in raised.value.message
