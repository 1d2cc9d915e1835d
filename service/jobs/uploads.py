"""Receives recordings in parts, in uploads that may be cut off and go on later, until a job takes them.

A part is written to a file, the file is brought to the disk, and then the database is told how far the upload has come:
what is told of it is there, whatever dies in between, and what is in the file beyond is written again.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from io import FileIO

from service.errors import AudioTooLarge, NotFound, QueueFull, ServiceError, UploadStalled
from service.intake.disk import full_disk_told
from service.jobs.storage import sync_directory
from service.jobs.store import NO_SUCH_UPLOAD, Store, Upload
from service.settings import Settings

_KEEP_S = 24 * 3600.0  # since the last part
_WRITE_BYTES = 4 << 20
_WRITE_S = 1.0
_MOST_IDLE_S = 60.0
_YIELD_S = 5.0
_FULL_RETRY_S = 60


class WrongOffset(ServiceError):
    """A part does not begin where the upload has come to."""

    status = 409
    code = "wrong_offset"


class UploadUnfinished(ServiceError):
    """A job wants an upload that has not come to its end."""

    status = 409
    code = "upload_unfinished"


class UploadBusy(ServiceError):
    """Another request goes on with the upload."""

    status = 423
    code = "upload_busy"


class Uploads:
    """Keeps uploads by their ids, each for the key that began it.

    Of two requests that go on with an upload the later does: the earlier is a connection that its client has given up.
    Every method raises NotReady while the database doesn't answer.
    """

    def __init__(
        self, settings: Settings, store: Store, check_room: Callable[[str, int, int], Awaitable[None]]
    ) -> None:
        """``check_room`` gets a key, a number of bytes, and of jobs, and raises where they have no room."""
        self._directory = settings.data_path / "uploads"
        self._most_bytes = settings.max_audio_size
        self._most = settings.jobs_max_queued
        self._keep_s = min(_KEEP_S, 3600 * settings.jobs_keep_hours)
        self._store = store
        self._check_room = check_room
        self._hands: dict[str, _Hand] = {}

    @property
    def most_bytes(self) -> int:
        """Returns how large an upload may be."""
        return self._most_bytes

    def set_up(self) -> None:
        """Makes the directory; what earlier processes have received stays; blocks."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def create(self, key: str, total_bytes: int, name: str = "", metadata: str = "") -> Upload:
        """Begins an upload; ``metadata`` is kept as it is.

        Raises:
            AudioTooLarge: no recording may be so large.
            QueueFull, StorageFull: there is no room.
        """
        if total_bytes > self._most_bytes:
            raise AudioTooLarge(f"The audio is larger than the limit of {self._most_bytes / 2**20:g} MB.")
        await self._check_room(key, total_bytes, 0)
        if (await self._store.call(self._store.counts)).uploads >= self._most:
            raise QueueFull(f"There are {self._most} uploads already.", retry_after_s=_FULL_RETRY_S)
        upload = Upload(f"upload_{uuid.uuid4().hex}", key, total_bytes, 0, name, metadata, time.time() + self._keep_s)
        await self._store.call(self._store.add_upload, upload)
        return upload

    async def find(self, key: str, upload_id: str) -> Upload:
        """Returns how far an upload has come; whoever asks goes on with it, so a request that still does is ended.

        Raises:
            NotFound: it is not ``key``'s.
            UploadBusy: another process goes on with it.
        """
        async with self._alone(key, upload_id):
            return await self._store.call(self._store.upload, upload_id, key)

    async def append(
        self, key: str, upload_id: str, offset: int, chunks: AsyncGenerator[bytes, None], announced_bytes: int = 0
    ) -> Upload:
        """Adds a part; of one that is cut off, all that has come is kept.

        Raises:
            NotFound: it is not ``key``'s, or not in this process's DATA_DIR.
            WrongOffset: the part begins elsewhere.
            AudioTooLarge: it is longer than what is left.
            UploadBusy: another request goes on with it, or has begun to.
            UploadStalled: nothing has come for too long.
            StorageFull: there is no room.
        """
        async with self._alone(key, upload_id) as hand:
            upload = await self._store.call(self._store.upload, upload_id, key)
            if offset != upload.received_bytes:
                raise WrongOffset(f"The upload goes on at byte {upload.received_bytes}, not at {offset}.")
            _check_length(upload, announced_bytes)
            await self._check_room(key, announced_bytes, 0)
            file = await self._store.call(self._open, upload)
            try:
                return await self._receive(upload, hand.received(chunks), file)
            finally:
                file.close()

    async def forget(self, key: str, upload_id: str) -> None:
        """Deletes an upload.

        Raises:
            NotFound: it is not ``key``'s.
        """
        async with self._alone(key, upload_id):
            await self._store.call(self._store.forget_upload, upload_id)
            await self.discard([upload_id])

    async def complete(self, key: str, upload_id: str) -> tuple[Upload, FileIO]:
        """Returns an upload that has come to its end, and its file, which is for the caller to close.

        Raises:
            NotFound: it is not ``key``'s, or not in this process's DATA_DIR.
            UploadUnfinished: more is to come.
        """
        upload = await self._store.call(self._store.upload, upload_id, key)
        if upload.received_bytes < upload.total_bytes:
            told = f"{upload.received_bytes} of {upload.total_bytes} bytes"
            raise UploadUnfinished(f"The upload is not finished: {told} have come.", param="upload")
        return upload, await self._store.call(self._open, upload)

    async def discard(self, upload_ids: Sequence[str]) -> None:
        """Deletes the files of uploads that are forgotten."""
        await self._store.call(self._unlink, upload_ids)

    async def tidy(self) -> None:
        """Deletes what has not gone on for too long, and files that nobody knows."""
        await self._store.call(self._tidy)

    async def _receive(self, upload: Upload, chunks: AsyncGenerator[bytes, None], file: FileIO) -> Upload:
        unwritten = bytearray()
        due = time.monotonic() + _WRITE_S
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    _check_length(upload, len(unwritten) + len(chunk))
                    unwritten += chunk
                    if len(unwritten) >= _WRITE_BYTES or time.monotonic() >= due:
                        data, unwritten = unwritten, bytearray()
                        upload = await self._store.call(self._write, file, upload, data)
                        due = time.monotonic() + _WRITE_S
        finally:
            if unwritten:
                upload = await self._store.call(self._write, file, upload, unwritten)
        return upload

    def _open(self, upload: Upload) -> FileIO:
        path = self._directory / upload.id
        try:
            with full_disk_told():
                if not upload.received_bytes:
                    path.touch(mode=0o600)
                    sync_directory(str(self._directory))
                file = FileIO(str(path), "r+")
        except FileNotFoundError:
            raise NotFound(NO_SUCH_UPLOAD, param="upload") from None
        try:
            if os.fstat(file.fileno()).st_size < upload.received_bytes:
                raise NotFound(NO_SUCH_UPLOAD, param="upload")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # other processes may have this directory, too
        except BlockingIOError:
            file.close()
            raise UploadBusy("Another request goes on with this upload.") from None
        except BaseException:
            file.close()
            raise
        return file

    def _write(self, file: FileIO, upload: Upload, data: bytearray) -> Upload:
        with full_disk_told():
            file.seek(upload.received_bytes)
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        advanced = self._store.advance_upload(upload, len(data), time.time() + self._keep_s)
        if advanced is None:
            raise UploadBusy("Another request goes on with this upload, or has deleted it.")
        return advanced

    def _unlink(self, upload_ids: Sequence[str]) -> None:
        for upload_id in upload_ids:
            (self._directory / upload_id).unlink(missing_ok=True)

    def _tidy(self) -> None:
        files = os.listdir(self._directory)  # before the uploads are asked for, which are known before their files are
        known = self._store.tidy_uploads()
        self._unlink([name for name in files if name not in known])

    @asynccontextmanager
    async def _alone(self, key: str, upload_id: str) -> AsyncIterator[_Hand]:
        """Ends the request that goes on with an upload, if there is one, and keeps it from others in this process."""
        await self._store.call(self._store.upload, upload_id, key)  # nobody ends what is not theirs
        while other := self._hands.get(upload_id):
            other.interrupt()
            try:
                await asyncio.wait_for(other.released.wait(), _YIELD_S)
            except asyncio.TimeoutError:
                raise UploadBusy("Another request goes on with this upload.") from None
        hand = self._hands[upload_id] = _Hand()
        try:
            yield hand
        finally:
            del self._hands[upload_id]
            hand.released.set()


