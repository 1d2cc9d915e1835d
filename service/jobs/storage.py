"""Keeps the recordings of jobs, in a directory or in an object store that ``fsspec`` reaches.

Everything here blocks and is called in threads.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import fsspec

from service.errors import StorageFull
from service.intake.disk import full_disk_told, temporary_audio_file

# What must stay free on the disk that uploads and the database share.
_SPARE_BYTES = 256 << 20


class Storage:
    """Keeps a recording for each job."""

    def __init__(self, directory: Path, worker: str, url: str = "") -> None:
        """``directory``: where uploads arrive; recordings stay there, unless ``url`` names another place."""
        self._incoming = directory / "incoming" / worker
        self._fs, self._root = fsspec.core.url_to_fs(url or (directory / "audio").as_uri())
        self._is_local = isinstance(self._fs, fsspec.implementations.local.LocalFileSystem)

    def set_up(self) -> None:
        """Makes the directories, and empties what an earlier process has left half received."""
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir(parents=True, exist_ok=True)
        if self._is_local:
            Path(self._root).mkdir(parents=True, exist_ok=True)
            Path(self._root).chmod(0o700)

    @contextmanager
    def arriving(self) -> Iterator[IO[bytes]]:
        """Makes a file for a recording that is still coming; it is gone afterwards, unless it was kept."""
        with temporary_audio_file(self._incoming) as file:
            yield file

    def check_room(self, size: int, used: int, most: int) -> None:
        """Checks that another ``size`` bytes have room.

        Raises:
            StorageFull: they have not.
        """
        if used + size > most:
            raise StorageFull(f"The recordings of jobs take as much as they may ({most / 2**30:.3g} GB).")
        if shutil.disk_usage(self._incoming).free < size + _SPARE_BYTES:
            raise StorageFull("There is no room on the disk for another recording.")

    def keep(self, job_id: str, file: IO[bytes]) -> int:
        """Keeps what has arrived in ``file`` for a job, so that a power cut leaves it whole; returns its size.

        Raises:
            StorageFull: it has no room.
        """
        with full_disk_told():
            file.flush()
            size = os.fstat(file.fileno()).st_size
            try:
                if self._is_local:
                    os.fsync(file.fileno())
                    _link_or_copy(file.name, self._path(job_id))
                    sync_directory(self._root)
                else:
                    self._fs.put_file(file.name, self._path(job_id))
            except OSError:
                self.forget(job_id)
                raise
        return size

    @contextmanager
    def local(self, job_id: str) -> Iterator[str]:
        """Gives the path of a job's recording on this machine's disk.

        Raises:
            FileNotFoundError: it is not kept.
        """
        if self._is_local:
            path = self._path(job_id)
            os.stat(path)
            yield path
            return
        with self.arriving() as file:
            self._fs.get_file(self._path(job_id), file.name)
            yield file.name

    def open(self, job_id: str) -> Any:
        """Opens a job's recording to be read, in parts if need be.

        Raises:
            FileNotFoundError: it is not kept.
        """
        return self._fs.open(self._path(job_id), "rb")

    def forget(self, job_id: str) -> None:
        """Deletes a job's recording, if there is one."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._path(job_id))

    def _path(self, job_id: str) -> str:
        return f"{self._root}/{job_id}"


def _link_or_copy(source: str, target: str) -> None:
    with suppress(FileExistsError):
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP):
                raise
            shutil.copyfile(source, target)  # a directory of its own, or one that knows no links
            with open(target, "rb+") as copied:
                os.fsync(copied.fileno())


def sync_directory(path: str) -> None:
    """Brings the names in a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
