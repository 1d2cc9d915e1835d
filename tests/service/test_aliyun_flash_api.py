"""FlashRecognizer over the real pipeline: the REST API's speech, by sentences, each channel on its own."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.audio.decoders import decoders
from service.domain import Transcript
from service.protocols.aliyun.flash_response import FlashBody
from service.recordings.transcribe import Transcription
from tests.audio_files import Encoding, encode, wav16
from tests.service.conftest import Serve
from tests.service.test_aliyun_rest_api import assert_failure
from tests.speech import RECORDINGS, silence

FLASH = "/stream/v1/FlashRecognizer"
WEATHER = RECORDINGS["weather"]
DATE = RECORDINGS["date"]
OCTETS = {"content-type": "application/octet-stream"}


def post(client: TestClient, audio: bytes | None = None, **query: Any) -> Any:
    """Sends the weather question, or ``audio``."""
    content = WEATHER.path.read_bytes() if audio is None else audio
    return client.post(FLASH, content=content, params=query, headers=OCTETS)


def recognised(response: Any) -> FlashBody:
    assert response.status_code == 200, response.text
    body = FlashBody.model_validate_json(response.text)
    assert re.fullmatch(r"[0-9a-f]{32}", body.task_id)
    assert response.headers["task_id"] == body.task_id
    return body


def texts(body: FlashBody) -> list[tuple[int, str]]:
    """(channel, what is said in it), in the order of the sentences."""
    return [(sentence.channel_id, sentence.text) for sentence in body.flash_result.sentences]


def two_voices() -> np.ndarray[Any, Any]:
    """[samples, 2]: the weather question, and a date that is said at the same time."""
    length = max(len(WEATHER.pcm), len(DATE.pcm))
    channels = [np.pad(r.pcm.astype(np.float64) / 32768, (0, length - len(r.pcm))) for r in (WEATHER, DATE)]
    return np.stack(channels, axis=1)


def test_a_recording_is_its_sentences(client: TestClient) -> None:
    body = recognised(post(client))
    assert (body.status, body.message, body.warnings) == (20000000, "SUCCESS", None)
    assert texts(body) == [(0, WEATHER.text)]
    assert body.flash_result.duration == pytest.approx(1000 * WEATHER.duration_s, abs=10)
    assert body.flash_result.latency > 0


def test_sentences_and_words_are_those_of_the_rest_api(client: TestClient) -> None:
    audio = RECORDINGS["dialogue"].path.read_bytes()
    rest = client.post("/stream/v1/asr", content=audio, headers=OCTETS).json()
    body = recognised(post(client, audio, enable_word_level_result="true", enable_inverse_text_normalization="true"))
    sentences = body.flash_result.sentences
    assert "".join(s.text for s in sentences) == "".join(s["text"] for s in rest["segments"])
    assert all(re.fullmatch(r"[^。？！]+[。？！]", s.text) for s in sentences)
    words = [(w.text, w.begin_time, w.end_time) for s in sentences for w in s.words or ()]
    assert words == [
        (w["text"], round(1000 * w["start_time"]), round(1000 * w["end_time"]))
        for s in rest["segments"]
        for w in s["word_tokens"]
    ]
    for sentence in sentences:
        assert sentence.words
        assert sentence.text == "".join(w.text + w.punc for w in sentence.words)
        assert (sentence.begin_time, sentence.end_time) == (sentence.words[0].begin_time, sentence.words[-1].end_time)


def test_figures_are_written_where_they_are_asked_for(client: TestClient) -> None:
    audio = RECORDINGS["numbers"].path.read_bytes()
    assert texts(recognised(post(client, audio))) == [(0, "一共三百零五元。")]
    assert texts(recognised(post(client, audio, enable_inverse_text_normalization="1"))) == [(0, "一共305元。")]


def test_subtitles_are_no_longer_than_asked(client: TestClient) -> None:
    audio = RECORDINGS["dialogue"].path.read_bytes()
    whole, cut = recognised(post(client, audio)), recognised(post(client, audio, sentence_max_length=6))
    assert max(len(text) for _, text in texts(cut)) <= 6 < max(len(text) for _, text in texts(whole))
    assert "".join(text for _, text in texts(cut)) == "".join(text for _, text in texts(whole))


@pytest.mark.parametrize("encoding", [None, Encoding("flac", "flac", 16_000, 2)], ids=["plain", "decoded"])
def test_channels_that_speak_at_once_are_told_apart(client: TestClient, encoding: Encoding | None) -> None:
    voices = two_voices()
    audio = wav16(voices) if encoding is None else encode(voices, encoding)
    alone = [texts(recognised(post(client, r.path.read_bytes())))[0][1] for r in (WEATHER, DATE)]
    assert sorted(texts(recognised(post(client, audio)))) == [(0, alone[0]), (1, alone[1])]
    assert texts(recognised(post(client, audio, first_channel_only="true"))) == [(0, alone[0])]


def test_channels_take_one_decoder_at_a_time(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = Transcription.finish
    free: list[int] = []

    async def watched(self: Transcription) -> Transcript:
        free.append(decoders.recordings.free)
        return await finish(self)

    monkeypatch.setattr(Transcription, "finish", watched)
    before = decoders.recordings.free
    assert len(texts(recognised(post(client, encode(two_voices(), Encoding("flac", "flac", 16_000, 2)))))) == 2
    assert free == [before, before]  # what told how many channels there are has given its place back


def test_a_silent_channel_says_nothing(client: TestClient) -> None:
    quiet = np.zeros(len(WEATHER.pcm))
    audio = wav16(np.stack([quiet, WEATHER.pcm / 32768], axis=1))
    assert texts(recognised(post(client, audio))) == [(1, WEATHER.text)]
    assert texts(recognised(post(client, audio, first_channel_only="true"))) == []


def test_each_channel_is_counted_in_the_queue_and_all_are_one_request(serve: Serve) -> None:
    client = serve(max_queue_audio_sec=10)
    admission = client.app.state.serving.admission  # type: ignore[attr-defined]
    audio = wav16(np.stack([WEATHER.pcm / 32768] * 2, axis=1))
    with admission.admit(10 - 1.5 * WEATHER.duration_s):
        assert_failure(post(client, audio), 429, 40000005)
        recognised(post(client, audio, first_channel_only="true"))
    recognised(post(client, audio))
    assert (admission.requests, admission.audio_s) == (0, 0)


def test_no_speech_is_no_sentence(client: TestClient) -> None:
    body = recognised(post(client, silence(2.0).tobytes(), format="pcm", sample_rate=16000))
    assert (body.flash_result.sentences, body.flash_result.duration) == ([], 2000)


def test_audio_can_be_fetched(serve: Serve, address: str) -> None:
    client = serve(allow_private_audio_urls=True)
    assert texts(recognised(post(client, b"", audio_address=f"{address}/weather.flac"))) == [(0, WEATHER.text)]
    assert_failure(post(client, b"", audio_address=f"{address}/none.flac"), 400, 40000003)
    assert_failure(post(client, audio_address=f"{address}/weather.flac"), 400, 40000002)


def test_failures_are_those_of_the_rest_api(serve: Serve) -> None:
    client = serve(api_key="one")
    assert_failure(post(client), 401, 40000001)
    assert_failure(post(client, token="two"), 401, 40000001)
    assert_failure(post(client, b"this is no audio " * 50, token="one"), 415, 40000009)
    assert_failure(post(client, b"", token="one"), 400, 40000002)
    assert_failure(post(client, token="one", first_channel_only="perhaps"), 400, 40000003)
    assert_failure(post(client, token="one", format="pcm", sample_rate=11025), 400, 41010101)
    assert_failure(client.get(FLASH, params={"token": "one"}), 405, 40000000)
    (warning,) = recognised(post(client, token="one", customization_id="mine")).warnings or ()
    assert "customization_id" in warning


def test_the_openapi_document_describes_the_route(serve: Serve) -> None:
    operation = serve(api_key="one").get("/openapi.json").json()["paths"][FLASH]["post"]
    assert {p["name"] for p in operation["parameters"]} >= {"first_channel_only", "sentence_max_length", "format"}
    assert operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/FlashBody")
    assert "422" not in operation["responses"]
