"""DashScope's asynchronous transcription and hotword lists: what is accepted, told, linked and refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from tests.aliyun_directives import directive
from tests.service.conftest import Started, bearer, web_server
from tests.speech import FOLDER, RECORDINGS, Recording

SUBMIT = "/api/v1/services/audio/asr/transcription"
CUSTOMIZE = "/api/v1/services/audio/asr/customization"
ASYNC = {"X-DashScope-Async": "enable"}
DATE = "今天是2026年11月23日。"
HOTWORDS = ("客厅", "陈书文")


def submit(client: TestClient, *urls: str, key: str = "", **parameters: Any) -> Any:
    body = {"model": "paraformer-v2", "input": {"file_urls": urls}, "parameters": parameters}
    return client.post(SUBMIT, json=body, headers={**ASYNC, **bearer(key)})


def submitted(client: TestClient, *urls: str, key: str = "", **parameters: Any) -> str:
    answer = submit(client, *urls, key=key, **parameters)
    assert (answer.status_code, answer.json()["output"]["task_status"]) == (200, "PENDING"), answer.text
    task: str = answer.json()["output"]["task_id"]
    return task


def look(client: TestClient, task: str, key: str = "") -> Any:
    return client.get(f"/api/v1/tasks/{task}", headers=bearer(key)).json()


def ended(client: TestClient, task: str, key: str = "") -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        body = look(client, task, key)
        if body["output"]["task_status"] not in ("PENDING", "RUNNING"):
            return body
        time.sleep(0.05)
    raise AssertionError(body)


def opened(client: TestClient, url: str) -> Any:
    """What a result's link opens, without a key."""
    answer = client.get(url)
    assert answer.status_code == 200, answer.text
    return answer.json()


@contextmanager
def call(folder: Path, left: Recording, right: Recording) -> Iterator[str]:
    """The address of a recording of two channels."""
    samples = np.zeros((max(len(left.pcm), len(right.pcm)), 2), np.int16)
    samples[: len(left.pcm), 0], samples[: len(right.pcm), 1] = left.pcm, right.pcm
    folder.mkdir()
    soundfile.write(folder / "call.wav", samples, 16_000)
    with web_server(folder) as address:
        yield f"{address}/call.wav"


def customize(client: TestClient, key: str = "", **given: Any) -> Any:
    return client.post(CUSTOMIZE, json={"model": "speech-biasing", "input": given}, headers=bearer(key))


def test_a_task_of_several_files_ends_with_each_ones_transcript_or_failure(jobs: Started, address: str) -> None:
    with jobs(allow_private_audio_urls=True) as client:
        urls = [f"{address}/date.flac", f"{address}/nothing.flac", f"{address}/", "ftp://a.example/b"]
        body = ended(client, submitted(client, *urls))
        output = body["output"]
        assert body["request_id"]
        assert output["task_status"] == "SUCCEEDED"
        assert output["task_metrics"] == {"TOTAL": 4, "SUCCEEDED": 1, "FAILED": 3}
        assert body["usage"] == {"duration": 5}
        assert output["submit_time"] <= output["scheduled_time"] <= output["end_time"]
        assert [result["file_url"] for result in output["results"]] == urls
        statuses = [(r["subtask_status"], r.get("code")) for r in output["results"]]
        assert statuses == [
            ("SUCCEEDED", None),
            ("FAILED", "InvalidFile.DownloadFailed"),
            ("FAILED", "InvalidFile.Format"),
            ("FAILED", "InvalidFile.DownloadFailed"),
        ]
        told = opened(client, output["results"][0]["transcription_url"])
        assert told["file_url"] == urls[0]
        assert told["properties"] == {
            "audio_format": "flac",
            "channels": [0],
            "original_sampling_rate": 16000,
            "original_duration_in_milliseconds": pytest.approx(1000 * RECORDINGS["date"].duration_s, abs=10),
        }
        (channel,) = told["transcripts"]
        assert (channel["channel_id"], channel["text"]) == (0, DATE)
        (sentence,) = channel["sentences"]
        assert (sentence["sentence_id"], sentence["text"]) == (1, DATE)
        assert "".join(word["text"] + word["punctuation"] for word in sentence["words"]) == DATE
        assert sentence["begin_time"] == sentence["words"][0]["begin_time"] < sentence["words"][0]["end_time"]
        assert 0 < channel["content_duration_in_milliseconds"] < 1000 * RECORDINGS["date"].duration_s


