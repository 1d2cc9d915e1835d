"""Keeps on disk what arrives: in files that are gone afterwards, written in threads that do nothing else."""

from __future__ import annotations

import asyncio
import errno
import logging
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, TypeVar

from service.errors import StorageFull

T = TypeVar("T")

log = logging.getLogger(__name__)

_RETRY_AFTER_S = 60
# Of their own: what waits for something else in a shared thread must not hold up an upload.
_THREADS = ThreadPoolExecutor(8, thread_name_prefix="disk")


@contextmanager
def temporary_audio_file(directory: Path | None = None) -> Iterator[IO[bytes]]:
    """Makes a file on disk that only this user can read and that is gone afterwards, whatever happens.

    Raises:
        StorageFull: the disk has no room for what the block writes.
    """
    # Closed by hand: as a context manager it stays on disk where closing fails, and a full disk makes that fail, too.
    with full_disk_told(), closing(tempfile.NamedTemporaryFile(prefix="asr-audio-", dir=directory)) as file:
        yield file


@contextmanager
def full_disk_told() -> Iterator[None]:
    """Raises StorageFull where the disk is full, however that shows: as a file is made, written, flushed or closed."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        log.error("a recording could not be written: %s", error)
        message = "There is no room on the disk for the recording."
        raise StorageFull(message, retry_after_s=_RETRY_AFTER_S) from error


async def write(into: IO[bytes], data: bytes | bytearray, *, is_last: bool = False) -> None:
    """Writes in a thread, in pieces large enough that the hand-over doesn't show; the last is flushed."""

    def call() -> None:
        into.write(data)
        if is_last:
            into.flush()

    await in_thread(call)


async def in_thread(call: Callable[[], T]) -> T:
    """Calls what waits for the disk alone."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, call)
