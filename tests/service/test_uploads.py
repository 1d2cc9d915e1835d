"""Resumable uploads over tus: what is received, told, taken by jobs and refused."""

from __future__ import annotations

import base64
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from httpx import Response
from starlette.testclient import TestClient

from tests.service.conftest import Started, bearer, ended
from tests.speech import FOLDER

DATE = "今天是2026年11月23日。"
RECORDING = (FOLDER / "date.flac").read_bytes()
PART = "application/offset+octet-stream"


def tus(client: TestClient, method: str, path: str = "", content: bytes = b"", **headers: Any) -> Response:
    names = {name.replace("_", "-"): str(value) for name, value in headers.items() if value is not None}
    address = urljoin("/v1/audio/uploads", path)
    return client.request(method, address, content=content, headers={"Tus-Resumable": "1.0.0", **names})


def begin(client: TestClient, size: int = len(RECORDING), **headers: Any) -> str:
    answer = tus(client, "POST", Upload_Length=size, **headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


def send(client: TestClient, upload: str, offset: int, part: bytes, **headers: Any) -> Response:
    return tus(client, "PATCH", upload, part, **{"Upload_Offset": offset, "Content_Type": PART, **headers})


def submit(client: TestClient, upload: str, headers: dict[str, str] | None = None, **fields: str) -> Response:
    fields["upload"] = upload.rpartition("/")[2]
    form = {name: (None, value) for name, value in fields.items()}
    return client.post("/v1/audio/jobs", files=form, headers=headers or {})


def failure(answer: Response) -> tuple[int, str]:
    assert answer.headers["tus-resumable"] == "1.0.0"
    return answer.status_code, answer.json()["error"]["code"]


def kept(data: Path) -> list[str]:
    return [path.name for path in (data / "data" / "uploads").iterdir()]


def test_what_comes_in_parts_is_a_job_with_the_clients_name(jobs: Started, tmp_path: Path) -> None:
    with jobs() as client:
        name = base64.b64encode("会议.flac".encode()).decode()
        upload = begin(client, Upload_Metadata=f"filename {name},is_confidential")
        for start in range(0, len(RECORDING), 10_000):
            told = send(client, upload, start, RECORDING[start : start + 10_000])
            assert (told.status_code, told.content) == (204, b"")
            assert told.headers["upload-offset"] == str(min(start + 10_000, len(RECORDING)))
            assert parsedate_to_datetime(told.headers["upload-expires"])
        looked = tus(client, "HEAD", upload)
        assert (looked.status_code, looked.content) == (200, b"")
        assert looked.headers["upload-offset"] == looked.headers["upload-length"] == str(len(RECORDING))
        assert looked.headers["upload-metadata"] == f"filename {name},is_confidential"
        assert looked.headers["cache-control"] == "no-store"
        job = submit(client, upload, response_format="text")
        assert job.status_code == 202
        assert job.json()["file_name"] == "会议.flac"
        assert ended(client, job.json()["id"])["status"] == "completed"
        assert client.get(f"/v1/audio/jobs/{job.json()['id']}/transcript").text == DATE
        assert client.get(f"/v1/audio/jobs/{job.json()['id']}/audio").content == RECORDING
        assert kept(tmp_path) == []


def test_a_job_takes_an_upload_once(jobs: Started) -> None:
    with jobs() as client:
        upload = begin(client)
        send(client, upload, 0, RECORDING)
        first = submit(client, upload, {"Idempotency-Key": "a"})
        again = submit(client, upload, {"Idempotency-Key": "a"})
        assert (first.status_code, again.status_code) == (202, 202)
        assert again.json()["id"] == first.json()["id"]
        refused = submit(client, upload)
        assert (refused.status_code, refused.json()["error"]["param"]) == (404, "upload")
        assert tus(client, "HEAD", upload).status_code == 404


def test_an_upload_that_makes_no_job_stays(jobs: Started) -> None:
    with jobs() as client:
        upload = begin(client)
        send(client, upload, 0, RECORDING[:1000])
        refused = submit(client, upload)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "upload_unfinished")
        send(client, upload, 1000, RECORDING[1000:])
        assert submit(client, upload, model="no-such-model").status_code == 404
        assert submit(client, upload, audio_address="http://a.example/").status_code == 400
        assert submit(client, upload).status_code == 202
        noise = begin(client, 4)
        send(client, noise, 0, b"text")
        assert submit(client, noise).json()["error"]["code"] == "unsupported_audio"
        assert tus(client, "HEAD", noise).headers["upload-offset"] == "4"
        assert submit(client, begin(client, 0)).json()["error"]["code"] == "unsupported_audio"
        unknown = submit(client, "upload_" + 32 * "0")
        assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "invalid_request_error")
        assert submit(client, "../../jobs.sqlite").status_code == 404


