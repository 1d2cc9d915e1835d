"""Alibaba Cloud's file transcription: tasks as the cloud answers them, which are jobs like any other."""

from __future__ import annotations

import http.server
import io
import json
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import soundfile
from aliyunsdkcore.auth.composer import rpc_signature_composer
from starlette.testclient import TestClient

from tests.service.conftest import Posted, Serve, Started, bearer
from tests.speech import FOLDER, RECORDINGS, silence

ID, SECRET = "an-id", "its secret"
PAIR = {"aliyun_access_key_id": ID, "aliyun_access_key_secret": SECRET}
FORM = {"content-type": "application/x-www-form-urlencoded"}


def call(client: TestClient, method: str, form: dict[str, str] | None = None, **query: str) -> Any:
    """Calls as the SDK does."""
    form = form or {}
    asked = {"Version": "2018-08-17", **query}
    url, _ = rpc_signature_composer.get_signed_url(asked, ID, SECRET, "JSON", method, dict(form))
    return client.request(method, url, content=urlencode(form), headers=FORM if form else {})


def submit(client: TestClient, file_link: str = "http://a.example/b.wav", **task: Any) -> Any:
    """The answer to a task; a field that is None is left out."""
    given = {"appkey": "any", "file_link": file_link, **task}
    text = json.dumps({name: value for name, value in given.items() if value is not None}, ensure_ascii=False)
    response = call(client, "POST", {"Task": text}, Action="SubmitTask")
    assert response.status_code == 200, response.text
    return response.json()


def result(client: TestClient, task_id: str) -> Any:
    response = call(client, "GET", Action="GetTaskResult", TaskId=task_id)
    assert response.status_code == 200, response.text
    return response.json()


def ended(client: TestClient, task_id: str) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        body = result(client, task_id)
        if body["StatusText"] not in ("RUNNING", "QUEUEING"):
            return body
        assert "Result" not in body
        assert "SolveTime" not in body
        time.sleep(0.05)
    raise AssertionError(body)


def transcribed(client: TestClient, file_link: str, **task: Any) -> Any:
    accepted = submit(client, file_link, **task)
    assert (accepted["StatusText"], accepted["StatusCode"]) == ("SUCCESS", 21050000), accepted
    return ended(client, accepted["TaskId"])


def test_a_recording_is_told_sentence_by_sentence(jobs: Started, address: str) -> None:
    with jobs(allow_private_audio_urls=True) as client:
        body = transcribed(client, f"{address}/dialogue.flac", enable_words=True)
        assert (body["StatusText"], body["StatusCode"]) == ("SUCCESS", 21050000)
        assert body["BizDuration"] == pytest.approx(1000 * RECORDINGS["dialogue"].duration_s, abs=10)
        assert body["SolveTime"] == pytest.approx(1000 * time.time(), abs=60_000)
        sentences = body["Result"]["Sentences"]
        assert len(sentences) > 1
        assert "".join(sentence["Text"] for sentence in sentences) == RECORDINGS["dialogue"].text
        times = [sentence[name] for sentence in sentences for name in ("BeginTime", "EndTime")]
        assert times == sorted(times)
        for sentence in sentences:
            assert set(sentence) == {
                "ChannelId", "BeginTime", "EndTime", "Text", "EmotionValue", "SilenceDuration", "SpeechRate",
            }  # fmt: skip
            assert sentence["ChannelId"] == 0
            assert 4 < sentence["EmotionValue"] < 9
            assert 100 < sentence["SpeechRate"] < 600
        words = body["Result"]["Words"]
        assert "".join(word["Word"] for word in words).startswith("因为今天下雨")
        assert words[0]["BeginTime"] == sentences[0]["BeginTime"]
        assert set(words[0]) == {"Word", "BeginTime", "EndTime", "ChannelId"}


def test_only_what_is_asked_for_is_told(jobs: Started, address: str) -> None:
    with jobs(allow_private_audio_urls=True) as client:
        plain = transcribed(client, f"{address}/date.flac")
        assert "Words" not in plain["Result"]
        assert plain["Result"]["Sentences"][0]["Text"] == "今天是二零二六年十一月二十三日。"
        assert "Warnings" not in plain
        in_digits = transcribed(
            client, f"{address}/date.flac", enable_inverse_text_normalization="true", enable_punctuation_prediction=0
        )
        assert in_digits["Result"]["Sentences"][0]["Text"] == "今天是2026年11月23日"
        lines = transcribed(client, f"{address}/dialogue.flac", sentence_max_length="12")["Result"]["Sentences"]
        assert max(len(line["Text"]) for line in lines) <= 12
        first = transcribed(
            client, f"{address}/dialogue.flac", valid_times=[{"begin_time": 0, "end_time": 2200, "channel_id": 0}]
        )["Result"]["Sentences"]
        assert [sentence["Text"] for sentence in first] == ["因为今天下雨，"]


