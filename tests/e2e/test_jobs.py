"""Jobs on the real server: nothing that was accepted is lost, whatever dies in the middle."""

from __future__ import annotations

import functools
import json
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.e2e.conftest import make_talk
from tests.e2e.server import Served, served

Undisturbed = Callable[[bytes], dict[str, Any]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """What a recording's transcript is, and how much of it the recogniser computes."""

    @functools.cache
    def found(audio: bytes) -> dict[str, Any]:
        with served(tmp_path_factory.mktemp("undisturbed") / "log") as server:
            job = finished(server.url, submit(server.url, audio)["id"])
            return {"transcript": transcript(server.url, job["id"]), "seconds": recognised_seconds(server.url)}

    return found


def submit(url: str, audio: bytes, **fields: Any) -> dict[str, Any]:
    answer = httpx.post(f"{url}/v1/audio/jobs", files={"file": ("talk.flac", audio)}, data=fields, timeout=60)
    assert answer.status_code == 202, answer.text
    return answer.json()


def get(url: str, path: str) -> httpx.Response | None:
    """The answer; None while the service is away."""
    try:
        answer = httpx.get(f"{url}{path}", timeout=30)
    except httpx.TransportError:
        return None
    return None if answer.status_code == 503 else answer


def finished(url: str, job: str, limit_s: float = 240) -> dict[str, Any]:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        answer = get(url, f"/v1/audio/jobs/{job}")
        if answer is not None and answer.json()["status"] in ("completed", "failed", "cancelled"):
            return answer.json()
        time.sleep(0.2)
    raise AssertionError(f"not finished: {answer and answer.text}")


def transcript(url: str, job: str) -> dict[str, Any]:
    """Text, times and speakers. Probabilities depend on batch-mates in their seventh digit, and are compared so."""
    told = httpx.get(f"{url}/v1/audio/jobs/{job}/transcript", timeout=30).json()
    for segment in told["segments"]:
        segment["avg_logprob"] = pytest.approx(segment["avg_logprob"], abs=1e-6)
    return dict(told)


def recognised_seconds(url: str) -> float:
    lines = httpx.get(f"{url}/metrics", timeout=30).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("asr_recognised_seconds_total"))


