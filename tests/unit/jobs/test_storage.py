"""Recordings of jobs, in a directory and in an object store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.jobs.storage import Storage, StorageFull


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """An object store on this machine; the address of a bucket in it is in AWS_ENDPOINT_URL."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "somebody")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "something")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="recordings")
        yield "s3://recordings/jobs"
    server.stop()


@pytest.fixture(params=["directory", "store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    url = request.getfixturevalue("bucket") if request.param == "store" else ""
    storage = Storage(tmp_path, "here", url)
    storage.set_up()
    return storage


def keep(storage: Storage, job: str, content: bytes) -> int:
    with storage.arriving() as file:
        file.write(content)
        return storage.keep(job, file)


def test_what_is_kept_can_be_read_until_it_is_forgotten(storage: Storage, tmp_path: Path) -> None:
    assert keep(storage, "job_1", b"0123456789") == 10
    with storage.local("job_1") as path:
        assert Path(path).read_bytes() == b"0123456789"
    with storage.open("job_1") as content:
        content.seek(3)
        assert content.read(2) == b"34"
    storage.forget("job_1")
    storage.forget("job_1")
    with pytest.raises(FileNotFoundError), storage.local("job_1"):
        pass
    with pytest.raises(FileNotFoundError):
        storage.open("job_1")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_keeping_twice_keeps_it(storage: Storage) -> None:
    keep(storage, "job_2", b"abc")
    keep(storage, "job_2", b"abc")
    with storage.local("job_2") as path:
        assert Path(path).read_bytes() == b"abc"


def test_what_an_earlier_process_left_half_received_is_deleted(tmp_path: Path) -> None:
    left = tmp_path / "incoming" / "here" / "asr-audio-x"
    others = tmp_path / "incoming" / "there" / "asr-audio-y"
    for path in (left, others):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half")
    Storage(tmp_path, "here").set_up()
    assert not left.exists()
    assert others.exists()


def test_there_is_room_as_far_as_the_limit_and_the_disk_go(storage: Storage) -> None:
    storage.check_room(10, used=90, most=100)
    with pytest.raises(StorageFull):
        storage.check_room(11, used=90, most=100)
    with pytest.raises(StorageFull):
        storage.check_room(2**60, used=0, most=2**61)


def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(tmp_path, "here")
    storage.set_up()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("service.jobs.storage.sync_directory", full)
    with pytest.raises(StorageFull):
        keep(storage, "job_3", b"abc")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
