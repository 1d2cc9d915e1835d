"""What FunASR's clients send before their audio."""

from typing import Any

import pytest

from service.domain import Hotword, RawPcm
from service.errors import InvalidRequest
from service.protocols.funasr.live_request import Closing, Opening, read_message

ENABLED = ("paraformer-demo",)
# As funasr_wss_client.py sends it.
PYTHON_CLIENT = {
    "mode": "2pass",
    "chunk_size": [5, 10, 5],
    "chunk_interval": 10,
    "encoder_chunk_look_back": 4,
    "decoder_chunk_look_back": 0,
    "audio_fs": 16000,
    "wav_name": "demo",
    "wav_format": "pcm",
    "is_speaking": True,
    "hotwords": "",
    "itn": True,
}


def opening(**fields: Any) -> Opening:
    return Opening.read({**PYTHON_CLIENT, **fields})


def test_the_python_clients_first_frame_is_understood() -> None:
    read = opening()
    assert (read.mode, read.wav_name, read.stream_format, read.audio_fs) == ("2pass", "demo", "pcm", 16000)
    options = read.session_options(ENABLED)
    assert options.finals
    assert options.recognition.inverse_text_normalization


def test_a_client_of_the_offline_server_names_no_mode() -> None:
    read = Opening.read({"chunk_size": [5, 10, 5], "wav_name": "a", "is_speaking": True})
    assert read.mode is None
    assert read.result_mode == "offline"


def test_deltas_of_online_text_have_neither_marks_nor_digits_that_would_change_them() -> None:
    options = opening(mode="online").session_options(ENABLED)
    assert not options.finals
    assert not options.partial_punctuation
    assert not options.recognition.punctuation
    assert not options.recognition.inverse_text_normalization


def test_digits_are_a_wish_of_the_client() -> None:
    assert not opening(itn=False).session_options(ENABLED).recognition.inverse_text_normalization


@pytest.mark.parametrize(
    ("name", "format"), [("pcm", "pcm"), ("PCM", "pcm"), ("others", "any"), ("m4a", "any"), ("MP3", "mp3")]
)
def test_the_format_of_the_bytes(name: str, format: str) -> None:
    assert opening(wav_format=name).stream_format == format


def test_only_pcm_is_read_without_a_header() -> None:
    assert opening(audio_fs=8000).raw == RawPcm(8000)
    assert opening(wav_format="others").raw is None


def test_a_rate_may_be_a_whole_float() -> None:
    assert opening(audio_fs=16000.0).audio_fs == 16000


def test_null_is_as_good_as_absent() -> None:
    assert opening(hotwords=None, wav_name=None).wav_name == "microphone"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mode", "3pass"),
        ("audio_fs", "fast"),
        ("audio_fs", 100),
        ("hotwords", '{"词": '),
        ("hotwords", 5),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        opening(**{field: value})
    assert caught.value.param == field


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["词", "句"], (Hotword("词"), Hotword("句"))),
        ('["词", "句"]', (Hotword("词"), Hotword("句"))),
        ("词 20\n句 30", (Hotword("词", 20), Hotword("句", 30))),
        ("词:20", (Hotword("词", 20),)),
        ({"词": ""}, (Hotword("词"),)),
        ("[]", ()),
        ([], ()),
        ("", ()),
    ],
)
def test_hotwords_come_in_many_forms(value: object, words: tuple[Hotword, ...]) -> None:
    read = opening(hotwords=value)
    assert read.hotwords == words
    assert read.warnings == ()


def test_a_weight_out_of_bounds_is_told() -> None:
    read = opening(hotwords='{"词": 500, "好": 20}')
    assert read.hotwords == (Hotword("词", 100), Hotword("好", 20))
    assert read.warnings == ("hotwords: 1 weights are beyond 1 to 100 and count as the nearest.",)


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ({"wav_name": 5}, {"wav_name": "5"}),
        ({"mode": "2PASS"}, {"mode": "2pass"}),
        ({"mode": "Offline"}, {"mode": "offline"}),
        ({"itn": ""}, {"itn": True}),
        ({"itn": "False"}, {"itn": False}),
        ({"chunk_size": 5}, {}),
        ({"chunk_size": "a,b"}, {}),
        ({"is_speaking": "false"}, {"is_speaking": False}),
        ({"audio_fs": "8000"}, {"audio_fs": 8000}),
        ({"wav_format": "opu"}, {"stream_format": "opus"}),
    ],
)
def test_a_harmless_spelling_is_understood(fields: dict[str, Any], read: dict[str, Any]) -> None:
    said = opening(**fields)
    assert {name: getattr(said, name) for name in read} == read
    assert said.warnings == ()


def test_a_rate_that_has_no_effect_is_told() -> None:
    said = opening(wav_format="mp3", audio_fs=100)
    assert said.warnings == ("audio_fs: had no effect: the audio itself says what it was sampled at.",)


def test_a_recordings_name_is_not_repeated_at_any_length() -> None:
    said = opening(wav_name="x" * 60_000)
    assert len(said.wav_name) == 1000
    assert said.warnings


@pytest.mark.parametrize("end", [False, "false", "False", 0])
def test_an_end_is_an_end_in_any_spelling(end: object) -> None:
    assert Closing.read({"is_speaking": end, "is_end": "true"}).is_end
    with pytest.raises(InvalidRequest):
        Closing.read({"is_speaking": True})


@pytest.mark.parametrize("text", ["hello", "[1]", "", "[" * 100_000])
def test_a_frame_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_message(text)
