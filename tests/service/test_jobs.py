"""Jobs over their own API: what is accepted, told, corrected and refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.service.conftest import Posted, Serve, Started, bearer, ended
from tests.speech import FOLDER, RECORDINGS

DATE = "今天是2026年11月23日。"


def submit(client: TestClient, name: str = "date", headers: dict[str, str] | None = None, **fields: Any) -> Any:
    files = {"file": (f"{name}.flac", (FOLDER / f"{name}.flac").read_bytes())}
    return client.post("/v1/audio/jobs", files=files, data=fields, headers=headers or {})


def submit_addresses(client: TestClient, *addresses: str) -> Any:
    return client.post("/v1/audio/jobs", files=[("audio_address[]", (None, address)) for address in addresses])


def events(client: TestClient, job: str, last: int = 0) -> list[tuple[int, str, Any]]:
    answer = client.get(f"/v1/audio/jobs/{job}/events", headers={"Last-Event-ID": str(last)})
    told = [block.split("\n") for block in answer.text.split("\n\n") if block.startswith("id: ")]
    return [(int(number[4:]), name[7:], json.loads(data[6:])) for number, name, data in told]


def test_a_job_ends_with_the_transcript_that_a_request_would_get(jobs: Started) -> None:
    with jobs() as client:
        accepted = submit(client, "speakers", label="会议")
        assert accepted.status_code == 202
        job = accepted.json()
        assert accepted.headers["location"] == f"/v1/audio/jobs/{job['id']}"
        assert (job["status"], job["label"], job["position"]) == ("queued", "会议", 1)
        done = ended(client, job["id"])
        assert (done["status"], done["progress"], done["error"]) == ("completed", 1, None)
        assert done["duration"] == pytest.approx(RECORDINGS["speakers"].duration_s, abs=0.01)
        assert done["expires_at"] - done["finished_at"] == 72 * 3600
        recording = {"file": (FOLDER / "speakers.flac").read_bytes()}
        for wanted in ("json", "text", "srt", "vtt", "verbose_json", "diarized_json"):
            asked = client.post("/v1/audio/transcriptions", files=recording, data={"response_format": wanted})
            told = client.get(f"/v1/audio/jobs/{job['id']}/transcript", params={"response_format": wanted})
            assert told.text == asked.text
            assert told.headers["content-type"] == asked.headers["content-type"]


def test_events_tell_all_that_happens_once_and_resume_where_they_were_left(jobs: Started) -> None:
    with jobs() as client:
        job = submit(client, "dialogue").json()["id"]
        told = events(client, job)
        assert [number for number, _, _ in told] == list(range(1, len(told) + 1))
        assert [data["status"] for _, name, data in told if name == "status"] == ["queued", "running", "completed"]
        assert told[-1][1] == "done"
        assert told[-1][2]["status"] == "completed"
        segments = "".join(data["text"] for _, name, data in told if name == "segment")
        assert segments == client.get(f"/v1/audio/jobs/{job}/transcript?response_format=text").text
        for last in range(len(told)):
            assert [number for number, _, _ in events(client, job, last)] == list(range(last + 1, len(told) + 1))
        for last in (len(told), 999_999_999):  # as an EventSource asks for when a stream has ended
            ended_stream = client.get(f"/v1/audio/jobs/{job}/events", headers={"Last-Event-ID": str(last)})
            assert (ended_stream.status_code, ended_stream.content) == (204, b"")


def test_what_is_no_recording_is_refused_before_it_is_accepted(jobs: Started) -> None:
    with jobs(max_audio_size="1MB") as client:
        for content, status in ((b"", 400), (b"no audio at all", 400), (bytes(2**20 + 1), 413)):
            refused = client.post("/v1/audio/jobs", files={"file": ("a.mp3", content)})
            assert (refused.status_code, refused.json()["error"]["type"]) == (status, "invalid_request_error")
        assert client.post("/v1/audio/jobs", files={"label": (None, "x")}).status_code == 400
        assert submit(client, audio_address="http://example.com/a.mp3").status_code == 400
        assert submit(client, response_format="docx").json()["error"]["param"] == "response_format"
        assert submit(client, label="x" * 201).json()["error"]["param"] == "label"
        assert submit(client, model="whisper-tiny-of-another").status_code == 202
        assert submit(client, model="no-such-model").status_code == 404
        assert len(client.get("/v1/audio/jobs").json()["data"]) == 1


def test_an_address_is_fetched_by_the_job_and_several_make_several(jobs: Started, address: str) -> None:
    with jobs(allow_private_audio_urls=True) as client:
        addresses = [f"{address}/date.flac", f"{address}/nothing.flac", f"{address}/"]
        accepted = submit_addresses(client, *addresses)
        assert accepted.status_code == 202
        first, missing, page = (ended(client, job["id"]) for job in accepted.json()["data"])
        assert first["status"] == "completed"
        assert client.get(f"/v1/audio/jobs/{first['id']}/transcript?response_format=text").text == DATE
        assert (missing["status"], missing["error"]["code"]) == ("failed", "invalid_audio_address")
        assert "404" in missing["error"]["message"]
        assert (page["status"], page["error"]["code"]) == ("failed", "unsupported_audio")
        assert {job["task"] for job in (first, missing, page)} == {first["task"]}
        listed = client.get("/v1/audio/jobs", params={"task": first["task"]}).json()["data"]
        assert [job["id"] for job in listed] == [first["id"], missing["id"], page["id"]]


def test_an_address_inside_the_network_is_refused_as_everywhere(jobs: Started, address: str) -> None:
    with jobs() as client:
        job = submit_addresses(client, f"{address}/date.flac").json()["id"]
        assert "not public" in ended(client, job)["error"]["message"]


def test_a_key_sees_its_own_jobs_only(jobs: Started) -> None:
    with jobs(api_key="one,two") as client:
        job = submit(client, headers=bearer("one")).json()["id"]
        ended(client, job, bearer("one"))
        for method, path in (
            ("GET", ""),
            ("DELETE", ""),
            ("GET", "/transcript"),
            ("GET", "/audio"),
            ("GET", "/events"),
            ("PATCH", "/transcript"),
        ):
            answer = client.request(method, f"/v1/audio/jobs/{job}{path}", headers=bearer("two"), json={})
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        assert client.get("/v1/audio/jobs", headers=bearer("two")).json()["data"] == []
        assert client.get("/v1/audio/jobs", params={"after": job}, headers=bearer("two")).status_code == 404
        assert client.get(f"/v1/audio/jobs/{job}").status_code == 401
        assert len(client.get("/v1/audio/jobs", headers=bearer("one")).json()["data"]) == 1


def test_jobs_are_listed_newest_first_page_by_page(jobs: Started) -> None:
    with jobs() as client:
        submitted = [submit(client, "short-0", label=label).json()["id"] for label in ("a", "b", "a", "b", "a")]
        for job in submitted:
            ended(client, job)
        found, after = [], None
        while True:
            page = client.get("/v1/audio/jobs", params={"limit": 2, **({"after": after} if after else {})}).json()
            found += [job["id"] for job in page["data"]]
            if not page["has_more"]:
                break
            after = found[-1]
        assert found == submitted[::-1]
        labelled = client.get("/v1/audio/jobs", params={"label": "b"}).json()["data"]
        assert [job["id"] for job in labelled] == [submitted[3], submitted[1]]
        assert client.get("/v1/audio/jobs", params={"status": "failed"}).json()["data"] == []


def test_the_same_idempotency_key_gives_the_same_job(jobs: Started) -> None:
    with jobs() as client:
        key = {"Idempotency-Key": "once"}
        first = submit(client, headers=key).json()["id"]
        assert submit(client, headers=key).json()["id"] == first
        other = submit(client, "short-0", headers=key)
        assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
        assert submit(client, headers=key, label="x").status_code == 409
        assert submit(client).json()["id"] != first
        assert len(client.get("/v1/audio/jobs").json()["data"]) == 2


def test_a_finished_job_is_forgotten_with_its_audio_and_text(jobs: Started, tmp_path: Path) -> None:
    with jobs() as client:
        job = submit(client).json()["id"]
        ended(client, job)
        assert client.delete(f"/v1/audio/jobs/{job}").json() == {"id": job, "object": "audio.job", "deleted": True}
        assert client.delete(f"/v1/audio/jobs/{job}").status_code == 404
        kept = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
        assert not [path for path in kept if job in path.name]
        assert not [path for path in kept if "年".encode() in path.read_bytes()]


def test_the_recording_can_be_heard_in_parts(jobs: Started) -> None:
    with jobs() as client:
        job = submit(client).json()["id"]
        audio = (FOLDER / "date.flac").read_bytes()
        path = f"/v1/audio/jobs/{job}/audio"
        whole = client.get(path)
        assert whole.content == audio
        assert whole.headers["content-type"] in ("audio/flac", "audio/x-flac")
        for asked, start, end in (("0-9", 0, 10), ("100-", 100, None), ("-7", -7, None), ("5-999999999", 5, None)):
            part = client.get(path, headers={"Range": f"bytes={asked}"})
            assert (part.status_code, part.content) == (206, audio[start:end])
        for endless in (f"{'9' * 5000}-", f"0-{'9' * 5000}", f"-{'1' * 5000}"):
            assert client.get(path, headers={"Range": f"bytes={endless}"}).status_code == 200
        past = client.get(path, headers={"Range": f"bytes={len(audio)}-"})
        assert (past.status_code, past.headers["content-range"]) == (416, f"bytes */{len(audio)}")


def test_a_transcript_can_be_corrected_and_the_recognisers_own_is_kept(jobs: Started) -> None:
    with jobs() as client:
        job = submit(client, "speakers").json()["id"]
        ended(client, job)
        path = f"/v1/audio/jobs/{job}/transcript"
        before = client.get(path).json()
        speaker = before["segments"][0]["speaker"]
        change = {"speakers": {speaker: "王老师"}, "segments": [{"id": 1, "text": "我是 GPT-4，你好！"}]}
        assert client.patch(path, json=change).status_code == 200
        after = client.get(path).json()
        assert after["segments"][0]["speaker"] == "王老师"
        assert after["segments"][1]["text"] == "我是GPT-4，你好！"
        assert [word["word"] for word in after["segments"][1]["words"]] == ["我", "是", "GPT-4", "你", "好"]
        times = [time for word in after["segments"][1]["words"] for time in (word["start"], word["end"])]
        assert times == sorted(times)
        assert times[0] == pytest.approx(before["segments"][1]["start"])
        assert "王老师" in client.get(path, params={"response_format": "srt"}).text
        assert client.get(path, params={"original": True}).json() == before
        assert client.patch(path, json={"speakers": {"nobody": "x"}}).json()["error"]["param"] == "speakers"
        assert client.patch(path, json={"segments": [{"id": 99, "text": "x"}]}).status_code == 400
        assert client.patch(path, json={"unknown": 1}).status_code == 400
        for body in (b"{", b"[]", b'{"speakers":1}', b"x" * (2**20 + 1)):
            assert client.patch(path, content=body).status_code == 400
        endless = b"x" * (2**20 + 1)
        assert client.patch(f"/v1/audio/jobs/job_{'0' * 32}/transcript", content=endless).status_code == 404
        assert client.get(path).json() == after


def test_one_keys_jobs_do_not_hold_up_anothers(jobs: Started) -> None:
    with jobs(api_key="one,two", jobs_concurrency=1) as client:
        many = [submit(client, "dialogue", bearer("one")).json()["id"] for _ in range(10)]
        hurried = submit(client, "dialogue", bearer("one"), priority="interactive").json()
        assert hurried["position"] < 10
        other = submit(client, "date", bearer("two")).json()
        assert other["position"] == 1
        assert ended(client, other["id"], bearer("two"))["status"] == "completed"
        states = [client.get(f"/v1/audio/jobs/{job}", headers=bearer("one")).json()["status"] for job in many]
        assert states.count("queued") > 5
        assert states.count("running") <= 1


def test_no_more_jobs_wait_and_no_more_is_stored_than_may(jobs: Started) -> None:
    with jobs(jobs_max_storage="150KB") as client:
        while (accepted := submit(client)).status_code == 202:
            assert len(client.get("/v1/audio/jobs").json()["data"]) < 5
        assert (accepted.status_code, accepted.json()["error"]["code"]) == (507, "storage_full")
    with jobs(jobs_max_queued=1) as client:
        refused = submit_addresses(client, "http://a.example/", "http://b.example/")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert "retry-after" in refused.headers


def test_the_end_of_a_job_is_told_to_its_callback_and_signed(jobs: Started, posted: Posted) -> None:
    secret = "whsec_" + base64.b64encode(b"a secret of ours").decode()
    with jobs(allow_private_audio_urls=True, webhook_secret=secret) as client:
        job = submit(client, callback_url=posted.address).json()["id"]
        headers, body = posted.bodies.get(timeout=60)
        assert json.loads(body) == client.get(f"/v1/audio/jobs/{job}").json()
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(b"a secret of ours", signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"


def test_jobs_go_on_after_a_restart(serve: Serve, tmp_path: Path, jobs: Started) -> None:
    with jobs() as client:
        waiting = [submit(client, "dialogue").json()["id"] for _ in range(6)]
    with jobs() as client:
        recording = {"file": (FOLDER / "dialogue.flac").read_bytes()}
        text = client.post("/v1/audio/transcriptions", files=recording, data={"response_format": "text"}).text
        for job in waiting:
            assert ended(client, job)["status"] == "completed"
            assert client.get(f"/v1/audio/jobs/{job}/transcript?response_format=text").text == text


def test_a_second_process_leaves_the_jobs_of_the_first_alone(serve: Serve, tmp_path: Path, jobs: Started) -> None:
    with jobs() as client, serve(data_dir=tmp_path / "data") as second:
        job = submit(client).json()["id"]
        assert second.get("/v1/audio/jobs").status_code == 503
        assert second.post("/v1/audio/transcriptions", files={"file": (FOLDER / "date.flac").read_bytes()}).is_success
        assert ended(client, job)["status"] == "completed"