def test_qwens_form_has_one_result_and_words_when_asked_for(jobs: Started, address: str) -> None:
    with jobs(allow_private_audio_urls=True) as client:

        def result(**parameters: Any) -> Any:
            body = {"model": "paraformer", "input": {"file_url": f"{address}/date.flac"}, "parameters": parameters}
            task = client.post(SUBMIT, json=body, headers=ASYNC).json()["output"]["task_id"]
            told = ended(client, task)
            assert "results" not in told["output"]
            assert told["usage"] == {"seconds": 5}
            return opened(client, told["output"]["result"]["transcription_url"])["transcripts"][0]["sentences"][0]

        plain = result()
        assert plain["language"] == "zh"
        assert "words" not in plain
        assert "二零二六" in plain["text"]
        rich = result(enable_itn=True, enable_words=True, language="zh")
        assert rich["text"] == DATE
        assert rich["words"]
        failing = {"model": "paraformer", "input": {"file_url": f"{address}/nothing.flac"}}
        task = client.post(SUBMIT, json=failing, headers=ASYNC).json()["output"]["task_id"]
        output = ended(client, task)["output"]
        assert (output["task_status"], output["code"]) == ("FAILED", "InvalidFile.DownloadFailed")
        assert "result" not in output


def test_channels_are_transcribed_each_on_its_own(jobs: Started, tmp_path: Path) -> None:
    left, right = RECORDINGS["weather"], RECORDINGS["date"]
    with call(tmp_path / "web", left, right) as url, jobs(allow_private_audio_urls=True) as client:

        def texts(**parameters: Any) -> dict[int, str]:
            output = ended(client, submitted(client, url, **parameters))["output"]
            told = opened(client, output["results"][0]["transcription_url"])
            assert told["properties"]["channels"] == [channel["channel_id"] for channel in told["transcripts"]]
            return {channel["channel_id"]: channel["text"] for channel in told["transcripts"]}

        assert texts() == {0: left.text}
        assert texts(channel_id=[1]) == {1: DATE}
        task = submitted(client, url, channel_id=[0, 1])
        ended(client, task)
        assert texts(channel_id="0,1") == {0: left.text, 1: DATE}
        beyond = ended(client, submitted(client, url, channel_id=[0, 2]))["output"]
        assert (beyond["task_status"], beyond["code"]) == ("FAILED", "InvalidParameter")
        # natively it is one transcript, in the order of its times
        native = client.get(f"/v1/audio/jobs/{task}/transcript").json()
        assert {segment["text"] for segment in native["segments"]} == {left.text, DATE}
        starts = [segment["start"] for segment in native["segments"]]
        assert starts == sorted(starts)
        assert client.get(f"/v1/audio/jobs/{task}").json()["progress"] == 1


def test_channels_go_on_after_a_restart_and_come_to_the_same(jobs: Started, tmp_path: Path) -> None:
    with call(tmp_path / "web", RECORDINGS["dialogue"], RECORDINGS["speakers"]) as url:
        with jobs(allow_private_audio_urls=True) as client:
            tasks = [submitted(client, url, channel_id=[0, 1]) for _ in range(5)]
            while look(client, tasks[0])["output"]["task_status"] == "PENDING":
                time.sleep(0.01)
        with jobs(allow_private_audio_urls=True) as client:
            tasks.append(submitted(client, url, channel_id=[0, 1]))
            ends = [ended(client, task)["output"]["results"][0] for task in tasks]
            *interrupted, undisturbed = (opened(client, end["transcription_url"]) for end in ends)
            assert [channel["channel_id"] for channel in undisturbed["transcripts"]] == [0, 1]
            assert all(told == undisturbed for told in interrupted)