def test_an_upload_goes_on_after_a_restart(jobs: Started) -> None:
    with jobs() as client:
        upload = begin(client)
        send(client, upload, 0, RECORDING[:5000])
    with jobs() as client:
        assert tus(client, "HEAD", upload).headers["upload-offset"] == "5000"
        send(client, upload, 5000, RECORDING[5000:])
        job = submit(client, upload).json()["id"]
        assert ended(client, job)["status"] == "completed"
        assert client.get(f"/v1/audio/jobs/{job}/audio").content == RECORDING


def test_a_key_has_uploads_of_its_own(jobs: Started) -> None:
    with jobs(api_key="one,two") as client:
        mine, other = bearer("one"), bearer("two")
        upload = begin(client, **mine)
        for method in ("HEAD", "DELETE"):
            assert tus(client, method, upload, **other).status_code == 404
        assert failure(send(client, upload, 0, RECORDING, **other)) == (404, "not_found")
        assert failure(tus(client, "GET", upload)) == (401, "invalid_api_key")
        assert send(client, upload, 0, RECORDING, **mine).status_code == 204
        assert submit(client, upload, other).status_code == 404
        assert submit(client, upload, mine).status_code == 202


def test_the_protocol_is_told(jobs: Started) -> None:
    with jobs(max_audio_size="1MB") as client:
        told = client.options("/v1/audio/uploads")
        assert (told.status_code, told.headers["tus-version"], told.headers["tus-max-size"]) == (
            204,
            "1.0.0",
            "1048576",
        )
        assert told.headers["tus-extension"] == "creation,creation-with-upload,expiration,termination"


def test_the_first_part_may_come_with_the_creation(jobs: Started) -> None:
    with jobs() as client:
        answer = tus(client, "POST", "", RECORDING[:7000], Upload_Length=len(RECORDING), Content_Type=PART)
        assert (answer.status_code, answer.headers["upload-offset"]) == (201, "7000")
        assert send(client, answer.headers["location"], 7000, RECORDING[7000:]).status_code == 204
        assert submit(client, answer.headers["location"]).status_code == 202


def test_a_location_leads_below_any_prefix_and_from_a_slash_at_the_end(jobs: Started) -> None:
    with jobs() as client:
        for endpoint in ("/v1/audio/uploads", "/v1/audio/uploads/"):
            answer = client.post(endpoint, headers={"Tus-Resumable": "1.0.0", "Upload-Length": "1"})
            upload = urljoin(f"https://proxy.example/speech{endpoint}", answer.headers["location"])
            path = upload.removeprefix("https://proxy.example/speech")
            assert path.startswith("/v1/audio/uploads/upload_")
            assert client.head(path, headers={"Tus-Resumable": "1.0.0"}).status_code == 200


def test_a_deleted_upload_is_gone(jobs: Started, tmp_path: Path) -> None:
    with jobs() as client:
        upload = begin(client)
        send(client, upload, 0, RECORDING[:1000])
        assert len(kept(tmp_path)) == 1
        assert tus(client, "DELETE", upload).status_code == 204
        assert kept(tmp_path) == []
        assert failure(send(client, upload, 1000, RECORDING[1000:])) == (404, "not_found")


def test_methods_may_be_overridden(jobs: Started) -> None:
    with jobs() as client:
        upload = begin(client)
        answer = tus(client, "POST", upload, b"ab", Upload_Offset=0, Content_Type=PART, X_HTTP_Method_Override="PATCH")
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, "2")
        assert tus(client, "POST", upload, X_HTTP_Method_Override="DELETE").status_code == 204
        assert tus(client, "POST", upload).status_code == 405
        assert tus(client, "HEAD", upload).status_code == 404


