"""The OpenAI Audio API over the real pipeline: what clients get for good requests and for bad ones."""

from __future__ import annotations

import io
import json
import re
import struct
import wave
from pathlib import Path
from typing import Any

import prometheus_client
import pysubs2
import pytest
import soundfile
import srt as srt_parser
import webvtt
from starlette.testclient import TestClient

from service.protocols.openai.transcriptions_response import ErrorBody, TranscriptionBody, VerboseTranscriptionBody
from tests.audio_files import Encoding, encode, two_tracks
from tests.full_disk import fill
from tests.hostile_audio import constant_frames, distant_packets, endless_index
from tests.service.conftest import Serve
from tests.speech import RECORDINGS, error_rate, noise, silence

TRANSCRIPTIONS = "/v1/audio/transcriptions"
WEATHER = RECORDINGS["weather"]
DIALOGUE = RECORDINGS["dialogue"]


def post(client: TestClient, audio: bytes | None = None, **fields: Any) -> Any:
    """Sends the weather question, or ``audio``; ``x__`` stands for the field ``x[]``."""
    data = {name.replace("__", "[]"): value for name, value in fields.items()}
    content = WEATHER.path.read_bytes() if audio is None else audio
    return client.post(TRANSCRIPTIONS, files={"file": ("speech", content)}, data=data)


def wav(*parts: Any) -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        for part in parts:
            file.writeframes(part.tobytes())
    return target.getvalue()


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def assert_failure(response: Any, status: int, code: str | None = None, param: str | None = None) -> None:
    assert response.status_code == status, response.text
    error = ErrorBody.model_validate_json(response.text).error
    assert error.message
    assert error.param == param
    assert code is None or error.code == code
    assert response.headers["x-request-id"]


# What is said


def test_the_default_is_verbose_json_with_words(client: TestClient) -> None:
    body = VerboseTranscriptionBody.model_validate(post(client).json())
    assert body.text == WEATHER.text
    assert body.language == "zh"
    assert body.duration == pytest.approx(WEATHER.duration_s, abs=0.01)
    assert body.segments
    assert body.words
    assert "".join(word.word for word in body.words) == "今天天气怎么样"


def test_json_is_the_text_and_its_measure(client: TestClient) -> None:
    response = post(client, response_format="json")
    usage = {"type": "duration", "seconds": 3}
    assert response.json() == {"text": WEATHER.text, "languages": [{"code": "zh"}], "usage": usage}


def test_text_is_the_text(client: TestClient) -> None:
    response = post(client, response_format="text")
    assert response.text == WEATHER.text
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


def test_subtitles_can_be_read_by_players(client: TestClient) -> None:
    audio = DIALOGUE.path.read_bytes()
    as_srt = post(client, audio, response_format="srt")
    assert as_srt.headers["content-type"].startswith("application/x-subrip")
    cues = list(srt_parser.parse(as_srt.text))
    assert len(cues) > 1
    assert len(pysubs2.SSAFile.from_string(as_srt.text)) == len(cues)
    as_vtt = post(client, audio, response_format="vtt")
    assert as_vtt.headers["content-type"].startswith("text/vtt")
    assert len(list(webvtt.from_string(as_vtt.text))) == len(cues)


def test_logprobs_come_with_json(client: TestClient) -> None:
    body = TranscriptionBody.model_validate(post(client, response_format="json", include__="logprobs").json())
    assert body.logprobs
    assert all(entry.logprob <= 0 for entry in body.logprobs)


def test_times_are_from_the_start_of_the_file(client: TestClient) -> None:
    body = VerboseTranscriptionBody.model_validate(post(client, DIALOGUE.path.read_bytes()).json())
    assert body.segments
    assert body.words
    assert error_rate(DIALOGUE.text, body.text) < 0.3
    starts = [word.start for word in body.words]
    assert starts == sorted(starts)
    assert starts[-1] > DIALOGUE.sentences[-1].start_s - 0.5
    for segment in body.segments:
        assert segment.words
        assert segment.start - 0.01 <= segment.words[0].start
        assert segment.words[-1].end <= segment.end + 0.01