def test_what_cannot_be_understood_is_refused_by_its_code(jobs: Started) -> None:
    url = "http://a.example/b.wav"
    with jobs(api_key="one") as client:
        headers = {**ASYNC, **bearer("one")}

        def refused(body: Any, status: int, code: str, message: str = "", headers: Any = headers) -> None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            answer = client.post(SUBMIT, content=content, headers=headers)
            told = answer.json()
            assert (answer.status_code, told["code"]) == (status, code)
            assert told.keys() == {"request_id", "code", "message"}
            assert message in told["message"]

        good = {"model": "paraformer-v2", "input": {"file_urls": [url]}}
        refused(good, 401, "InvalidApiKey", headers=ASYNC)
        refused(good, 403, "AccessDenied", headers=bearer("one"))
        for body in (b"", b"no json", b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000):
            refused(body, 400, "InvalidParameter", "JSON object")
        refused({"model": "paraformer-v2"}, 400, "InvalidParameter", "input.file_urls")
        refused({**good, "input": {"file_urls": []}}, 400, "InvalidParameter", "input.file_urls")
        refused({**good, "input": {"file_urls": [url] * 101}}, 400, "InvalidParameter", "input.file_urls")
        refused({**good, "input": {"file_urls": {"a": 1}}}, 400, "InvalidParameter", "input.file_urls")
        refused({**good, "input": [url]}, 400, "InvalidParameter", "input")
        refused({**good, "model": "cosyvoice-v1"}, 404, "ModelNotFound", "paraformer-demo")
        refused({**good, "parameters": {"channel_id": [-1]}}, 400, "InvalidParameter", "parameters.channel_id")
        refused({**good, "parameters": {"channel_id": ["left"]}}, 400, "InvalidParameter", "parameters.channel_id")
        refused({**good, "parameters": {"language": "xx-nothing"}}, 400, "InvalidParameter", "parameters.language")
        refused(b"{" + b" " * 2**20 + b"}", 400, "InvalidParameter", "longer")
        assert client.get("/api/v1/tasks/", headers=headers).json()["total"] == 0


def test_no_more_tasks_wait_than_may(jobs: Started) -> None:
    with jobs(jobs_max_queued=2) as client:
        answer = submit(client, *["http://a.example/b.wav"] * 3)
        assert (answer.status_code, answer.json()["code"]) == (429, "Throttling")
        assert "retry-after" in answer.headers


def test_an_address_inside_the_network_is_refused_as_everywhere(jobs: Started, address: str) -> None:
    with jobs() as client:
        output = ended(client, submitted(client, f"{address}/date.flac"))["output"]
        assert (output["task_status"], output["code"]) == ("FAILED", "InvalidFile.DownloadFailed")
        assert "not public" in output["results"][0]["message"]


def test_an_unknown_task_and_anothers_are_unknown_and_not_cancelled(jobs: Started) -> None:
    with jobs(api_key="one,two", jobs_concurrency=1) as client:
        task = submitted(client, "http://a.example/b.wav", key="one")
        for method in ("GET", "POST"):
            for name in ("nothing", task, "task_" + "0" * 32):
                answer = client.request(method, f"/api/v1/tasks/{name}", headers=bearer("two"))
                told = answer.json()
                assert (answer.status_code, told["output"]) == (200, {"task_id": name, "task_status": "UNKNOWN"})
        answer = client.post(f"/api/v1/tasks/{task}/cancel", headers=bearer("two"))
        assert (answer.status_code, answer.json()["code"]) == (404, "UNKNOWN_TASK")
        assert client.get(f"/api/v1/tasks/{task}").status_code == 401
        assert look(client, task, "one")["output"]["task_status"] != "UNKNOWN"


def test_a_task_is_cancelled_once(jobs: Started, address: str) -> None:
    with jobs(allow_private_audio_urls=True, jobs_concurrency=1) as client:
        task = submitted(client, *[f"{address}/dialogue.flac"] * 20)
        answer = client.post(f"/api/v1/tasks/{task}/cancel")
        assert (answer.status_code, list(answer.json())) == (200, ["request_id"])
        output = look(client, task)["output"]
        assert output["task_status"] in ("CANCELED", "SUCCEEDED")  # where one of them was faster
        assert output["results"][-1]["subtask_status"] == "CANCELED"
        again = client.post(f"/api/v1/tasks/{task}/cancel")
        assert (again.status_code, again.json()["code"]) == (400, "UnsupportedOperation")


def test_tasks_are_listed_by_what_they_are(jobs: Started, address: str) -> None:
    with jobs(allow_private_audio_urls=True) as client:
        good = submitted(client, f"{address}/short-0.flac", f"{address}/nothing.flac")
        bad = submitted(client, f"{address}/nothing.flac")
        files = {"file": (FOLDER / "short-1.flac").read_bytes()}
        native = client.post("/v1/audio/jobs", files=files).json()["id"]
        for task in (good, bad, native):
            ended(client, task)

        def listed(**wanted: Any) -> list[str]:
            body = client.get("/api/v1/tasks/", params=wanted).json()
            assert body["total"] >= len(body["data"])
            return [task["task_id"] for task in body["data"]]

        assert listed() == [native, bad, good]
        assert listed(status="SUCCEEDED") == [native, good]
        assert listed(status="FAILED") == [bad]
        assert listed(status="RUNNING") == listed(status="PENDING") == listed(status="CANCELED") == []
        assert listed(page_no=2, page_size=2) == [good]
        assert listed(model_name="paraformer-v2") == [native, bad, good]
        assert listed(start_time="20200101000000", end_time="20200102000000") == []
        assert listed(start_time="20200101000000") == [native, bad, good]
        body = client.get("/api/v1/tasks", params={"page_size": 2}).json()
        assert (body["total"], body["total_page"], body["page_no"], body["page_size"]) == (3, 2, 1, 2)
        assert [task["model_name"] for task in body["data"]] == ["paraformer-demo", "paraformer-v2"]
        for wrong in ({"start_time": "soon"}, {"page_no": 0}, {"status": "DONE"}, {"page_size": "many"}):
            answer = client.get("/api/v1/tasks", params=wrong)
            assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")