def test_speakers_are_told_apart_where_that_is_asked_for(jobs: Started, address: str) -> None:
    with jobs(allow_private_audio_urls=True) as client:
        body = transcribed(client, f"{address}/speakers.flac", auto_split=True, supervise_type=1, speaker_num=2)
        assert {sentence["SpeakerId"] for sentence in body["Result"]["Sentences"]} == {"1", "2"}


def test_what_has_no_effect_is_a_warning(jobs: Started, address: str) -> None:
    with jobs(allow_private_audio_urls=True) as client:
        accepted = submit(client, f"{address}/date.flac", max_end_silence=800, vocabulary_id="f" * 32)
        assert len(accepted["Warnings"]) == 2
        assert "max_end_silence" in accepted["Warnings"][1]
        assert ended(client, accepted["TaskId"])["Warnings"] == accepted["Warnings"]


@pytest.mark.parametrize(
    ("task", "code", "text"),
    [
        ({"appkey": None}, 41050014, "REQUEST_EMPTY_APPKEY_VALUE"),
        ({"appkey": " "}, 41050014, "REQUEST_EMPTY_APPKEY_VALUE"),
        ({"file_link": ""}, 41050011, "REQUEST_INVALID_FILE_URL_VALUE"),
        ({"file_link": ["http://a.example/"]}, 41050011, "REQUEST_INVALID_FILE_URL_VALUE"),
        ({"file_link": "D:\\files\\sample.wav"}, 41050011, "REQUEST_INVALID_FILE_URL_VALUE"),
        ({"file_link": "http://user:password@a.example/"}, 41050011, "REQUEST_INVALID_FILE_URL_VALUE"),
        ({"enable_callback": True}, 41050012, "REQUEST_INVALID_CALLBACK_VALUE"),
        ({"enable_callback": True, "callback_url": "ftp://a.example/"}, 41050012, "REQUEST_INVALID_CALLBACK_VALUE"),
        ({"enable_words": "perhaps"}, 41050013, "REQUEST_PARAMETER_INVALID"),
        ({"valid_times": [{"begin_time": "soon"}]}, 41050013, "REQUEST_PARAMETER_INVALID"),
        ({"model_id": "no-such-model"}, 41050013, "REQUEST_PARAMETER_INVALID"),
    ],
)
def test_a_wrong_task_is_refused_with_the_clouds_code(
    jobs: Started, task: dict[str, Any], code: int, text: str
) -> None:
    with jobs() as client:
        body = submit(client, **task)
        assert (body["TaskId"], body["StatusCode"], body["StatusText"]) == ("", code, text), body
        assert body["Message"]
        assert client.get("/v1/audio/jobs").json()["data"] == []


def test_what_is_no_task_at_all_is_refused_with_the_clouds_code(jobs: Started) -> None:
    with jobs() as client:
        for form in ({}, {"Task": ""}, {"Task": "{"}, {"Task": "[]"}, {"Task": "[" * 100_000}):
            assert call(client, "POST", form, Action="SubmitTask").json()["StatusCode"] == 41050013
        missing = call(client, "GET", Action="GetTaskResult")
        assert (missing.status_code, missing.json()["Code"]) == (400, "MissingTaskId")