def test_granularities_choose_what_has_times(client: TestClient) -> None:
    words = post(client, response_format="verbose_json", timestamp_granularities__="word").json()
    assert "words" in words
    assert "segments" not in words
    segments = post(client, response_format="verbose_json", timestamp_granularities__="segment").json()
    assert "segments" in segments
    assert "words" not in segments
    assert "words" not in post(client, word_timestamps="false").json()


def test_numbers_and_punctuation_follow_the_switches(client: TestClient) -> None:
    audio = RECORDINGS["numbers"].path.read_bytes()
    assert post(client, audio).json()["text"] == "一共305元。"
    spoken = post(client, audio, enable_inverse_text_normalization="0", enable_punctuation_prediction="no")
    assert spoken.json()["text"] == "一共三百零五元"


@pytest.mark.parametrize("language", ["zh", "zh-CN", "Chinese", "cmn"])
def test_a_language_of_the_model_is_taken_under_any_name(client: TestClient, language: str) -> None:
    assert post(client, language=language).json()["language"] == "zh"


def test_what_has_no_effect_is_said_in_every_format(client: TestClient) -> None:
    told = post(client, response_format="json", keywords__=["客厅", "Bento"])
    assert [w for w in told.json()["warnings"] if "Bento" in w and "客厅" not in w]
    assert "Bento" in post(client, response_format="text", keywords__=["Bento"]).headers["x-warnings"]
    streamed = events(post(client, stream="true", response_format="json", keywords__=["Bento"]).text)
    assert "Bento" in streamed[-1]["warnings"][0]
    assert "warnings" not in post(client, response_format="json", prompt="客厅").json()


@pytest.mark.parametrize("fields", [{"keywords__": ["陈书文", "客厅"]}, {"prompt": "通讯录：陈书文、王心音。"}])
def test_hotwords_change_what_is_heard(client: TestClient, fields: dict[str, Any]) -> None:
    audio = RECORDINGS["hotword"].path.read_bytes()
    assert "陈书文" not in post(client, audio, response_format="text").text
    assert post(client, audio, response_format="text", **fields).text == RECORDINGS["hotword"].text


def test_a_thousand_unknown_fields_make_no_header_that_proxies_refuse(client: TestClient) -> None:
    response = post(
        client, response_format="text", prompt="一段很长的说明文字不是热词", **{f"字段{i}": "x" for i in range(1000)}
    )
    assert response.text == WEATHER.text
    assert "990 others" in response.headers["x-warnings"]
    assert len(response.headers["x-warnings"]) < 4200


def test_a_long_prompt_is_one_warning(client: TestClient) -> None:
    prompt = "，".join(f"这是一段很长的说明文字不是热词啊啊{i}" for i in range(300))
    warnings = post(client, prompt=prompt).json()["warnings"]
    assert len(warnings) == 1
    assert "300" in warnings[0]
    too_many = " ".join(f"龘{i}" for i in range(1001))
    assert_failure(post(client, prompt=too_many), 400, param="prompt")
    assert_failure(post(client, keywords__=too_many.split()), 400, param="keywords")


@pytest.mark.parametrize("audio", [silence(2.0), noise(2.0)], ids=["silence", "noise"])
def test_no_speech_is_an_empty_transcript_of_the_true_duration(client: TestClient, audio: Any) -> None:
    body = post(client, wav(audio)).json()
    assert (body["text"], body["segments"]) == ("", [])
    assert body["duration"] == pytest.approx(2.0)


def test_fifty_milliseconds_are_no_failure(client: TestClient) -> None:
    body = post(client, wav(silence(0.05))).json()
    assert (body["text"], body["duration"]) == ("", pytest.approx(0.05))


# Streamed