def wait_for_progress(url: str, job: str, least: float) -> float:
    """Waits until a job has come that far; returns how far it is."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        answer = get(url, f"/v1/audio/jobs/{job}")
        if answer is not None and answer.json()["progress"] >= least:
            return float(answer.json()["progress"])
        time.sleep(0.02)
    raise AssertionError(f"no progress to {least}")


def events(url: str, job: str, last: int = 0) -> Iterator[tuple[int, str, Any]]:
    """(id, name, data) of each event, until the stream ends or breaks."""
    number, name = 0, ""
    try:
        with httpx.stream(
            "GET", f"{url}/v1/audio/jobs/{job}/events", headers={"Last-Event-ID": str(last)}, timeout=60
        ) as lines:
            for line in lines.iter_lines():
                if line.startswith("id: "):
                    number = int(line[4:])
                elif line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    yield number, name, json.loads(line[6:])
    except httpx.TransportError:
        return


@pytest.mark.parametrize("service", ["ASRService", "ParaformerRunner", "VadRunner", "CampplusRunner"])
def test_a_killed_process_costs_a_job_nothing_but_time(
    tmp_path: Path, talk: bytes, undisturbed: Undisturbed, service: str
) -> None:
    with served(tmp_path / "log") as server:
        job = submit(server.url, talk)["id"]
        wait_for_progress(server.url, job, random.uniform(0.1, 0.7))
        server.process_of(service).kill()
        assert finished(server.url, job)["status"] == "completed"
        assert transcript(server.url, job) == undisturbed(talk)["transcript"]
        assert recognised_seconds(server.url) <= undisturbed(talk)["seconds"] + 60


def test_a_job_survives_the_death_of_every_process(tmp_path: Path, talk: bytes, undisturbed: Undisturbed) -> None:
    die_again_and_again(tmp_path, talk, undisturbed(talk), (random.uniform(0.1, 0.7),))


@pytest.mark.slow
def test_twenty_minutes_survive_ten_deaths(tmp_path: Path, undisturbed: Undisturbed) -> None:
    talk = make_talk(20)
    die_again_and_again(tmp_path, talk, undisturbed(talk), sorted(random.uniform(0, 0.95) for _ in range(10)))


def die_again_and_again(folder: Path, talk: bytes, undisturbed: dict[str, Any], moments: Sequence[float]) -> None:
    """Kills the whole tree of processes each time a job has come so far; in the end nothing shows of it."""
    job, progress, seconds = "", 0.0, 0.0

    def go_on_until(moment: float) -> None:
        nonlocal job, progress, seconds
        with served(folder / "log", DATA_DIR=str(folder / "data")) as server:
            job = job or submit(server.url, talk)["id"]
            answer = get(server.url, f"/v1/audio/jobs/{job}")
            assert answer is None or answer.json()["progress"] >= progress
            progress = wait_for_progress(server.url, job, moment)
            seconds += recognised_seconds(server.url)
            kill_everything(server)

    for moment in moments:
        with pytest.raises(_Killed):
            go_on_until(moment)
    with served(folder / "log", DATA_DIR=str(folder / "data")) as server:
        assert finished(server.url, job)["status"] == "completed"
        assert transcript(server.url, job) == undisturbed["transcript"]
        seconds += recognised_seconds(server.url)
        assert seconds <= undisturbed["seconds"] + 60 * len(moments)
        numbers = [number for number, _, _ in events(server.url, job)]
        assert numbers == list(range(1, len(numbers) + 1))


class _Killed(Exception):
    """All processes of a server are dead."""


def kill_everything(server: Served) -> None:
    tree = [psutil.Process(server.pid), *server.processes]
    for process in tree:
        process.suspend()
    for process in tree:
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(tree, timeout=10)
    raise _Killed("all processes are dead")


def test_events_resume_with_nothing_missing_or_twice(tmp_path: Path, talk: bytes) -> None:
    with served(tmp_path / "log") as server:
        job = submit(server.url, talk)["id"]
        heard: list[tuple[int, str, Any]] = []
        killed = False
        while not heard or heard[-1][1] != "done":
            for event in events(server.url, job, heard[-1][0] if heard else 0):
                heard.append(event)
                if not killed and event[1] == "segment" and len(heard) > 20:
                    killed = True
                    server.process_of("ASRService").kill()
                elif len(heard) % 50 == 0:
                    break  # a client that is cut off
        assert [number for number, _, _ in heard] == list(range(1, len(heard) + 1))
        segments = [data["id"] for _, name, data in heard if name == "segment"]
        assert segments == list(range(len(segments)))
        progress = [data["progress"] for _, name, data in heard if name == "progress"]
        assert progress == sorted(progress)
        assert progress[-1] == 1


def test_a_cancelled_job_stops_to_be_recognised(tmp_path: Path, talk: bytes) -> None:
    with served(tmp_path / "log") as server:
        job = submit(server.url, talk)["id"]
        wait_for_progress(server.url, job, 0.01)
        assert httpx.delete(f"{server.url}/v1/audio/jobs/{job}", timeout=30).json()["status"] == "cancelled"
        time.sleep(2)
        computed_s = recognised_seconds(server.url)
        time.sleep(1)
        assert recognised_seconds(server.url) == computed_s
        assert httpx.delete(f"{server.url}/v1/audio/jobs/{job}", timeout=30).json()["deleted"]
        assert httpx.get(f"{server.url}/v1/audio/jobs/{job}", timeout=30).status_code == 404
        kept = list((tmp_path / "data").rglob(f"*{job}*"))
        assert kept == []