@pytest.mark.parametrize("length", [None, "-1", "1.5", "", "abc", "1" * 30, "٣"])
def test_an_upload_must_say_how_long_it_is(jobs: Started, length: str | None) -> None:
    with jobs() as client:
        headers = {"Tus-Resumable": b"1.0.0"}
        if length is not None:
            headers["Upload-Length"] = length.encode()
        refused = client.post("/v1/audio/uploads", headers=headers)  # type: ignore[arg-type]
        assert failure(refused) == (400, "invalid_request")
        assert refused.json()["error"]["param"] == "Upload-Length"


def test_wrong_requests_are_refused_and_change_nothing(jobs: Started, tmp_path: Path) -> None:
    with jobs(max_audio_size="1MB") as client:
        assert failure(tus(client, "POST", Upload_Length=2**20 + 1)) == (413, "audio_too_large")
        for version in ("0.2.2", "2.0.0", ""):
            refused = tus(client, "POST", Upload_Length=1, Tus_Resumable=version)
            assert failure(refused) == (412, "wrong_tus_version")
            assert refused.headers["tus-version"] == "1.0.0"
        for metadata in ("filename not-base64!", "a b c", ",", " ", "file\tname YQ==", "a " + "YQ==" * 2000):
            answer = tus(client, "POST", Upload_Length=1, Upload_Metadata=metadata)
            assert answer.status_code == (201 if metadata == " " else 400), metadata
        assert failure(tus(client, "POST", "", b"body", Upload_Length=4)) == (415, "wrong_content_type")
        upload = begin(client, 10)
        send(client, upload, 0, b"12345")
        for offset in (0, 4, 6, 10**17):
            assert failure(send(client, upload, offset, b"6")) == (409, "wrong_offset")
        for offset in (-5, "x", None):
            assert failure(send(client, upload, 5, b"6", Upload_Offset=offset)) == (400, "invalid_request")
        assert failure(send(client, upload, 5, b"6", Content_Type="audio/flac")) == (415, "wrong_content_type")
        assert failure(send(client, upload, 5, b"678901")) == (413, "audio_too_large")
        assert failure(send(client, upload, 5, b"6", Tus_Resumable="0.2.2")) == (412, "wrong_tus_version")
        for path in ("uploads/..%2F..%2Fjobs.sqlite", "uploads/x", "uploads/upload_" + "0" * 32):
            assert tus(client, "GET", path).status_code == 404
            assert send(client, path, 0, b"6").status_code == 404
            assert tus(client, "DELETE", path).status_code == 404
        assert tus(client, "HEAD", upload).headers["upload-offset"] == "5"
        assert (tmp_path / "data" / "uploads" / upload.rpartition("/")[2]).read_bytes() == b"12345"


def test_uploads_count_for_what_may_be_stored(jobs: Started) -> None:
    with jobs(jobs_max_storage="100KB") as client:
        assert failure(tus(client, "POST", Upload_Length=200_000)) == (507, "storage_full")
        first, second = begin(client, 90_000), begin(client, 90_000)
        assert send(client, first, 0, bytes(90_000)).status_code == 204
        assert failure(send(client, second, 0, bytes(90_000))) == (507, "storage_full")
        assert tus(client, "DELETE", first).status_code == 204
        assert send(client, second, 0, bytes(90_000)).status_code == 204
    with jobs(jobs_max_queued=2) as client:  # one is there still
        begin(client, 1)
        assert failure(tus(client, "POST", Upload_Length=1)) == (429, "queue_full")


def test_a_part_is_one_of_the_recordings_that_may_be_on_their_way(jobs: Started) -> None:
    with jobs(max_uploads=1) as client:
        upload = begin(client)
        with client.app.state.serving.uploads.admit():  # type: ignore[attr-defined]
            refused = send(client, upload, 0, RECORDING)
            assert failure(refused) == (429, "queue_full")
            assert "retry-after" in refused.headers
        assert send(client, upload, 0, RECORDING).status_code == 204