def test_a_stream_adds_up_to_the_text(client: TestClient) -> None:
    audio = wav(*[part for _ in range(4) for part in (RECORDINGS["weather"].pcm, silence(4.0))])
    whole = post(client, audio, response_format="json").json()["text"]
    response = post(client, audio, stream="true")
    assert response.headers["content-type"].startswith("text/event-stream")
    *deltas, done = events(response.text)
    assert len(deltas) == 4  # silences of more than 3 s end segments
    assert {event["type"] for event in deltas} == {"transcript.text.delta"}
    assert "".join(event["delta"] for event in deltas) == whole
    assert (done["type"], done["text"]) == ("transcript.text.done", whole)


@pytest.mark.parametrize("marks", ["true", "false"])
def test_a_monologue_without_long_pauses_is_streamed_by_sentence(client: TestClient, marks: str) -> None:
    audio = RECORDINGS["dialogue"].path.read_bytes()
    whole = post(client, audio, enable_punctuation_prediction=marks).json()
    response = post(client, audio, stream="true", include__="logprobs", enable_punctuation_prediction=marks)
    *deltas, done = events(response.text)
    texts = [event["delta"] for event in deltas]
    assert "".join(texts) == done["text"] == whole["text"]
    assert [entry for event in deltas for entry in event["logprobs"]] == done["logprobs"]
    if marks == "true":
        assert len(texts) == sum(map(whole["text"].count, "。？")) > 5
        assert all(text[-1] in "。？" for text in texts)
    else:
        assert len(texts) == 1


def test_a_streams_deltas_have_logprobs_when_asked(client: TestClient) -> None:
    delta, done = events(post(client, stream="true", include__="logprobs").text)
    assert delta["logprobs"] == done["logprobs"] != []


def test_a_stream_of_silence_is_done_at_once(client: TestClient) -> None:
    (done,) = events(post(client, wav(silence(1.0)), stream="true").text)
    assert (done["type"], done["text"]) == ("transcript.text.done", "")


def test_a_stream_that_cannot_begin_has_a_true_status(client: TestClient) -> None:
    assert_failure(post(client, b"no audio", stream="true"), 400, "unsupported_audio")


# Bad input


@pytest.mark.parametrize(
    "audio",
    [
        b"",
        b"this is no audio " * 50,
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        b"ID3\x04\0\0\0\0\0\0" + bytes(50),
        WEATHER.path.read_bytes()[:40],
        b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVEfmt ",
    ],
    ids=["empty", "text", "picture", "bare tag", "header cut off", "wave cut off"],
)
def test_what_is_not_audio_is_never_transcribed(client: TestClient, audio: bytes) -> None:
    assert_failure(post(client, audio), 400, "unsupported_audio")


