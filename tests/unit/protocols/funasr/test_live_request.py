"""What FunASR's clients send before their audio."""

import json
import logging
from typing import Any

import pytest

from service.domain import Hotword, RawPcm
from service.errors import InvalidRequest
from service.protocols.funasr.live_request import Opening, parse_hotwords, read_message

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
    return Opening.from_message({**PYTHON_CLIENT, **fields})


def test_the_python_clients_first_frame_is_understood() -> None:
    read = opening()
    assert (read.mode, read.wav_name, read.stream_format, read.audio_fs) == ("2pass", "demo", "pcm", 16000)
    options = read.session_options(ENABLED)
    assert options.finals
    assert options.recognition.inverse_text_normalization


def test_a_client_of_the_offline_server_names_no_mode() -> None:
    read = Opening.from_message({"chunk_size": [5, 10, 5], "wav_name": "a", "is_speaking": True})
    assert read.mode is None
    assert read.result_mode == "offline"


@pytest.mark.parametrize("sizes", ["5,10,5", "5, 10, 5", "[5, 10, 5]", [5, 10, 5]])
def test_chunk_sizes_come_as_a_list_or_in_a_string(sizes: object) -> None:
    assert opening(chunk_size=sizes).chunk_size == [5, 10, 5]


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
        ("chunk_size", "a,b,c"),
        ("chunk_size", [5, 10]),
        ("audio_fs", "fast"),
        ("audio_fs", 100),
        ("hotwords", '{"词": "heavy"}'),
        ("hotwords", '{"词": '),
        ("hotwords", 5),
        ("hotwords", {"词": None}),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        opening(**{field: value})
    assert caught.value.param == field


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"阿里巴巴":20,"通义实验室":30}', (Hotword("阿里巴巴", 20), Hotword("通义实验室", 30))),
        ("阿里巴巴 通义实验室", (Hotword("阿里巴巴"), Hotword("通义实验室"))),
        ("阿里巴巴,通义实验室", (Hotword("阿里巴巴"), Hotword("通义实验室"))),
        ("hello world, 你好，", (Hotword("hello world"), Hotword("你好"))),
        ('{"词": "20"}', (Hotword("词", 20),)),
        ("  ", ()),
        ("{}", ()),
    ],
)
def test_hotwords_have_three_forms(text: str, words: tuple[Hotword, ...]) -> None:
    assert parse_hotwords(text) == words


def test_an_object_of_hotwords_needs_no_string_around_it() -> None:
    assert parse_hotwords({"词": 5}) == (Hotword("词", 5),)


@pytest.mark.parametrize(("given", "taken"), [(0, 1), (-3, 1), (500, 100), (19.6, 20)])
def test_a_weight_out_of_bounds_is_the_nearest_there_is(given: float, taken: int) -> None:
    assert parse_hotwords(json.dumps({"词": given})) == (Hotword("词", taken),)


def test_a_weight_out_of_bounds_is_told_to_the_operator(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        parse_hotwords('{"词": 500, "好": 20}')
    assert [r.getMessage() for r in caplog.records] == [
        "hotword '词': its weight 500 is outside of 1 to 100 and counts as 100"
    ]


@pytest.mark.parametrize("text", ["hello", "[1]", "", "[" * 100_000])
def test_a_frame_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read_message(text)
