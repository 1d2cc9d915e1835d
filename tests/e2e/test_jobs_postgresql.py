"""Jobs that several workers do, on a real PostgreSQL."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from tests.e2e import postgresql
from tests.e2e.server import served
from tests.e2e.test_jobs import finished, get, kill_everything, submit, transcript, wait_for_progress
from tests.speech import FOLDER

pytestmark = pytest.mark.skipif(postgresql.INITDB is None, reason=postgresql.MISSING)


def test_a_worker_that_dies_for_good_leaves_its_jobs_to_another(tmp_path: Path, talk: bytes) -> None:
    shared = str(tmp_path / "data")
    with postgresql.postgresql() as database:
        common = {"DATABASE_URL": database.url, "DATA_DIR": shared}
        (tmp_path / "api").mkdir()
        with served(tmp_path / "api" / "log", ROLE="api", WORKER_NAME="api", **common) as api:
            jobs = [submit(api.url, talk)["id"] for _ in range(2)]
            (tmp_path / "first").mkdir()
            with pytest.raises(Exception, match="dead"):
                _work_until_killed(tmp_path / "first" / "log", api.url, jobs[0], common)
            (tmp_path / "second").mkdir()
            with served(tmp_path / "second" / "log", ROLE="worker", WORKER_NAME="second", **common) as worker:
                assert httpx.get(f"{worker.url}/v1/audio/jobs").status_code == 404
                texts = set()
                for job in jobs:
                    assert finished(api.url, job, limit_s=60)["status"] == "completed"
                    texts.add(str(transcript(api.url, job)["text"]))
                assert len(texts) == 1
                assert "jobs are taken over" in worker.log.read_text()


def _work_until_killed(log: Path, api: str, job: str, common: dict[str, str]) -> None:
    with served(log, ROLE="worker", WORKER_NAME="first", **common) as worker:
        wait_for_progress(api, job, 0.2)
        kill_everything(worker)


def test_recognition_goes_on_while_the_database_is_away(tmp_path: Path, talk: bytes) -> None:
    with postgresql.postgresql() as database, served(tmp_path / "log", DATABASE_URL=database.url) as server:
        job = submit(server.url, talk)["id"]
        wait_for_progress(server.url, job, 0.05)
        database.stop()
        date = {"file": (FOLDER / "date.flac").read_bytes()}
        away_until = time.monotonic() + 30
        while time.monotonic() < away_until:
            answer = httpx.get(f"{server.url}/v1/audio/jobs/{job}", timeout=30)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
            assert httpx.post(f"{server.url}/v1/audio/jobs", files=date, timeout=30).status_code == 503
            assert httpx.post(f"{server.url}/v1/audio/transcriptions", files=date, timeout=30).is_success
            assert httpx.get(f"{server.url}/readyz", timeout=30).is_success
            time.sleep(1)
        database.start()
        assert get(server.url, "/livez") is not None
        assert finished(server.url, job)["status"] == "completed"
        assert finished(server.url, submit(server.url, talk)["id"])["status"] == "completed"