def test_a_truncated_recording_gives_what_there_is(client: TestClient) -> None:
    whole = encode(soundfile.read(WEATHER.path)[0], Encoding("mp3", "libmp3lame", 16_000))
    body = post(client, whole[: len(whole) * 3 // 4]).json()
    assert 0 < body["duration"] < WEATHER.duration_s
    assert body["text"]


def test_what_the_decoder_noticed_is_told(client: TestClient) -> None:
    whole = encode(soundfile.read(WEATHER.path)[0], Encoding("flac", "flac", 16_000))
    response = post(client, whole[: len(whole) * 3 // 4])
    assert "cut off" in " ".join(response.json()["warnings"])
    assert "cut off" in response.headers["X-Warnings"]


def test_another_audio_track_can_be_chosen(client: TestClient) -> None:
    film = two_tracks("matroska", "libopus", default=1)
    assert "track 1 was transcribed" in post(client, film).json()["warnings"][0]
    assert "track 2 was transcribed" in post(client, film, audio_track="2").json()["warnings"][0]
    assert_failure(post(client, film, audio_track="3"), 400, "invalid_request", "audio_track")


def test_a_recording_beyond_the_longest_is_refused(serve: Serve) -> None:
    bomb = io.BytesIO()  # small on disk
    soundfile.write(bomb, silence(120.0), 16_000, format="FLAC")
    assert len(bomb.getvalue()) < 20_000
    assert_failure(post(serve(max_audio_duration_sec=60), bomb.getvalue()), 413, "audio_too_large")


def test_small_files_that_ask_for_much_are_refused_and_the_service_goes_on(client: TestClient) -> None:
    assert_failure(post(client, endless_index(40_000_000)), 400, "unsupported_audio")
    assert_failure(post(client, constant_frames(40)), 413, "audio_too_large")
    assert post(client, distant_packets(6, 3600)).json()["duration"] < 1
    assert post(client).status_code == 200


def test_a_file_beyond_the_limit_is_refused(serve: Serve) -> None:
    client = serve(max_audio_size="100KB")
    assert_failure(post(client, bytes(110_000)), 413, "audio_too_large", "file")
    announced = {"content-type": "multipart/form-data; boundary=x", "content-length": str(3 * 2**30)}
    assert_failure(client.post(TRANSCRIPTIONS, content=b"", headers=announced), 413, "audio_too_large", "file")


def test_no_audio_at_all_is_said(client: TestClient) -> None:
    form = client.post(TRANSCRIPTIONS, files={"model": (None, b"whisper-1")})
    assert_failure(form, 400, param="file")
    assert_failure(client.post(TRANSCRIPTIONS, data={"model": "whisper-1"}), 400)
    assert_failure(client.post(TRANSCRIPTIONS, json={}), 400)
    assert_failure(client.post(TRANSCRIPTIONS), 400)


@pytest.mark.parametrize("name", ["audio", "audio_file", "data"])
def test_a_wrong_name_of_the_file_is_answered_with_the_right_one(client: TestClient, name: str) -> None:
    response = client.post(TRANSCRIPTIONS, files={name: ("a.wav", WEATHER.path.read_bytes())})
    assert_failure(response, 400, param="file")
    assert "`file`" in response.text


def test_two_recordings_are_one_too_many(client: TestClient) -> None:
    assert_failure(post(client, audio_address="http://example.com/a.wav"), 400, param="audio_address")
    twice = [("file", ("a", b"1")), ("file", ("b", b"2"))]
    assert_failure(client.post(TRANSCRIPTIONS, files=twice), 400, param="file")


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"model": "gpt-9"}, 404, "model_not_found", "model"),
        ({"model": "paraformer-large"}, 404, "model_not_found", "model"),
        ({"language": "en"}, 400, None, "language"),
        ({"response_format": "xml"}, 400, None, "response_format"),
        ({"stream": "true", "response_format": "srt"}, 400, None, "response_format"),
        ({"prompt": "a\0b"}, 400, None, "prompt"),
        ({"known_speaker_names__": ["a", "b", "c", "d", "e"]}, 400, None, "known_speaker_names"),
        ({"known_speaker_names__": ["x" * 60_000]}, 400, None, "known_speaker_names"),
        (
            {"known_speaker_names__": "a", "known_speaker_references__": "data:a;base64,你好"},
            400,
            None,
            "known_speaker_references",
        ),
        ({"known_speaker_references__": ["data:,"] * 5}, 400, None, "known_speaker_references"),
    ],
)
def test_a_wrong_field_is_named(
    client: TestClient, fields: dict[str, Any], status: int, code: str | None, param: str
) -> None:
    assert_failure(post(client, **fields), status, code, param)


def test_an_unknown_model_is_found_out_before_the_file_is_looked_at(client: TestClient) -> None:
    assert_failure(post(client, b"no audio", model="gpt-9"), 404, "model_not_found", "model")


# An address instead of a file


def fetch(client: TestClient, address: str) -> Any:
    return client.post(TRANSCRIPTIONS, files={"audio_address": (None, address)})


def test_audio_can_be_fetched(serve: Serve, address: str) -> None:
    client = serve(allow_private_audio_urls=True)
    assert fetch(client, f"{address}/weather.flac").json()["text"] == WEATHER.text
    # What browsers send where no file was chosen.
    form = {"file": ("", b""), "audio_address": (None, f"{address}/weather.flac")}
    assert client.post(TRANSCRIPTIONS, files=form).json()["text"] == WEATHER.text