def test_a_job_of_any_protocol_is_a_task_and_a_task_is_jobs(jobs: Started, address: str) -> None:
    with jobs(allow_private_audio_urls=True) as client:
        files = {"file": ("date.flac", (FOLDER / "date.flac").read_bytes())}
        native = client.post("/v1/audio/jobs", files=files).json()["id"]
        result = ended(client, native)["output"]["results"][0]
        assert result["file_url"] == "date.flac"
        assert opened(client, result["transcription_url"])["transcripts"][0]["text"] == DATE
        several = submitted(client, f"{address}/date.flac", f"{address}/short-0.flac")
        ended(client, several)
        found = client.get("/v1/audio/jobs", params={"task": several}).json()["data"]
        assert [job["status"] for job in found] == ["completed", "completed"]
        single = submitted(client, f"{address}/date.flac")
        ended(client, single)
        assert client.get(f"/v1/audio/jobs/{single}/transcript?response_format=text").text == DATE


def test_a_result_is_opened_by_its_link_alone_and_not_when_it_is_changed(jobs: Started, address: str) -> None:
    with jobs(allow_private_audio_urls=True, api_key="one") as client:
        task = submitted(client, f"{address}/date.flac", key="one")
        url = ended(client, task, "one")["output"]["results"][0]["transcription_url"]
        assert urlsplit(url).netloc == "testserver"
        assert opened(client, url)
        job, expires_at, signature = url.rpartition("/")[2].split(".")
        for link in (
            f"{job}.{int(expires_at) + 1}.{signature}",
            f"{job[:-1]}x.{expires_at}.{signature}",
            f"{job}.{expires_at}.{signature[:-1]}",
            f"{job}.{expires_at}.",
            job,
            "nothing",
        ):
            answer = client.get(f"{url.rpartition('/')[0]}/{link}")
            assert (answer.status_code, answer.json()["code"]) == (404, "NotFound")
        forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "asr.example", "X-Forwarded-Prefix": "/speech"}
        behind = client.get(f"/api/v1/tasks/{task}", headers={**bearer("one"), **forwarded}).json()
        outside = behind["output"]["results"][0]["transcription_url"]
        assert outside.startswith("https://asr.example/speech/api/v1/results/job_")
        client.delete(f"/v1/audio/jobs/{task}", headers=bearer("one"))
        assert client.get(url).status_code == 404


def test_a_hotword_list_is_made_shown_changed_and_deleted_by_its_owner(jobs: Started) -> None:
    words = [{"text": "灵积", "weight": 5, "lang": "zh"}, {"text": "2026"}]
    with jobs(api_key="one,two") as client:
        made = customize(
            client, "one", action="create_vocabulary", target_model="paraformer-v2", prefix="mine", vocabulary=words
        ).json()
        name = made["output"]["vocabulary_id"]
        assert name.startswith("vocab-mine-")
        shown = customize(client, "one", action="query_vocabulary", vocabulary_id=name).json()["output"]
        assert shown["vocabulary"] == [words[0], {"text": "2026", "weight": 4}]
        assert (shown["target_model"], shown["status"]) == ("paraformer-v2", "OK")
        listed = customize(client, "one", action="list_vocabulary", page_index=0, page_size=10).json()["output"]
        assert [one["vocabulary_id"] for one in listed["vocabulary_list"]] == [name]
        assert customize(client, "one", action="list_vocabulary", prefix="other").json()["output"] == {
            "vocabulary_list": []
        }
        for action in ("query_vocabulary", "update_vocabulary", "delete_vocabulary"):
            answer = customize(client, "two", action=action, vocabulary_id=name, vocabulary=words)
            assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")
        assert customize(client, "two", action="list_vocabulary").json()["output"] == {"vocabulary_list": []}
        changed = customize(
            client, "one", action="update_vocabulary", vocabulary_id=name, vocabulary=[{"text": "百炼"}]
        )
        assert changed.json()["output"] == {}
        shown = customize(client, "one", action="query_vocabulary", vocabulary_id=name).json()["output"]
        assert [word["text"] for word in shown["vocabulary"]] == ["百炼"]
        assert customize(client, "one", action="delete_vocabulary", vocabulary_id=name).status_code == 200
        assert customize(client, "one", action="delete_vocabulary", vocabulary_id=name).status_code == 400


