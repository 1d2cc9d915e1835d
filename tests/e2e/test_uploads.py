"""Resumable uploads with the clients that people have: tuspy, and tus-js-client in Node."""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import soundfile
from tusclient.client import TusClient

from tests.e2e.conftest import KEY, make_talk
from tests.e2e.server import Served, served
from tests.e2e.test_jobs import _Killed, kill_everything

CLIENTS = Path(__file__).parent / "clients"
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two minutes of speech, 3.8 MB."""
    path = tmp_path_factory.mktemp("recording") / "talk.wav"
    soundfile.write(path, *soundfile.read(io.BytesIO(make_talk(2)), dtype="int16"))
    return path


def come_so_far(data: Path, size: int) -> None:
    """Waits until the file of the only upload is that large."""
    deadline = time.monotonic() + 60
    while sum(path.stat().st_size for path in (data / "uploads").iterdir()) < size:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def is_transcribed_as_a_whole(server: Served, upload: str, recording: Path) -> None:
    """The upload makes a job, whose audio and transcript are those of the recording in one piece."""
    with httpx.Client(base_url=server.url, headers=AUTHORIZED, timeout=120) as client:
        form = {"upload": (None, upload.rpartition("/")[2])}
        job = client.post("/v1/audio/jobs", files=form).json()
        assert job["file_name"] == recording.name
        while client.get(f"/v1/audio/jobs/{job['id']}").json()["status"] in ("queued", "running"):
            time.sleep(0.2)
        assert client.get(f"/v1/audio/jobs/{job['id']}/audio").content == recording.read_bytes()
        wanted = {"response_format": "srt"}
        asked = client.post("/v1/audio/transcriptions", files={"file": recording.read_bytes()}, data=wanted)
        assert asked.text
        assert client.get(f"/v1/audio/jobs/{job['id']}/transcript", params=wanted).text == asked.text
        assert client.post("/v1/audio/jobs", files=form).status_code == 404


def test_tuspy_goes_on_where_a_killed_server_had_come_to(tmp_path: Path, recording: Path) -> None:
    environment = {"DATA_DIR": str(tmp_path / "data"), "API_KEY": KEY}
    content = recording.read_bytes()
    said = {"chunk_size": 300_000, "metadata": {"filename": recording.name}}

    def upload_until_everything_dies() -> None:
        nonlocal path
        with served(tmp_path / "log", **environment) as server:
            uploader = TusClient(f"{server.url}/v1/audio/uploads/", AUTHORIZED).uploader(str(recording), **said)
            uploader.upload(stop_at=900_000)
            path = urlsplit(uploader.url).path
            assert uploader.offset == 900_000
            send_half_a_part(server, path, 900_000, content[900_000:])
            come_so_far(tmp_path / "data", 1_500_000)
            kill_everything(server)

    path = ""
    with pytest.raises(_Killed):
        upload_until_everything_dies()
    with served(tmp_path / "log", **environment) as server:
        uploader = TusClient(f"{server.url}/v1/audio/uploads", AUTHORIZED).uploader(
            str(recording), url=server.url + path, **said
        )
        assert 900_000 <= uploader.offset < len(content)
        uploader.upload()
        is_transcribed_as_a_whole(server, path, recording)


def send_half_a_part(server: Served, path: str, offset: int, part: bytes) -> socket.socket:
    """Begins a part that will never come to its end."""
    host, _, port = urlsplit(server.url).netloc.partition(":")
    client = socket.create_connection((host, int(port)), timeout=60)
    lines = [
        f"PATCH {path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {KEY}", "Tus-Resumable: 1.0.0",
        "Content-Type: application/offset+octet-stream", f"Upload-Offset: {offset}", f"Content-Length: {len(part)}",
    ]  # fmt: skip
    client.sendall("\r\n".join([*lines, "", ""]).encode() + part[: len(part) // 2])
    time.sleep(1.1)  # what has come is written down after a second, when more comes
    client.sendall(part[len(part) // 2 : len(part) // 2 + 1000])
    return client


def test_tus_js_client_goes_on_by_itself_when_the_service_dies(tmp_path: Path, recording: Path) -> None:
    if shutil.which("node") is None or not (CLIENTS / "node_modules" / "tus-js-client").is_dir():
        pytest.skip("needs node, and: npm install --no-package-lock --prefix tests/e2e/clients")
    with served(tmp_path / "log", API_KEY=KEY) as server:
        command = ["node", str(CLIENTS / "tus_upload.cjs"), f"{server.url}/v1/audio/uploads", KEY, str(recording)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
            come_so_far(tmp_path / "data", 500_000)
            server.process_of("ASRService").kill()
            told, errors = client.communicate(timeout=90)
        assert client.returncode == 0, errors
        is_transcribed_as_a_whole(server, told.strip(), recording)