def test_a_full_disk_is_told_as_such_however_the_audio_comes(
    serve: Serve, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(monkeypatch)
    client = serve(allow_private_audio_urls=True)
    for response in (post(client), fetch(client, f"{address}/weather.flac")):
        assert_failure(response, 507, "storage_full")
        assert int(response.headers["retry-after"]) > 0


def test_an_address_within_is_refused(client: TestClient, address: str) -> None:
    assert_failure(fetch(client, f"{address}/weather.flac"), 400, "invalid_audio_address", "audio_address")
    assert_failure(fetch(client, "file:///etc/passwd"), 400, "invalid_audio_address", "audio_address")


def test_an_address_with_too_much_behind_it_is_refused(serve: Serve, address: str) -> None:
    client = serve(allow_private_audio_urls=True, max_audio_size="10KB")
    assert fetch(client, f"{address}/weather.flac").status_code == 413


# Who and how much


@pytest.mark.parametrize(
    "headers", [{"api-key": "one"}, {"x-api-key": "one"}, {"X-NLS-Token": "one"}, {"Authorization": "Bearer one"}]
)
def test_a_key_comes_in_any_of_its_headers(serve: Serve, headers: dict[str, str]) -> None:
    client = serve(api_key="one")
    assert client.get("/v1/models", headers=headers).status_code == 200
    assert client.get("/v1/models?token=one").status_code == 200


@pytest.mark.parametrize(
    "path", ["/models", "//v1//models", "/v1/models/", "/v1/v1/models", "/openai/v1/models", "/openai/models"]
)
def test_a_path_by_another_name_needs_a_key_too(serve: Serve, path: str) -> None:
    client = serve(api_key="one")
    assert_failure(client.get(f"http://testserver{path}"), 401, "invalid_api_key")
    assert client.get(f"http://testserver{path}", headers={"api-key": "one"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/audio/transcriptions",
        "/v1/audio/transcriptions/",
        "/v1//audio/transcriptions",
        "/openai/deployments/my-whisper/audio/transcriptions?api-version=2024-06-01",
    ],
)
def test_recordings_are_taken_where_clients_send_them(client: TestClient, path: str) -> None:
    response = client.post(
        path, files={"file": ("speech", WEATHER.path.read_bytes())}, data={"response_format": "TEXT"}
    )
    assert response.text == WEATHER.text


@pytest.mark.parametrize(
    "path", ["/v1/models", "/docs", "/openapi.json", "/stream/v1/asr/models", "/static/docs/README.md"]
)
def test_head_is_get_without_its_body(client: TestClient, path: str) -> None:
    head, got = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


def test_a_key_opens_and_nothing_else_does(serve: Serve) -> None:
    client = serve(api_key="one, two")
    for key in ("one", "two"):
        client.headers["authorization"] = f"bearer {key}"
        assert client.get("/v1/models").status_code == 200
        assert post(client, response_format="text").text == WEATHER.text
    client.headers["authorization"] = "Bearer three"
    for response in (post(client), client.get("/v1/models"), client.get("/v1/none"), client.put(TRANSCRIPTIONS)):
        assert_failure(response, 401, "invalid_api_key")
    del client.headers["authorization"]
    assert client.get("/docs").status_code == client.get("/openapi.json").status_code == 200


def test_a_full_queue_says_when_to_come_back(serve: Serve) -> None:
    client = serve(max_queue_audio_sec=10)
    with client.app.state.serving.admission.admit(9):  # type: ignore[attr-defined]
        response = post(client)
        assert_failure(response, 429, "queue_full")
        assert 1 <= int(response.headers["retry-after"]) <= 600
    assert post(client).status_code == 200
    assert client.app.state.serving.admission.requests == 0  # type: ignore[attr-defined]


def test_a_failed_request_gives_its_place_back(serve: Serve) -> None:
    client = serve(max_queue_audio_sec=10)
    for _ in range(12):
        assert post(client, b"no audio").status_code == 400
    assert post(client).status_code == 200


def test_while_models_load_clients_are_told_to_wait(serve: Serve) -> None:
    response = post(serve(ready=False))
    assert_failure(response, 503, "not_ready")
    assert int(response.headers["retry-after"]) > 0


# The other routes


def test_the_loaded_models_are_listed_and_the_demo_says_so(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    model, other = listed["data"]
    assert listed["object"] == "list"
    assert (model["id"], model["object"], model["owned_by"]) == ("paraformer-demo", "model", "demo")
    assert other["id"] == "qwen3-asr-demo"
    assert model["demo"] is other["demo"] is True
    assert isinstance(model["created"], int)
    assert client.get("/v1/models/paraformer-demo").json() == model
    assert client.get("/v1/models/whisper-1").json() == model
    assert client.get("/v1/models/paraformer-zh").json() == model
    assert client.get("/v1/models/openai/whisper-large-v3").json() == model
    assert_failure(client.get("/v1/models/gpt-9"), 404, "model_not_found", "model")


def test_translation_is_refused_clearly(client: TestClient) -> None:
    response = client.post("/v1/audio/translations", files={"file": ("a", b"")})
    assert_failure(response, 400)
    assert "translates" in response.text


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/audio", "/docs/", "/nothing"])
def test_an_unknown_route_answers_in_the_envelope(client: TestClient, path: str) -> None:
    assert_failure(client.get(path), 404, "not_found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_wrong_method_answers_in_the_envelope(client: TestClient, method: str) -> None:
    response = client.request(method, TRANSCRIPTIONS)
    assert_failure(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_bentomls_own_routes_stay(client: TestClient) -> None:
    for path in ("/livez", "/healthz"):
        assert client.get(path).status_code == 200


def test_requests_are_counted_by_outcome(client: TestClient) -> None:
    def count(outcome: str) -> float:
        labels = {"protocol": "openai", "outcome": outcome}
        return prometheus_client.REGISTRY.get_sample_value("asr_requests_total", labels) or 0

    before = {outcome: count(outcome) for outcome in ("ok", "unsupported_audio", "internal_error")}
    post(client)
    post(client, b"no audio")
    after = {outcome: count(outcome) - before[outcome] for outcome in before}
    assert after == {"ok": 1, "unsupported_audio": 1, "internal_error": 0}


def test_a_request_id_comes_back(client: TestClient) -> None:
    assert client.get("/v1/models", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert re.fullmatch(r"[0-9a-f]{32}", client.get("/v1/models").headers["x-request-id"])


def test_the_openapi_document_describes_the_form_and_every_answer(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"][TRANSCRIPTIONS]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {"file", "model", "language", "timestamp_granularities[]", "known_speaker_names[]"} <= set(form)
    assert form["response_format"]["enum"] == ["json", "text", "srt", "vtt", "verbose_json", "diarized_json"]
    assert set(operation["responses"]["200"]["content"]) == {
        "application/json", "text/plain", "text/vtt", "application/x-subrip", "text/event-stream",
    }  # fmt: skip
    assert {"400", "401", "404", "413", "429", "500", "503"} <= set(operation["responses"])
    assert "security" not in operation
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{document["info"]["version"]}"' in project


def test_keys_are_documented_where_they_are_needed(serve: Serve) -> None:
    document = serve(api_key="one").get("/openapi.json").json()
    # calls to "/" are signed; a result opens by its link
    keyless = ("/stream/v1/asr/health", "/", "/api/v1/results/{link}")
    for path, item in document["paths"].items():
        for operation in item.values():
            assert bool(operation.get("security")) == (path not in keyless), path


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_documentation_needs_no_network(client: TestClient, page: str) -> None:
    response = client.get(page)
    asked = re.findall(r'(?:src|href|spec-url)="([^"]+)"', response.text)
    assert len(asked) >= 2
    for address in asked:
        assert not address.startswith(("http:", "https:", "//"))
        assert client.get(f"/{address}").status_code == 200
    assert "default-src 'self'" in response.headers["content-security-policy"]


def test_the_root_leads_to_the_documentation(client: TestClient) -> None:
    assert client.get("/", follow_redirects=True).url.path == "/docs"


def test_qwen3_asrs_dialects_are_listed(serve: Serve) -> None:
    listed = {model["id"]: model for model in serve(ready=False).get("/v1/models").json()["data"]}
    assert listed["paraformer-demo"]["dialects"] == []