@pytest.fixture
def faulty() -> Iterator[str]:
    """The address of a web server that answers with the status, and the audio, that the path names."""
    speechless = io.BytesIO()
    soundfile.write(speechless, silence(2), 16_000, format="FLAC")
    contents = {
        "silence": speechless.getvalue(),
        "page": b"<html>no audio</html>",
        "large": bytes(2**20),
    }

    class Faulty(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/")
            self.send_response(int(name) if name.isdigit() else 200)
            self.end_headers()
            self.wfile.write(contents.get(name, b""))

        def log_message(self, *args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_task_that_fails_says_so_with_the_clouds_code(jobs: Started, faulty: str, address: str) -> None:
    with jobs(allow_private_audio_urls=True, max_audio_size="800KB", max_audio_duration_sec=20) as client:
        for file, code, text in (
            (f"{faulty}/404", 41050024, "FILE_404_NOT_FOUND"),
            (f"{faulty}/403", 41050025, "FILE_403_FORBIDDEN"),
            (f"{faulty}/503", 41050026, "FILE_SERVER_ERROR"),
            (f"{faulty}/410", 41050002, "FILE_DOWNLOAD_FAILED"),
            ("http://127.0.0.1:1/", 41050002, "FILE_DOWNLOAD_FAILED"),
            (f"{faulty}/page", 41050003, "FILE_CHECK_FAILED"),
            (f"{faulty}/nothing", 41050003, "FILE_CHECK_FAILED"),
            (f"{faulty}/large", 41050004, "FILE_TOO_LARGE"),
            (f"{address}/dialogue.flac", 41050103, "AUDIO_DURATION_TOO_LONG"),
        ):
            body = transcribed(client, file)
            assert (body["StatusCode"], body["StatusText"]) == (code, text), (file, body)
            assert body["Message"]
            assert body["SolveTime"]
            assert "Result" not in body
        body = transcribed(client, f"{faulty}/silence")
        assert (body["StatusCode"], body["StatusText"]) == (21050003, "SUCCESS_WITH_NO_VALID_FRAGMENT")
        assert (body["BizDuration"], body["Result"]) == (2000, {"Sentences": []})


def test_the_end_is_told_to_the_callback_as_it_can_be_asked_for(jobs: Started, address: str, posted: Posted) -> None:
    with jobs(allow_private_audio_urls=True) as client:
        before_ms = 1000 * time.time()
        told_to = {"enable_callback": True, "callback_url": posted.address}
        for file, code in (("date", 21050000), ("missing", 41050024)):
            accepted = submit(client, f"{address}/{file}.flac", **told_to)
            told = json.loads(posted.bodies.get(timeout=60)[1])
            assert before_ms - 1 <= told.pop("RequestTime") <= told["SolveTime"]
            asked = result(client, accepted["TaskId"])
            assert told.pop("RequestId") == accepted["TaskId"]
            assert asked.pop("RequestId") not in ("", "-")
            assert told == asked
            assert told["StatusCode"] == code
        submit(client, f"{address}/date.flac", callback_url=posted.address)  # not enabled
        for job in client.get("/v1/audio/jobs").json()["data"]:
            ended(client, job["id"])
        assert posted.bodies.empty()


def test_a_task_is_a_job_and_a_job_is_a_task(jobs: Started, address: str) -> None:
    with jobs(allow_private_audio_urls=True) as client:
        task = transcribed(client, f"{address}/speakers.flac")
        text = client.get(f"/v1/audio/jobs/{task['TaskId']}/transcript?response_format=text").text
        assert text == "".join(sentence["Text"] for sentence in task["Result"]["Sentences"])
        recording = {"file": (FOLDER / "speakers.flac").read_bytes()}
        job = client.post("/v1/audio/jobs", files=recording).json()["id"]
        body = ended(client, job)
        assert "".join(sentence["Text"] for sentence in body["Result"]["Sentences"]) == text
        assert {sentence["SpeakerId"] for sentence in body["Result"]["Sentences"]} == {"1", "2", "3"}
        waiting = client.post("/v1/audio/jobs", files=recording).json()["id"]
        client.delete(f"/v1/audio/jobs/{waiting}")
        assert result(client, waiting)["StatusCode"] == 41050010
        assert client.delete(f"/v1/audio/jobs/{job}").status_code == 200
        for gone in (job, "job_of_nobody"):
            body = result(client, gone)
            assert (body["TaskId"], body["StatusText"]) == (gone, "FILE_TRANS_TASK_EXPIRED")
            assert body["StatusCode"] == 41050010


def test_the_pair_and_its_tokens_see_its_tasks_and_nobody_elses(jobs: Started, address: str) -> None:
    with jobs(api_key="one", allow_private_audio_urls=True, **PAIR) as client:
        task = transcribed(client, f"{address}/date.flac")["TaskId"]
        token = call(client, "GET", Action="CreateToken").json()["Token"]["Id"]
        path = f"/v1/audio/jobs/{task}"
        assert client.get(path, headers=bearer(token)).json()["status"] == "completed"
        assert client.get(path, headers=bearer("one")).status_code == 404
        recording = {"file": (FOLDER / "date.flac").read_bytes()}
        of_token, of_key = (
            client.post("/v1/audio/jobs", files=recording, headers=bearer(key)).json()["id"] for key in (token, "one")
        )
        assert ended(client, of_token)["StatusText"] == "SUCCESS"
        assert result(client, of_key)["StatusText"] == "FILE_TRANS_TASK_EXPIRED"


def test_what_hinders_all_jobs_is_told_as_every_call_is_told_it(jobs: Started, serve: Serve) -> None:
    task = {"Task": json.dumps({"appkey": "any", "file_link": "http://a.example/"})}
    with jobs(jobs_max_queued=1, max_audio_size="1MB") as client:
        refused = [call(client, "POST", task, Action="SubmitTask") for _ in range(50)]
        full = next(response for response in refused if response.status_code != 200)
        assert (full.status_code, full.json()["Code"]) == (429, "Throttling")
    off = call(serve(jobs_enabled=False), "POST", task, Action="SubmitTask")
    assert (off.status_code, set(off.json())) == (404, {"Code", "Message", "RequestId"})


def test_the_openapi_document_describes_the_task(serve: Serve) -> None:
    operation = serve().get("/openapi.json").json()["paths"]["/"]["post"]
    form = operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]["properties"]
    assert {"appkey", "file_link", "valid_times"} <= form["Task"]["contentSchema"]["properties"].keys()
    assert "$ref" not in json.dumps(form)
