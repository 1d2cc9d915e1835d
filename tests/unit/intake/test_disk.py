"""Files of recordings that arrive: private, gone afterwards, and what a full disk comes to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from service.errors import ServiceError, StorageFull
from service.intake import disk
from service.intake.disk import temporary_audio_file
from tests.full_disk import fill


def test_the_file_on_disk_is_private_and_goes_away() -> None:
    with temporary_audio_file() as file:
        path = Path(file.name)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()
    with contextlib.suppress(ServiceError), temporary_audio_file() as file:
        path = Path(file.name)
        raise ServiceError("failed")
    assert not path.exists()


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_full_disk_is_told_as_such_and_nothing_is_left_on_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fill(monkeypatch)
    with pytest.raises(StorageFull) as raised, temporary_audio_file() as file:
        asyncio.run(disk.write(file, bytes(size), is_last=True))
    assert raised.value.retry_after_s
    assert list(tmp_path.iterdir()) == []


def test_what_else_goes_wrong_in_a_file_stays_what_it_is() -> None:
    with pytest.raises(FileNotFoundError), temporary_audio_file():
        raise FileNotFoundError


def test_threads_that_wait_for_something_else_hold_up_no_writing(tmp_path: Path) -> None:
    release = threading.Event()

    async def write() -> None:
        waiting = [asyncio.get_running_loop().run_in_executor(None, release.wait) for _ in range(64)]
        try:
            with temporary_audio_file(tmp_path) as file:
                await asyncio.wait_for(disk.write(file, b"abc", is_last=True), 5)
                assert os.fstat(file.fileno()).st_size == 3
        finally:
            release.set()
            await asyncio.gather(*waiting)

    asyncio.run(write())
