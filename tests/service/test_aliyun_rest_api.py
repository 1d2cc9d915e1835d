"""Alibaba Cloud's REST API over the real pipeline: the same speech as through OpenAI's, in the cloud's shapes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import prometheus_client
import pytest
import soundfile
import soxr
from starlette.testclient import TestClient

from service.protocols.aliyun.rest_response import FailureBody, RecognitionBody
from service.recordings.transcribe import Transcription
from tests.audio_files import Encoding, encode
from tests.full_disk import fill
from tests.service.conftest import Serve
from tests.speech import FOLDER, RECORDINGS, silence

ASR = "/stream/v1/asr"
WEATHER = RECORDINGS["weather"]
DIALOGUE = RECORDINGS["dialogue"]
OCTETS = {"content-type": "application/octet-stream"}


def post(client: TestClient, audio: Any = None, **query: Any) -> Any:
    """Sends the weather question, or ``audio``."""
    content = WEATHER.path.read_bytes() if audio is None else audio
    return client.post(ASR, content=content, params=query, headers=OCTETS)


def recognised(response: Any) -> RecognitionBody:
    assert response.status_code == 200, response.text
    body = RecognitionBody.model_validate_json(response.text)
    assert re.fullmatch(r"[0-9a-f]{32}", body.task_id)
    assert response.headers["task_id"] == body.task_id
    return body


def assert_failure(response: Any, status: int, code: int) -> None:
    assert response.status_code == status, response.text
    assert set(response.json()) == {"task_id", "status", "message", "result"}
    body = FailureBody.model_validate_json(response.text)
    assert body.status == code, body
    assert body.message
    assert re.fullmatch(r"[0-9a-f]{32}", body.task_id)
    assert response.headers["task_id"] == body.task_id
    assert response.headers["content-type"] == "application/json"


def pcm_at(rate_hz: int) -> bytes:
    speech = WEATHER.pcm.astype(np.float32) / 32768
    return (soxr.resample(speech, 16_000, rate_hz) * 32767).astype("<i2").tobytes()


# What is said


def test_the_default_has_segments_words_and_times(client: TestClient) -> None:
    response = post(client)
    body = recognised(response)
    assert set(response.json()) == {
        "task_id", "status", "message", "result", "duration", "processing_time", "segments",
    }  # fmt: skip
    assert (body.status, body.message, body.result) == (200, "SUCCESS", WEATHER.text)
    assert body.duration == pytest.approx(WEATHER.duration_s, abs=0.01)
    assert body.processing_time > 0
    (segment,) = body.segments
    assert segment.word_tokens
    assert "".join(token.text for token in segment.word_tokens) == "今天天气怎么样"
    assert segment.start_time - 0.01 <= segment.word_tokens[0].start_time
    assert segment.word_tokens[-1].end_time <= segment.end_time + 0.01


@pytest.mark.parametrize("name", ["weather", "dialogue", "long-pause", "numbers"])
def test_either_api_gives_the_same_text_and_times(client: TestClient, name: str) -> None:
    audio = RECORDINGS[name].path.read_bytes()
    ours = recognised(post(client, audio))
    theirs = client.post("/v1/audio/transcriptions", files={"file": ("a", audio)}).json()
    assert ours.result == "\n".join(segment["text"] for segment in theirs["segments"])
    assert ours.duration == theirs["duration"]
    assert [
        (s.text, s.start_time, s.end_time, [(w.text, w.start_time, w.end_time) for w in s.word_tokens or ()])
        for s in ours.segments
    ] == [
        (s["text"], s["start"], s["end"], [(w["word"], w["start"], w["end"]) for w in s["words"]])
        for s in theirs["segments"]
    ]


def test_switches_are_followed(client: TestClient) -> None:
    audio = RECORDINGS["numbers"].path.read_bytes()
    assert recognised(post(client, audio)).result == "一共305元。"
    plain = post(
        client,
        audio,
        enable_inverse_text_normalization="false",
        enable_punctuation_prediction="false",
        word_timestamps="false",
    )
    assert recognised(plain).result == "一共三百零五元"
    assert set(plain.json()["segments"][0]) == {"text", "start_time", "end_time", "speaker_id"}


def test_the_cloud_style_answers_its_own_status(serve: Serve) -> None:
    client = serve(aliyun_status_style="cloud")
    assert recognised(post(client)).status == 20000000
    assert_failure(post(client, b"no audio"), 415, 40000009)


def test_hotwords_change_what_is_heard(client: TestClient) -> None:
    audio = RECORDINGS["hotword"].path.read_bytes()
    assert "陈书文" not in recognised(post(client, audio)).result
    told = recognised(post(client, audio, vocabulary_id="客厅 20 陈书文 20"))
    assert told.result == RECORDINGS["hotword"].text
    assert told.warnings is None


def test_hotwords_that_have_no_effect_are_reported(client: TestClient) -> None:
    (warning,) = recognised(post(client, vocabulary_id="客厅 20 龘靐 30 Bento 5")).warnings or ()
    assert "龘靐, Bento" in warning
    assert "客厅" not in warning
    (out_of_bounds,) = recognised(post(client, vocabulary_id="客厅 101")).warnings or ()
    assert "vocabulary_id" in out_of_bounds


def test_no_speech_is_an_empty_result_of_the_true_duration(client: TestClient) -> None:
    body = recognised(post(client, silence(2.0).tobytes(), format="pcm"))
    assert (body.result, body.segments, body.duration) == ("", [], pytest.approx(2.0))


def test_a_model_may_be_named(client: TestClient) -> None:
    assert recognised(post(client, model_id="paraformer-demo", appkey="any")).result == WEATHER.text
    assert_failure(post(client, b"no audio", model_id="gpt-9"), 404, 40000003)


# Formats


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 24000, 44100, 48000])
def test_raw_pcm_is_read_at_the_rate_that_is_named(client: TestClient, rate_hz: int) -> None:
    body = recognised(post(client, pcm_at(rate_hz), format="pcm", sample_rate=rate_hz))
    assert body.duration == pytest.approx(WEATHER.duration_s, abs=0.01)
    assert body.result
    if rate_hz >= 16_000:  # 8 kHz lacks what the demo model listens to
        assert body.result == WEATHER.text


def test_raw_pcm_is_never_guessed(client: TestClient) -> None:
    for query in ({}, {"format": "wav"}, {"sample_rate": "8000"}):
        assert_failure(post(client, pcm_at(16_000), **query), 415, 40000009)


def test_half_a_sample_at_the_end_is_dropped(client: TestClient) -> None:
    assert recognised(post(client, pcm_at(16_000) + b"\1", format="pcm")).result == WEATHER.text
    assert_failure(post(client, b"\1", format="pcm"), 415, 40000009)


@pytest.mark.parametrize("name", ["wav", "mp3", "amr", "m4a"])
def test_a_container_is_found_from_its_bytes_whatever_it_is_called(client: TestClient, name: str) -> None:
    assert recognised(post(client, format=name, sample_rate=8000)).result == WEATHER.text


def test_a_wav_file_that_is_called_pcm_is_still_a_wav_file(client: TestClient) -> None:
    wav = io.BytesIO()
    soundfile.write(wav, soxr.resample(WEATHER.pcm.astype(np.float32) / 32768, 16_000, 44_100), 44_100, format="WAV")
    body = recognised(post(client, wav.getvalue(), format="pcm"))
    assert (body.result, body.duration) == (WEATHER.text, pytest.approx(WEATHER.duration_s, abs=0.01))


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("mp3", Encoding("mp3", "libmp3lame", 16_000)),
        ("aac", Encoding("adts", "aac", 16_000)),
        ("m4a", Encoding("mp4", "aac", 16_000)),
        ("opus", Encoding("ogg", "libopus", 48_000)),
    ],
)
def test_compressed_formats_are_understood(client: TestClient, name: str, encoding: Encoding) -> None:
    speech = WEATHER.pcm.astype(np.float64) / 32768
    audio = encode(soxr.resample(speech, 16_000, encoding.rate_hz), encoding)
    assert recognised(post(client, audio, format=name)).result == WEATHER.text


@pytest.mark.parametrize("rate", ["11025", "0", "fast"])
def test_an_unsupported_sample_rate_has_a_code_of_its_own(client: TestClient, rate: str) -> None:
    assert_failure(post(client, format="pcm", sample_rate=rate), 400, 41010101)
    (warning,) = recognised(post(client, sample_rate=rate)).warnings or ()  # a file says its own
    assert "sample_rate" in warning


# How the audio comes


def test_a_body_may_come_in_chunks_of_unknown_length(client: TestClient) -> None:
    audio = WEATHER.path.read_bytes()

    def chunks() -> Iterator[bytes]:
        yield from (audio[start : start + 1000] for start in range(0, len(audio), 1000))

    assert recognised(post(client, chunks())).result == WEATHER.text


def test_audio_beyond_the_limit_is_refused(serve: Serve) -> None:
    client = serve(max_audio_size="100KB")
    announced = {**OCTETS, "content-length": str(3 * 2**30)}
    assert_failure(client.post(ASR, content=b"", headers=announced), 413, 40000000)
    assert_failure(post(client, bytes(110_000)), 413, 40000000)
    assert_failure(post(client, (bytes(50_000) for _ in range(3))), 413, 40000000)
    assert_failure(post(serve(max_audio_duration_sec=1)), 413, 40000000)


def test_an_empty_body_is_no_audio(client: TestClient) -> None:
    assert_failure(post(client, b""), 400, 40000002)
    assert_failure(post(client, b"", format="pcm"), 400, 40000002)


def test_a_form_is_told_to_come_as_a_body(client: TestClient) -> None:
    response = client.post(ASR, files={"file": ("a.flac", WEATHER.path.read_bytes())})
    assert_failure(response, 400, 40000002)
    assert "--data-binary" in response.json()["message"]


def test_audio_can_be_fetched(serve: Serve, address: str) -> None:
    client = serve(allow_private_audio_urls=True)
    assert recognised(post(client, b"", audio_address=f"{address}/weather.flac")).result == WEATHER.text
    assert_failure(post(client, b"", audio_address=f"{address}/none.flac"), 400, 40000003)


def test_raw_pcm_can_be_fetched(serve: Serve, address: str) -> None:
    client = serve(allow_private_audio_urls=True)
    size = (FOLDER / "weather.flac").stat().st_size
    body = recognised(post(client, b"", audio_address=f"{address}/weather.flac", format="pcm", sample_rate=8000))
    assert body.duration == pytest.approx(size // 2 / 8000, abs=0.01)


def test_an_address_within_is_refused(client: TestClient, address: str) -> None:
    assert_failure(post(client, b"", audio_address=f"{address}/weather.flac"), 400, 40000003)
    assert_failure(post(client, b"", audio_address="file:///etc/passwd"), 400, 40000003)


def test_a_body_beside_an_address_is_one_too_many(client: TestClient) -> None:
    assert_failure(post(client, audio_address="http://example.com/a.wav"), 400, 40000002)
    assert_failure(post(client, iter([b"RIFF"]), audio_address="http://example.com/a.wav"), 400, 40000002)


# Failures


@pytest.mark.parametrize("audio", [b"this is no audio " * 50, b"RIFF", b"\x89PNG\r\n\x1a\n" + bytes(200)])
def test_what_is_not_audio_is_never_recognised(client: TestClient, audio: bytes) -> None:
    assert_failure(post(client, audio), 415, 40000009)


@pytest.mark.parametrize(
    "query", [{"word_timestamps": "perhaps"}, {"format": ["wav", "pcm"]}, {"vocabulary_id": '{"客厅":'}]
)
def test_a_wrong_parameter_has_the_code_for_one(client: TestClient, query: dict[str, Any]) -> None:
    assert_failure(post(client, **query), 400, 40000003)


def test_a_full_disk_is_told_as_such(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(monkeypatch)
    response = post(client)
    assert_failure(response, 507, 50000000)
    assert int(response.headers["retry-after"]) > 0


def test_every_route_but_health_needs_the_key_before_the_body(serve: Serve) -> None:
    client = serve(api_key="one,two")
    for response in (post(client), client.get(f"{ASR}/models"), client.get("/stream/none"), client.put(ASR)):
        assert_failure(response, 401, 40000001)
    assert_failure(post(client, token="three"), 401, 40000001)
    assert "three" not in post(client, token="three").text
    assert_failure(client.post(ASR, headers={"content-length": str(3 * 2**30)}), 401, 40000001)
    assert recognised(post(client, token="one")).warnings is None
    for header in ({"X-NLS-Token": "two"}, {"Authorization": "Bearer one"}):
        assert client.get(f"{ASR}/models", headers=header).status_code == 200
    assert client.get(f"{ASR}/health").status_code == 200


def test_a_full_queue_says_when_to_come_back(serve: Serve) -> None:
    client = serve(max_queue_audio_sec=10)
    with client.app.state.serving.admission.admit(9):  # type: ignore[attr-defined]
        response = post(client)
        assert_failure(response, 429, 40000005)
        assert 1 <= int(response.headers["retry-after"]) <= 600
    for _ in range(12):
        assert_failure(post(client, b"no audio"), 415, 40000009)
    recognised(post(client))
    assert client.app.state.serving.admission.requests == 0  # type: ignore[attr-defined]


def test_while_models_load_clients_are_told_to_wait(serve: Serve) -> None:
    client = serve(ready=False)
    for response in (post(client), client.get(f"{ASR}/health")):
        assert_failure(response, 503, 50000000)
        assert int(response.headers["retry-after"]) > 0


def test_a_failure_of_ours_has_a_request_id_and_no_detail(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: Transcription) -> None:
        raise KeyError("secret detail")

    monkeypatch.setattr(Transcription, "finish", fail)
    response = post(client)
    assert_failure(response, 500, 50000000)
    assert response.headers["x-request-id"] in response.json()["message"]
    assert "secret" not in response.text


@pytest.mark.parametrize("path", ["/stream", "/stream/v1/none", "/stream/v1", "/stream/v1/asr/health/x"])
def test_an_unknown_route_answers_in_the_envelope(client: TestClient, path: str) -> None:
    assert_failure(client.get(path), 404, 40000000)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_a_wrong_method_answers_in_the_envelope(client: TestClient, method: str) -> None:
    response = client.request(method, ASR)
    assert_failure(response, 405, 40000000)
    assert response.headers["allow"] == "POST"


def test_a_path_that_only_begins_alike_is_not_of_this_api(client: TestClient) -> None:
    assert "error" in client.get("/streams").json()


# The other routes and what is said about them


def test_the_loaded_models_are_listed(client: TestClient) -> None:
    body = client.get(f"{ASR}/models").json()
    assert body["total"] == 2
    for model, name in zip(body["models"], ("paraformer-demo", "qwen3-asr-demo"), strict=True):
        default = name == "paraformer-demo"
        assert (model["id"], model["default"], model["loaded"], model["demo"]) == (name, default, True, True)
        assert model["languages"] == ["zh"]


def test_health_tells_models_device_queue_and_memory(client: TestClient) -> None:
    body = client.get(f"{ASR}/health").json()
    assert (body["status"], body["loaded_models"]) == ("healthy", ["paraformer-demo", "qwen3-asr-demo"])
    assert body["device"] in ("cpu", "cuda")
    assert (body["queue_audio_seconds"], body["queue_requests"]) == (0, 0)
    assert body["memory_mb"] > 10


def test_health_counts_what_waits(serve: Serve) -> None:
    client = serve()
    with client.app.state.serving.admission.admit(9):  # type: ignore[attr-defined]
        body = client.get(f"{ASR}/health").json()
    assert (body["queue_audio_seconds"], body["queue_requests"]) == (9, 1)


def test_a_task_id_is_the_requests_id_where_that_has_its_form(client: TestClient) -> None:
    given = {**OCTETS, "X-Request-Id": "0123456789abcdef0123456789abcdef"}
    audio = WEATHER.path.read_bytes()
    assert recognised(client.post(ASR, content=audio, headers=given)).task_id == given["X-Request-Id"]
    other = client.post(ASR, content=audio, headers={**OCTETS, "X-Request-Id": "mine-1"})
    assert recognised(other).task_id != other.headers["x-request-id"] == "mine-1"


def test_requests_are_counted_by_outcome(client: TestClient) -> None:
    def count(outcome: str) -> float:
        labels = {"protocol": "aliyun_rest", "outcome": outcome}
        return prometheus_client.REGISTRY.get_sample_value("asr_requests_total", labels) or 0

    before = {outcome: count(outcome) for outcome in ("ok", "unsupported_audio", "unsupported_sample_rate")}
    post(client)
    post(client, b"no audio")
    post(client, format="pcm", sample_rate="1")
    assert {outcome: count(outcome) - before[outcome] for outcome in before} == dict.fromkeys(before, 1)


def test_the_openapi_document_describes_the_routes(serve: Serve) -> None:
    document = serve(api_key="one").get("/openapi.json").json()
    operation = document["paths"][ASR]["post"]
    assert {p["name"] for p in operation["parameters"]} >= {"format", "sample_rate", "audio_address", "vocabulary_id"}
    assert "application/octet-stream" in operation["requestBody"]["content"]
    assert {"200", "400", "401", "404", "413", "415", "429", "500", "503"} <= set(operation["responses"])
    for status, answer in operation["responses"].items():
        name = "RecognitionBody" if status == "200" else "FailureBody"
        assert answer["content"]["application/json"]["schema"]["$ref"].endswith(f"/{name}")
    assert "task_id" in operation["responses"]["200"]["headers"]
    schemes = {name for alternative in operation["security"] for name in alternative}
    assert schemes == {"APIKeyHeader", "api-key", "APIKeyQuery", "HTTPBearer"}
    assert "422" not in operation["responses"]
    assert "security" not in document["paths"][f"{ASR}/health"]["get"]