def test_a_hotword_list_that_cannot_be_kept_is_refused(jobs: Started) -> None:
    word = {"text": "灵积"}
    with jobs() as client:
        for given, message in (
            ({}, "input.action"),
            ({"action": "drop_vocabulary"}, "input.action"),
            ({"action": "create_vocabulary", "prefix": "mine", "vocabulary": []}, "input.vocabulary"),
            ({"action": "create_vocabulary", "prefix": "Mine!", "vocabulary": [word]}, "input.prefix"),
            ({"action": "create_vocabulary", "prefix": "x" * 11, "vocabulary": [word]}, "input.prefix"),
            ({"action": "create_vocabulary", "prefix": "a", "vocabulary": [word] * 501}, "input.vocabulary"),
            ({"action": "create_vocabulary", "prefix": "a", "vocabulary": ["灵积"]}, "input.vocabulary"),
            ({"action": "create_vocabulary", "prefix": "a", "vocabulary": [{"text": "x" * 101}]}, "vocabulary.0.text"),
            ({"action": "create_vocabulary", "prefix": "a", "vocabulary": [word, {"weight": 1}]}, "vocabulary.1.text"),
            ({"action": "query_vocabulary"}, "vocabulary_id"),
        ):
            answer = customize(client, **given)
            assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter"), given
            assert message in answer.json()["message"]
        unloaded = customize(
            client, action="create_vocabulary", target_model="cosyvoice", prefix="a", vocabulary=[word]
        )
        assert (unloaded.status_code, unloaded.json()["code"]) == (404, "ModelNotFound")
        assert client.post(CUSTOMIZE, content=b"[]").json()["code"] == "InvalidParameter"


def test_a_lists_id_is_its_words_in_every_protocol(jobs: Started, address: str) -> None:
    recording = RECORDINGS["hotword"]
    with jobs(allow_private_audio_urls=True) as client:
        plain = client.post("/stream/v1/asr", content=recording.path.read_bytes()).json()["result"]
        words = [{"text": word, "weight": 5} for word in HOTWORDS]
        made = customize(client, action="create_vocabulary", prefix="a", vocabulary=words).json()
        name = made["output"]["vocabulary_id"]

        def recognised(path: str) -> Any:
            return client.post(path, params={"vocabulary_id": name}, content=recording.path.read_bytes()).json()

        rest = recognised("/stream/v1/asr")
        assert (rest["result"], rest.get("warnings")) == (recording.text, None)
        assert rest["result"] != plain
        flash = recognised("/stream/v1/FlashRecognizer")
        assert [sentence["text"] for sentence in flash["flash_result"]["sentences"]] == [recording.text]
        for parameters, resources in (({"vocabulary_id": name}, []), ({}, [{"resource_id": name}])):
            body = {
                "model": "paraformer-v2",
                "input": {"file_urls": [f"{address}/hotword.flac"]},
                "parameters": parameters,
                "resources": resources,
            }
            task = client.post(SUBMIT, json=body, headers=ASYNC).json()["output"]["task_id"]
            url = ended(client, task)["output"]["results"][0]["transcription_url"]
            assert opened(client, url)["transcripts"][0]["text"] == recording.text
        with client.websocket_connect("/ws/v1/asr") as socket:
            socket.send_text(directive("StartTranscription", {"vocabulary_id": name}))
            assert json.loads(socket.receive_text())["header"]["name"] == "TranscriptionStarted"
            socket.send_bytes(recording.pcm.tobytes())
            socket.send_text(directive("StopTranscription"))
            results, header = [], {"name": ""}
            while header["name"] != "TranscriptionCompleted":
                message = json.loads(socket.receive_text())
                header = message["header"]
                if header["name"] == "SentenceEnd":
                    results.append(message["payload"]["result"])
            assert "vocabulary_id" not in header["status_message"]
        unknown = "vocab-a-" + "0" * 32
        told = client.post("/stream/v1/asr", params={"vocabulary_id": unknown}, content=recording.path.read_bytes())
        assert (told.status_code, told.json()["result"]) == (200, plain)
        assert "no hotword list" in told.json()["warnings"][0]
