"""Uploads in parts: what is told of one is on the disk, whoever vanishes, dies or comes twice."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from service.errors import AudioTooLarge, NotFound, StorageFull, UploadStalled
from service.jobs import uploads as module
from service.jobs.store import Store
from service.jobs.uploads import UploadBusy, Uploads, UploadUnfinished, WrongOffset
from service.settings import Settings

pytestmark = pytest.mark.asyncio
KEY = "a key"


async def has_room(*_: object) -> None: ...


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, enabled_models="demo")


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    store = Store(settings.jobs_database)
    store.set_up()
    yield store
    store.close()


@pytest.fixture
def uploads(settings: Settings, store: Store) -> Uploads:
    uploads = Uploads(settings, store, has_room)
    uploads.set_up()
    return uploads


async def parts(*chunks: bytes, then: Exception | None = None) -> AsyncGenerator[bytes, None]:
    for chunk in chunks:
        yield chunk
    if then:
        raise then


async def silence(first: bytes, sent: asyncio.Event) -> AsyncGenerator[bytes, None]:
    """A connection that is open still, but nothing comes any more."""
    yield first
    sent.set()
    await asyncio.Event().wait()


def content(uploads: Uploads, upload_id: str) -> bytes:
    return (uploads._directory / upload_id).read_bytes()


async def test_what_came_before_a_connection_broke_is_kept(uploads: Uploads) -> None:
    upload = await uploads.create(KEY, 10)
    with pytest.raises(ClientDisconnect):
        await uploads.append(KEY, upload.id, 0, parts(b"abc", b"de", then=ClientDisconnect()))
    assert (await uploads.find(KEY, upload.id)).received_bytes == 5
    with pytest.raises(UploadUnfinished):
        await uploads.complete(KEY, upload.id)
    await uploads.append(KEY, upload.id, 5, parts(b"fghij"))
    complete, file = await uploads.complete(KEY, upload.id)
    with file:
        assert (complete.received_bytes, file.read()) == (10, b"abcdefghij")


@pytest.mark.parametrize("by", ["find", "append", "forget"])
async def test_who_comes_later_goes_on_and_the_dead_connection_is_ended(uploads: Uploads, by: str) -> None:
    upload = await uploads.create(KEY, 10)
    sent = asyncio.Event()
    earlier = asyncio.create_task(uploads.append(KEY, upload.id, 0, silence(b"abc", sent)))
    await sent.wait()
    if by == "find":
        assert (await uploads.find(KEY, upload.id)).received_bytes == 3
    elif by == "append":
        with pytest.raises(WrongOffset, match="at byte 3"):
            await uploads.append(KEY, upload.id, 0, parts(b"abc"))
    else:
        await uploads.forget(KEY, upload.id)
    with pytest.raises(UploadBusy):
        await earlier


async def test_two_parts_at_a_time_never_mix(uploads: Uploads) -> None:
    upload = await uploads.create(KEY, 2_000_000)

    async def slowly(chunk: bytes) -> AsyncGenerator[bytes, None]:
        for _ in range(1000):
            yield chunk
            await asyncio.sleep(0)

    clients = (uploads.append(KEY, upload.id, 0, slowly(chunk)) for chunk in (b"a" * 1000, b"b" * 1000, b"c" * 1000))
    await asyncio.gather(*clients, return_exceptions=True)
    received = (await uploads.find(KEY, upload.id)).received_bytes
    assert len(set(content(uploads, upload.id)[:received])) == 1


async def test_nobody_ends_what_is_not_theirs(uploads: Uploads) -> None:
    upload = await uploads.create(KEY, 3)
    sent = asyncio.Event()
    mine = asyncio.create_task(uploads.append(KEY, upload.id, 0, silence(b"abc", sent)))
    await sent.wait()
    for attempt in (uploads.find("another", upload.id), uploads.forget("another", upload.id)):
        with pytest.raises(NotFound):
            await attempt
    assert not mine.done()
    mine.cancel()
    await asyncio.gather(mine, return_exceptions=True)
    assert (await uploads.find(KEY, upload.id)).received_bytes == 3


async def test_another_process_that_writes_is_left_alone(uploads: Uploads) -> None:
    upload = await uploads.create(KEY, 10)
    await uploads.append(KEY, upload.id, 0, parts(b"abc"))
    with (uploads._directory / upload.id).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UploadBusy):
            await uploads.append(KEY, upload.id, 3, parts(b"d"))
    await uploads.append(KEY, upload.id, 3, parts(b"d"))


async def test_bytes_that_a_dead_process_wrote_but_did_not_tell_are_written_again(uploads: Uploads) -> None:
    upload = await uploads.create(KEY, 10)
    await uploads.append(KEY, upload.id, 0, parts(b"abc"))
    with (uploads._directory / upload.id).open("ab") as file:
        file.write(b"lost")
    assert (await uploads.find(KEY, upload.id)).received_bytes == 3
    await uploads.append(KEY, upload.id, 3, parts(b"defghij"))
    assert content(uploads, upload.id) == b"abcdefghij"


async def test_long_parts_are_told_while_they_come(uploads: Uploads, store: Store) -> None:
    upload = await uploads.create(KEY, 9 << 20)
    told = []

    async def watched() -> AsyncGenerator[bytes, None]:
        for _ in range(9):
            yield bytes(1 << 20)
            told.append(store.upload(upload.id, KEY).received_bytes)

    await uploads.append(KEY, upload.id, 0, watched())
    assert told[-1] >= 8 << 20


async def test_what_is_not_here_is_not_found(uploads: Uploads) -> None:
    upload = await uploads.create(KEY, 10)
    await uploads.append(KEY, upload.id, 0, parts(b"abc"))
    (uploads._directory / upload.id).write_bytes(b"ab")  # as after a disk that lost what it had confirmed
    with pytest.raises(NotFound):
        await uploads.append(KEY, upload.id, 3, parts(b"d"))
    (uploads._directory / upload.id).unlink()  # it came to a process with another DATA_DIR
    with pytest.raises(NotFound):
        await uploads.append(KEY, upload.id, 3, parts(b"d"))


async def test_more_than_was_announced_is_refused_and_what_fits_is_kept(uploads: Uploads) -> None:
    upload = await uploads.create(KEY, 5)
    with pytest.raises(AudioTooLarge):
        await uploads.append(KEY, upload.id, 0, parts(b"abc", b"def"))
    assert (await uploads.find(KEY, upload.id)).received_bytes == 3
    with pytest.raises(AudioTooLarge):
        await uploads.append(KEY, upload.id, 3, parts(), announced_bytes=3)


async def test_a_connection_that_stalls_ends(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_IDLE_S", 0.05)
    upload = await uploads.create(KEY, 5)
    with pytest.raises(UploadStalled):
        await uploads.append(KEY, upload.id, 0, silence(b"ab", asyncio.Event()))
    assert (await uploads.find(KEY, upload.id)).received_bytes == 2


async def test_a_full_disk_is_told_and_the_upload_goes_on_later(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await uploads.create(KEY, 5)
    await uploads.append(KEY, upload.id, 0, parts(b"ab"))

    def full(_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", full)
        with pytest.raises(StorageFull):
            await uploads.append(KEY, upload.id, 2, parts(b"cde"))
    assert (await uploads.find(KEY, upload.id)).received_bytes == 2
    await uploads.append(KEY, upload.id, 2, parts(b"cde"))
    assert content(uploads, upload.id) == b"abcde"


async def test_what_does_not_go_on_is_deleted_and_so_are_files_that_nobody_knows(
    uploads: Uploads, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasting, forgotten = await uploads.create(KEY, 5), await uploads.create(KEY, 5)
    for upload in (lasting, forgotten):
        await uploads.append(KEY, upload.id, 0, parts(b"ab"))
    (uploads._directory / "upload_of_nobody").touch()
    later = time.time() + 23 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    await uploads.append(KEY, lasting.id, 2, parts(b"c"))
    later += 2 * 3600
    with pytest.raises(NotFound):
        await uploads.find(KEY, forgotten.id)
    await uploads.tidy()
    assert [path.name for path in uploads._directory.iterdir()] == [lasting.id]
    assert store.tidy_uploads() == {lasting.id}
