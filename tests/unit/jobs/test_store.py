"""What is known of jobs, in SQLite: who may change a job, and what is told of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runners import catalog
from service.domain import Diarization, Hotword, KnownSpeaker, RawPcm, RecognitionOptions
from service.errors import NotFound
from service.jobs.job import FINISHED, Failure, JobRequest, Status, task_status
from service.jobs.store import IdempotencyConflict, LostJob, NewJob, Store
from tests.speech import RECORDINGS

MODEL = catalog.models()["paraformer-demo"]
REQUEST = JobRequest(RecognitionOptions(MODEL))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    store.set_up()
    yield store
    store.close()


def add(store: Store, name: str, key: str = "k", *, interactive: bool = False) -> str:
    request = JobRequest(RecognitionOptions(MODEL), interactive=interactive)
    return store.add([NewJob(f"job_{name}", key, request, 1, 60.0)])[0].id


def test_a_request_is_read_as_it_was_written() -> None:
    known = KnownSpeaker("王老师", RECORDINGS["date"].pcm)
    request = JobRequest(
        RecognitionOptions(MODEL, "zh", "上下文", (Hotword("词", 20),), False, False, False, Diarization(2, (known,))),
        audio_address="http://example.com/a",
        raw=RawPcm(8000, 2),
        channels=(0, 1),
        callback_url="http://example.com/b",
        label="标签",
        interactive=True,
        warnings=("one",),
        dialect="other",
        details={"a": [1, None]},
    )
    read = JobRequest.from_json(request.to_json())
    assert read == request
    assert read.options.diarization is not None
    assert (read.options.diarization.known_speakers[0].reference == known.reference).all()


def test_only_the_run_that_has_a_job_in_hand_changes_it(store: Store) -> None:
    job = add(store, "1")
    assert store.claim(job, "first") is not None
    store.keep(job, "first", checkpoint=b"a", progress=0.5)
    taken = store.claim(job, "second")
    assert taken is not None
    assert (taken.checkpoints, taken.job.progress) == ((b"a",), 0.5)
    with pytest.raises(LostJob):
        store.keep(job, "first", checkpoint=b"b")
    with pytest.raises(LostJob):
        store.finish(job, "first", "completed", keep_s=1, transcript="{}")
    assert store.finish(job, "second", "completed", keep_s=1, transcript="{}")
    assert store.claim(job, "third") is None


def test_attempts_count_from_the_last_progress(store: Store) -> None:
    job = add(store, "1")
    attempts = []
    for run in ("a", "b"):
        claim = store.claim(job, run)
        assert claim is not None
        attempts.append(claim.attempts)
    store.keep(job, "b", checkpoint=b"x")
    for run in ("c", "d"):
        claim = store.claim(job, run)
        assert claim is not None
        attempts.append(claim.attempts)
    store.let_go(job, "d")
    claim = store.claim(job, "e")
    assert claim is not None
    assert [*attempts, claim.attempts] == [1, 2, 1, 2, 1]


def test_progress_never_goes_back_and_is_told_once(store: Store) -> None:
    job = add(store, "1")
    store.claim(job, "r")
    for progress in (0.2, 0.1, 0.2, 0.7):
        store.keep(job, "r", progress=progress)
    told = [json.loads(event.data)["progress"] for event in store.events(job, 0) if event.kind == "progress"]
    assert told == [0.2, 0.7]
    assert store.get(job).progress == 0.7


def test_a_cancelled_job_is_out_of_its_runs_hands(store: Store) -> None:
    job = add(store, "1")
    store.claim(job, "r")
    assert store.finish(job, None, "cancelled", keep_s=1)
    assert not store.finish(job, None, "cancelled", keep_s=1)
    with pytest.raises(LostJob):
        store.keep(job, "r", progress=0.9)
    assert store.get(job).status == "cancelled"


def test_the_same_request_at_the_same_time_is_accepted_once(store: Store) -> None:
    accepted: list[str] = []

    def submit(number: int) -> None:
        accepted.append(store.add([NewJob(f"job_{number}", "k", REQUEST)], ("once", "digest"))[0].id)

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(accepted) == 8
    assert len(set(accepted)) == 1
    assert len(store.page("k")) == 1
    with pytest.raises(IdempotencyConflict):
        store.add([NewJob("job_x", "k", REQUEST)], ("once", "another digest"))
    assert store.add([NewJob("job_y", "another key", REQUEST)], ("once", "another digest"))[0].id == "job_y"


def test_the_position_of_a_job_counts_those_of_its_key_that_come_before(store: Store) -> None:
    first, second, hurried = add(store, "1"), add(store, "2"), add(store, "3", interactive=True)
    other = add(store, "4", key="other")
    positions = {job: store.position(store.get(job)) for job in (first, second, hurried, other)}
    assert positions == {hurried: 1, first: 2, second: 3, other: 1}


def test_a_job_is_forgotten_with_everything_of_it(store: Store) -> None:
    job = add(store, "1")
    store.claim(job, "r")
    store.keep(job, "r", checkpoint=b"x", segments=["{}"], progress=0.5)
    store.finish(job, "r", "failed", keep_s=-1, failure=Failure("code", "message"))
    assert store.expired() == [job]
    store.forget([job])
    assert (store.events(job, 0), store.segments(job), store.transcript(job)) == ([], [], None)
    with pytest.raises(NotFound):
        store.get(job)


def test_a_secret_is_made_once(store: Store) -> None:
    assert store.secret("links") == store.secret("links") != store.secret("other")


def test_a_model_that_is_gone_hides_no_job(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job = add(store, "1")
    others = {name: model for name, model in catalog.models().items() if name != MODEL.id}
    monkeypatch.setattr(catalog, "models", lambda: others)
    assert [found.id for found in store.page("k")] == [job]
    assert store.get(job).request.options.model.id == MODEL.id


def test_tasks_are_counted_and_found_by_where_they_stand(store: Store) -> None:
    request = JobRequest(RecognitionOptions(MODEL))

    def task(name: str, *statuses: Status, key: str = "k") -> None:
        new = [NewJob(f"job_{name}{n}", key, request, 1, 60.0, f"task_{name}") for n in range(len(statuses))]
        for job, status in zip(store.add(new), statuses, strict=True):
            if status != "queued":
                store.claim(job.id, "r")
            if status in FINISHED:
                store.finish(job.id, "r", status, keep_s=100)

    ends = {
        "w": ("queued", "queued"),
        "r": ("completed", "queued"),
        "s": ("running",),
        "c": ("failed", "completed", "cancelled"),
        "x": ("failed", "cancelled"),
        "f": ("failed", "failed"),
    }
    for name, statuses in ends.items():
        task(name, *statuses)  # type: ignore[arg-type]
    task("other", "completed", key="another")
    alone = add(store, "1")

    def found(**wanted: Any) -> list[str]:
        total, tasks = store.tasks("k", **{"limit": 100, "offset": 0, **wanted})
        if "limit" not in wanted:
            assert total == len(tasks)
        return [(jobs[0].task or jobs[0].id).removeprefix("task_") for jobs in tasks]

    assert found() == [alone, *reversed(ends)]
    assert found(limit=2, offset=1) == ["f", "x"]
    by_status = {status: found(status=status) for status in ("queued", "running", *FINISHED)}
    assert by_status == {
        "queued": [alone, "w"],
        "running": ["s", "r"],
        "completed": ["c"],
        "cancelled": ["x"],
        "failed": ["f"],
    }
    for name in ends:
        _, tasks = store.tasks("k", limit=100, offset=0)
        jobs = next(jobs for jobs in tasks if jobs[0].task == f"task_{name}")
        assert len(jobs) == len(ends[name])
        assert name in by_status[task_status(jobs)]
    assert found(model=MODEL.id) == found()
    assert found(model="paraformer") == []
    assert found(since=time.time() + 1) == found(until=time.time() - 100) == []


def test_a_hotword_list_is_its_keys(store: Store) -> None:
    store.put_vocabulary("k", "vocab-a-1", "one")
    store.put_vocabulary("k", "vocab-a-1", "two")
    assert store.vocabulary("k", "vocab-a-1") == "two"
    assert store.vocabulary("another", "vocab-a-1") is None
    assert not store.delete_vocabulary("another", "vocab-a-1")
    assert store.delete_vocabulary("k", "vocab-a-1")
    assert store.vocabulary("k", "vocab-a-1") is None