class _Hand:
    """Holds an upload for a request, until another wants it."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self._wanted = asyncio.Event()

    def interrupt(self) -> None:
        self._wanted.set()

    async def received(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Passes on what comes.

        Raises:
            UploadBusy: another request wants the upload.
            UploadStalled: nothing has come for too long.
        """
        wanted = asyncio.ensure_future(self._wanted.wait())
        try:
            while True:
                coming = asyncio.ensure_future(anext(chunks, None))
                try:
                    await asyncio.wait({coming, wanted}, timeout=_MOST_IDLE_S, return_when=asyncio.FIRST_COMPLETED)
                    if wanted.done():
                        raise UploadBusy("Another request goes on with this upload.")
                    if not coming.done():
                        raise UploadStalled(f"Nothing of the upload has come for {_MOST_IDLE_S:g} s.")
                except BaseException:
                    coming.cancel()
                    await asyncio.gather(coming, return_exceptions=True)
                    raise
                chunk = coming.result()
                if chunk is None:
                    return
                yield chunk
        finally:
            wanted.cancel()


def _check_length(upload: Upload, more_bytes: int) -> None:
    if upload.received_bytes + more_bytes > upload.total_bytes:
        raise AudioTooLarge(f"More is sent than the {upload.total_bytes} bytes that were announced.")
