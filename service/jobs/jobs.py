"""Takes jobs on, runs them and answers for them: what protocols see of them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import IO, Any

from filelock import FileLock, Timeout

from service import observability
from service.audio.recording import Recording
from service.domain import AudioSource, Requester, Segment, Transcript, Urgency
from service.errors import InvalidRequest, ModelNotFound, NotFound, NotReady, QueueFull, RecognitionFailed, ServiceError
from service.failures import failure_of
from service.intake.fetch import fetch_audio, post
from service.jobs.channels import in_order, together
from service.jobs.checkpoint import Checkpoint
from service.jobs.job import (
    Event,
    Failure,
    Job,
    JobRequest,
    segment_from_json,
    segment_to_json,
    transcript_from_json,
    transcript_to_json,
)
from service.jobs.queue import JobQueue
from service.jobs.storage import Storage
from service.jobs.store import Claim, Counts, LostJob, NewJob, Store
from service.jobs.uploads import Uploads
from service.jobs.webhooks import PAUSES_S, signed_headers
from service.observability import request_id
from service.recordings.transcribe import Transcriber, Transcription
from service.settings import Settings

log = logging.getLogger(__name__)

_LOOK_S = 1.0  # how often a run looks whether it may go on, and writes down how far it has come
_MOST_ATTEMPTS = 2  # that end with the process and without progress
_AWAY_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 15.0)
_RELAUNCH_S = 5.0
_TIDY_S = 60.0
_BEAT_S = 5.0
_DEAD_S = 20.0  # a worker that has not been heard of for so long is dead
_EVENTS_S = 0.5
_QUEUE_FULL_RETRY_S = 60
_LINK_S = 24 * 3600

# What a callback is told of a job's end.
Describe = Callable[["Jobs", Job], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Arrived:
    """Holds what a request for one job brings: what is to be done, and the recording, unless it has an address.

    ``upload`` is the id of the one that has brought it instead.
    """

    request: JobRequest
    file: IO[bytes] | None = None
    upload: str = ""


class Jobs:
    """Takes jobs on and runs them, from ``start`` to ``stop``, in one process's event loop.

    Every method raises NotReady while the database doesn't answer.
    """

    def __init__(self, settings: Settings, transcriber: Callable[[], Transcriber], describe: Describe) -> None:
        """``transcriber`` raises NotReady while there are no models; ``describe`` makes the body of callbacks."""
        self._settings = settings
        self._transcriber = transcriber
        self._describe = describe
        self._store = Store(settings.jobs_database)
        self._storage = Storage(settings.data_path, settings.worker, settings.storage_url)
        self._uploads = Uploads(settings, self._store, self.check_room)
        self._lock = FileLock(settings.data_path / f"{settings.worker}.lock", thread_local=False)
        self._queue = JobQueue(
            settings.queue_database, settings.worker, settings.jobs_concurrency, takes_jobs=settings.role != "api"
        )
        self._ready = False
        self._stopping = False
        self._background: list[asyncio.Task[None]] = []
        self._running: dict[str, asyncio.Task[None]] = {}
        self._unqueued: dict[str, Job] = {}
        # Of jobs that a process died over, one at a time is tried again, so that the innocent get on.
        self._suspects = asyncio.Lock()
        self._link_secret = ""

    async def start(self) -> None:
        """Begins in the background: whatever the database does, the rest of the service serves."""
        self._background = [asyncio.create_task(self._launch())]

    async def stop(self) -> None:
        """Stops all runs; what they have in hand is taken up again at the next start."""
        self._stopping = True
        for task in [*self._background, *self._running.values()]:
            task.cancel()
        await asyncio.gather(*self._background, *self._running.values(), return_exceptions=True)
        if self._ready:
            await asyncio.to_thread(self._queue.stop)
        await asyncio.to_thread(self._store.close)
        self._lock.release(force=True)

    async def _launch(self) -> None:
        loop = asyncio.get_running_loop()
        said = ""
        while True:
            try:
                await self._store.call(self._take_directory)
                await self._store.call(self._store.set_up)
                self._link_secret = await self._store.call(self._store.secret, "links")
                await asyncio.to_thread(self._queue.launch, loop, self._work, self._call_back)
                break
            except Timeout:
                trouble = f"another process of this name works in {self._settings.data_path}"
            except (ServiceError, OSError) as error:
                trouble = str(error)
            except Exception as error:
                trouble = f"{type(error).__name__}: {error}"
            if trouble != said:
                log.error("jobs can't be taken yet: %s", trouble)
            said = trouble
            await asyncio.sleep(_RELAUNCH_S)
        waiting = await self._store.call(self._store.waiting)
        for job in waiting:
            await self._enqueue(job)
        self._ready = True
        kept_in, kept_h = self._settings.data_path, self._settings.jobs_keep_hours
        log.info("jobs are kept in %s, for %g h when they are finished; resumed: %d", kept_in, kept_h, len(waiting))
        self._background += [asyncio.create_task(self._tidy()), asyncio.create_task(self._beat())]

    def _take_directory(self) -> None:
        """Makes sure that no other process takes this one's jobs for those of one that has died."""
        self._settings.data_path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock.acquire(timeout=0)
        self._storage.set_up()
        self._uploads.set_up()

    def check(self) -> None:
        """Checks that jobs can be taken.

        Raises:
            NotReady: they can't be yet.
        """
        if not self._ready:
            raise NotReady("Jobs can't be taken yet; try again shortly.", retry_after_s=5)

    @property
    def uploads(self) -> Uploads:
        """Returns the uploads that jobs may take.

        Raises:
            NotReady: jobs can't be taken yet.
        """
        self.check()
        return self._uploads

    async def check_room(self, key: str, announced_bytes: int = 0, count: int = 1) -> None:
        """Checks that ``count`` more jobs have room, before anything of them is read.

        Raises:
            NotReady: jobs can't be taken yet.
            QueueFull: as many wait as may.
            StorageFull: their recordings have no room.
        """
        self.check()
        counts = await self.counts()
        if counts.by_status.get("queued", 0) + count > self._settings.jobs_max_queued:
            most = self._settings.jobs_max_queued
            raise QueueFull(f"There are {most} jobs waiting already.", retry_after_s=_QUEUE_FULL_RETRY_S)
        await self._store.call(
            self._storage.check_room, announced_bytes, counts.stored_bytes, self._settings.jobs_max_storage
        )

    @contextmanager
    def arriving(self) -> Any:
        """Makes a file for a recording that is still coming; see ``Storage.arriving``."""
        self.check()
        with self._storage.arriving() as file:
            yield file

    async def submit(
        self, key: str, arrived: Sequence[Arrived], *, idempotency: tuple[str, str] | None = None, is_task: bool = False
    ) -> list[Job]:
        """Accepts jobs, all or none: what returns survives whatever happens to this process.

        Raises:
            UndecodableAudio, InvalidRequest: a recording is none.
            QueueFull, StorageFull: there is no room.
            IdempotencyConflict: the key came with another request before.
            NotFound, UploadUnfinished: an upload is not there, or not yet.
        """
        if idempotency is not None and (known := await self._store.call(self._store.accepted_with, key, *idempotency)):
            return known
        await self.check_room(key, count=len(arrived))
        task = f"task_{uuid.uuid4().hex}" if is_task else ""
        new = []
        try:
            for one in arrived:
                job_id = f"job_{uuid.uuid4().hex}"
                with ExitStack() as files:
                    request, file = one.request, one.file
                    if one.upload:
                        upload, file = await self._uploads.complete(key, one.upload)
                        files.callback(file.close)
                        request = replace(request, audio_name=upload.name)
                    size, duration_s = 0, None
                    if file is not None:
                        duration_s = await _announced_s(_source(request, file.name))
                        size = await self._store.call(self._storage.keep, job_id, file)
                new.append(NewJob(job_id, key, request, size, duration_s, task, one.upload))
            jobs = await self._store.call(self._store.add, new, idempotency)
        except BaseException:
            await self._forget_audio([one.id for one in new])
            raise
        await self._uploads.discard([one.upload for one in arrived if one.upload])
        accepted = {job.id for job in jobs}
        await self._forget_audio([one.id for one in new if one.id not in accepted])
        for job in jobs:
            if job.status == "queued":
                await self._enqueue(job)
        return jobs

    async def find(self, key: str, job_id: str) -> Job:
        """Returns a job of ``key``'s.

        Raises:
            NotFound: there is none.
        """
        return await self._store.call(self._store.get, job_id, key)

    async def task(self, key: str, task: str) -> list[Job]:
        """Returns the jobs of a task, or the job of that id; several were submitted in one request.

        Raises:
            NotFound: there is none.
        """
        jobs = await self._store.call(self._store.of_task, task, key) if task.startswith("task_") else []
        return jobs or [await self.find(key, task)]

    async def page(self, key: str, **wanted: Any) -> list[Job]:
        """Returns a page of ``key``'s jobs; see ``Store.page``."""
        return await self._store.call(self._store.page, key, **wanted)

    async def tasks(self, key: str, **wanted: Any) -> tuple[int, list[list[Job]]]:
        """Returns a page of ``key``'s tasks; see ``Store.tasks``."""
        return await self._store.call(self._store.tasks, key, **wanted)

    async def position(self, job: Job) -> int:
        """Counts the jobs before a queued one, itself included."""
        return await self._store.call(self._store.position, job)

    async def counts(self) -> Counts:
        """Counts all jobs."""
        return await self._store.call(self._store.counts)

    async def cancel(self, key: str, job_id: str) -> Job:
        """Cancels a job, if it is not finished."""
        job = await self.find(key, job_id)
        if await self._store.call(
            self._store.finish, job_id, None, "cancelled", keep_s=3600 * self._settings.jobs_keep_hours
        ):
            self._interrupt(job_id)
        return await self.find(key, job.id)

    async def forget(self, key: str, job_id: str) -> None:
        """Cancels a job and deletes all that is kept of it."""
        await self.find(key, job_id)
        await self._forget([job_id])

    async def transcript(self, job: Job, *, original: bool = False) -> Transcript:
        """Returns what a job has transcribed, so far if it isn't completed."""
        text = await self._store.call(self._store.transcript, job.id, original=original)
        if text is not None:
            transcript = await asyncio.to_thread(transcript_from_json, text)
            return replace(transcript, warnings=(*transcript.warnings, *job.request.warnings))
        segments = in_order(map(segment_from_json, await self._store.call(self._store.segments, job.id)))
        options = job.request.options
        language = options.language or options.model.languages[0]
        return Transcript(job.duration_s or 0.0, language, options.model.id, segments, job.request.warnings)

    async def correct(self, job: Job, change: Callable[[Transcript], Transcript]) -> None:
        """Puts a corrected transcript in the place of a completed job's; ``change`` is called in a thread.

        Raises:
            InvalidRequest: it is not completed.
        """
        if job.status != "completed":
            raise InvalidRequest("Only the transcript of a completed job can be corrected.")
        await self._store.call(
            self._store.correct, job.id, lambda text: transcript_to_json(change(transcript_from_json(text)))
        )

    async def events(self, job: Job, after: int = 0) -> AsyncIterator[Event]:
        """Yields what happens to a job, from the event after that number to its end."""
        while True:
            events = await self._store.call(self._store.events, job.id, after)
            for event in events:
                after = event.number
                yield event
            if not events:
                if job.is_finished:
                    return
                await asyncio.sleep(_EVENTS_S)
            job = await self._store.call(self._store.get, job.id)

    async def last_event(self, job: Job) -> int:
        """Returns the number of a job's last event so far."""
        return await self._store.call(self._store.last_event, job.id)

    def audio(self, job: Job) -> Any:
        """Opens a job's recording; blocks.

        Raises:
            NotFound: it is not kept.
        """
        try:
            return self._storage.open(job.id)
        except FileNotFoundError:
            raise NotFound("The recording of this job is not kept.") from None

    def link(self, job: Job) -> str:
        """Returns what opens a job's result without a key, for a while."""
        expires_at = int(time.time()) + _LINK_S
        return f"{job.id}.{expires_at}.{self._link_signature(job.id, expires_at)}"

    async def linked(self, link: str) -> Job:
        """Returns the job whose result a link opens.

        Raises:
            NotFound: it opens none, or no longer.
        """
        job_id, _, rest = link.partition(".")
        expires_at, _, signature = rest.partition(".")
        self.check()
        fitting = expires_at.isascii() and expires_at.isdigit() and len(expires_at) < 20
        if (
            not fitting
            or not hmac.compare_digest(signature.encode(), self._link_signature(job_id, int(expires_at)).encode())
            or time.time() > int(expires_at)
        ):
            raise NotFound("This link opens nothing, or no longer.")
        return await self._store.call(self._store.get, job_id)

    async def vocabularies(self, key: str) -> dict[str, str]:
        """Returns ``key``'s hotword lists as they were written, by id."""
        return await self._store.call(self._store.vocabularies, key)

    async def vocabulary(self, key: str, vocabulary_id: str) -> str | None:
        """Returns one of ``key``'s hotword lists as it was written; None where there is none of that id."""
        return await self._store.call(self._store.vocabulary, key, vocabulary_id)

    async def put_vocabulary(self, key: str, vocabulary_id: str, data: str) -> None:
        """Writes a hotword list down, in place of one with its id."""
        await self._store.call(self._store.put_vocabulary, key, vocabulary_id, data)

    async def delete_vocabulary(self, key: str, vocabulary_id: str) -> bool:
        """Deletes a hotword list; returns whether there was one."""
        return await self._store.call(self._store.delete_vocabulary, key, vocabulary_id)

    def _link_signature(self, job_id: str, expires_at: int) -> str:
        signed = hmac.new(self._link_secret.encode(), f"{job_id}.{expires_at}".encode(), hashlib.sha256)
        return signed.hexdigest()

    async def _enqueue(self, job: Job) -> None:
        try:
            await asyncio.wait_for(
                self._store.call(self._queue.enqueue, job.id, job.key, interactive=job.request.interactive), 10
            )
            self._unqueued.pop(job.id, None)
        except Exception as error:  # it is accepted: `_tidy` queues it later
            log.warning("a job can't be queued yet: %s", error)
            self._unqueued[job.id] = job

    async def _tidy(self) -> None:
        """Deletes what has been kept long enough, and queues what could not be."""
        while True:
            try:
                for job in list(self._unqueued.values()):
                    await self._enqueue(job)
                await self._uploads.tidy()
                if expired := await self._store.call(self._store.expired):
                    await self._forget(expired)
                    log.info("deleted %d jobs that were kept long enough", len(expired))
            except Exception as error:
                log.warning("jobs can't be tidied up at the moment: %s", error)
            await asyncio.sleep(5 if self._unqueued else _TIDY_S)

    async def _beat(self) -> None:
        """Says that this worker is alive, takes up what dead ones had in hand, and counts for the metrics.

        Who is dead is judged by this process's own clock alone. A worker that was only cut off loses its jobs to
        another's hands, and notices.
        """
        heard: dict[str, tuple[int, float]] = {}
        while True:
            try:
                beats = await self._store.call(self._store.beat, self._settings.worker)
                heard = {
                    worker: heard[worker] if worker in heard and heard[worker][0] == beat else (beat, time.monotonic())
                    for worker, beat in beats.items()
                }
                for worker, (beat, heard_at) in heard.items():
                    if time.monotonic() - heard_at > _DEAD_S and self._settings.role != "api":
                        log.warning("worker %s is not heard of any more: its jobs are taken over", worker)
                        await self._store.call(self._queue.take_over, [worker])
                        await self._store.call(self._store.bury, worker, beat)
                counts = await self.counts()
                observability.show_jobs(
                    counts.by_status,
                    queued_s=counts.queued_s,
                    oldest_s=counts.oldest_s,
                    stored_bytes=counts.stored_bytes,
                )
            except Exception as error:
                log.warning("workers can't hear of each other at the moment: %s", error)
            await asyncio.sleep(_BEAT_S)

    async def _forget(self, job_ids: Sequence[str]) -> None:
        await self._store.call(self._store.forget, job_ids)
        for job_id in job_ids:
            self._interrupt(job_id)
        await self._forget_audio(job_ids)
        with suppress(Exception):  # it holds nothing but names
            await self._store.call(self._queue.forget, job_ids, len(PAUSES_S))

    async def _forget_audio(self, job_ids: Sequence[str]) -> None:
        for job_id in job_ids:
            await self._store.call(self._storage.forget, job_id)

    def _interrupt(self, job_id: str) -> None:
        if job_id in self._running:
            self._running[job_id].cancel()

    async def _work(self, job_id: str) -> None:
        """Does a job to its end; raises only where this process stops."""
        request_id.set(job_id)
        run = uuid.uuid4().hex
        task = asyncio.current_task()
        assert task is not None
        self._running[job_id] = task
        try:
            for pause_s in (*_AWAY_PAUSES_S, *(_AWAY_PAUSES_S[-1:] * 240)):
                try:
                    claim = await self._store.call(self._store.claim, job_id, run)
                    if claim is None:
                        return
                    await self._attempt(claim, run)
                    return
                except LostJob:
                    return
                except NotReady as error:  # models or the database are away: what is recognised is kept
                    log.warning("a job waits: %s", error.message)
                await self._pause(job_id, run, pause_s)
            raise RecognitionFailed("The models or the jobs' database were away for too long.")
        except asyncio.CancelledError:
            if self._stopping:
                with suppress(Exception):
                    await asyncio.shield(self._store.call(self._store.let_go, job_id, run))
                raise
            task.uncancel() if hasattr(task, "uncancel") else None
        except Exception as error:
            await self._end(job_id, run, "failed", failure=Failure.of(failure_of(error)))
        finally:
            del self._running[job_id]

    async def _pause(self, job_id: str, run: str, pause_s: float) -> None:
        with suppress(NotReady):
            await self._store.call(self._store.let_go, job_id, run)
        await asyncio.sleep(pause_s)

    async def _attempt(self, claim: Claim, run: str) -> None:
        if claim.attempts == 1:
            await self._transcribe(claim, run)
            return
        async with self._suspects:
            if claim.attempts > _MOST_ATTEMPTS:
                raise RecognitionFailed("The service has ended twice over this recording; it is not tried again.")
            await self._transcribe(claim, run)

    async def _transcribe(self, claim: Claim, run: str) -> None:
        job = claim.job
        model = job.request.options.model.id
        if model not in self._settings.enabled_models:
            raise ModelNotFound(f"{model} is not loaded any more.")
        if not job.audio_bytes:
            await self._fetch(job, run)
        local = self._storage.local(job.id)
        path = await self._store.call(local.__enter__)
        try:
            source = _source(job.request, path)
            recording = Recording(source)
            try:
                likely_s = await recording.estimate_s()
                count = await recording.channels()
                channels = _channels(job.request, count)
                recordings = [recording]
                if count > 1 and channels != [None]:
                    await recording.close()  # each channel opens the file in its turn
                    recordings = [Recording(replace(source, channel=channel)) for channel in channels]
                checkpoint = Checkpoint(claim.checkpoints)
                start, requester = self._transcriber().start, Requester(Urgency.JOB, job.key)
                transcriptions = [
                    start(each, job.request.options, memory=checkpoint.channel(position), requester=requester)
                    for position, each in enumerate(recordings)
                ]
                writer = _Writer(self._store, job, run, checkpoint, channels, transcriptions, likely_s)
                await writer.follow()
            finally:
                await recording.close()
        finally:
            await self._store.call(local.__exit__, None, None, None)
        transcript = writer.transcript
        text = await asyncio.to_thread(transcript_to_json, transcript)
        await self._end(job.id, run, "completed", transcript=text, duration_s=transcript.duration_s)

    async def _fetch(self, job: Job, run: str) -> None:
        settings = self._settings
        counts = await self.counts()
        with self._storage.arriving() as file:
            await fetch_audio(
                job.request.audio_address,
                file,
                max_bytes=min(settings.max_audio_size, max(1, settings.jobs_max_storage - counts.stored_bytes)),
                allow_private=settings.allow_private_audio_urls,
                timeout_s=settings.audio_url_timeout_sec,
            )
            await self._store.call(file.flush)
            await _announced_s(_source(job.request, file.name))
            size = await self._store.call(self._storage.keep, job.id, file)
        try:
            await self._store.call(self._store.keep, job.id, run, audio_bytes=size)
        except LostJob:
            await self._forget_audio([job.id])
            raise

    async def _end(self, job_id: str, run: str, status: Any, **how: Any) -> None:
        keep_s = 3600 * self._settings.jobs_keep_hours
        for pause_s in _AWAY_PAUSES_S * 50:
            try:
                await self._store.call(self._store.finish, job_id, run, status, keep_s=keep_s, **how)
                job = await self._store.call(self._store.get, job_id)
                break
            except LostJob:
                return
            except NotReady:
                await asyncio.sleep(pause_s)
        else:
            return
        if job.request.callback_url:
            await self._store.call(self._queue.enqueue_callback, job_id, 0, PAUSES_S[0])
        observability.jobs_finished.labels(status).inc()
        log.info("%s: %s", job_id, status)

    async def _call_back(self, job_id: str, attempt: int) -> None:
        """Tells a job's end, once; if nobody takes it, another attempt is queued."""
        request_id.set(job_id)
        try:
            job = await self._store.call(self._store.get, job_id)
        except NotFound:
            return
        body = json.dumps(await self._describe(self, job), ensure_ascii=False).encode()
        secret = self._settings.webhook_secret.get_secret_value()
        try:
            await post(
                job.request.callback_url,
                body,
                signed_headers(secret, f"{job_id}", body),
                allow_private=self._settings.allow_private_audio_urls,
            )
        except ServiceError as error:
            log.warning("the end of %s was not taken, attempt %d: %s", job_id, attempt + 1, error.message)
            if attempt + 1 < len(PAUSES_S):
                pause_s = PAUSES_S[attempt + 1]
                await self._store.call(self._queue.enqueue_callback, job_id, attempt + 1, pause_s)


class _Writer:
    """Writes down how a transcription gets on, while it does."""

    def __init__(
        self,
        store: Store,
        job: Job,
        run: str,
        checkpoint: Checkpoint,
        channels: Sequence[int | None],
        transcriptions: Sequence[Transcription],
        likely_s: float,
    ) -> None:
        """``transcriptions`` are those of ``channels``, which take turns."""
        self._store = store
        self._job = job
        self._run = run
        self._checkpoint = checkpoint
        self._channels = channels
        self._transcriptions = transcriptions
        self._likely_s = max(likely_s, 0.1)
        self._told = job.segments  # segments that an earlier run has told come again, and are the same
        self._segments: list[Segment] = []

    @property
    def transcript(self) -> Transcript:
        """Returns what has been transcribed; all of it at the end."""
        return together(
            [
                replace(each, segments=tuple(replace(segment, channel=channel) for segment in each.segments))
                for channel, each in zip(self._channels, (t.transcript for t in self._transcriptions), strict=True)
            ]
        )

    async def follow(self) -> None:
        """Iterates the transcriptions to their end.

        Raises:
            LostJob: the job is no longer this run's.
        """
        iterating = asyncio.create_task(self._iterate())
        try:
            while not iterating.done():
                due = asyncio.create_task(self._checkpoint.due.wait())
                await asyncio.wait({iterating, due}, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                due.cancel()
                await self._write()
            await iterating
            await self._write()
        finally:
            iterating.cancel()
            await asyncio.gather(iterating, return_exceptions=True)

    async def _iterate(self) -> None:
        for channel, transcription in zip(self._channels, self._transcriptions, strict=True):
            async for told in transcription:
                if isinstance(told, Segment):
                    self._segments.append(replace(told, index=len(self._segments), channel=channel))

    async def _write(self) -> None:
        new = self._segments[self._told :]
        data = self._checkpoint.take()
        recognised_s = [transcription.recognised_s for transcription in self._transcriptions]
        likely_s = max(self._likely_s, *recognised_s) * len(recognised_s)
        progress = round(min(0.999, sum(recognised_s) / likely_s), 3)
        await self._store.call(
            self._store.keep,
            self._job.id,
            self._run,
            checkpoint=data,
            segments=[segment_to_json(segment) for segment in new],
            progress=progress,
            cpu_s=self._checkpoint.taken_cpu_s,
        )
        self._told += len(new)
        await self._checkpoint.is_written()


def _source(request: JobRequest, path: str) -> AudioSource:
    return AudioSource(path, request.raw, request.audio_track, request.audio_name)


def _channels(request: JobRequest, count: int) -> list[int | None]:
    """Returns the channels of so many that are to be heard; None: all of them, mixed.

    Raises:
        InvalidRequest: there is one less.
    """
    if missing := [channel for channel in request.channels if channel >= count]:
        raise InvalidRequest(
            f"The recording has {count} channels, counted from 0: there is no channel {missing[0]}.", param="channel_id"
        )
    return [*request.channels] or [None]


async def _announced_s(source: AudioSource) -> float:
    """Returns how long a recording is likely to be.

    Raises:
        UndecodableAudio, InvalidRequest: it is none.
    """
    recording = Recording(source)
    try:
        return await recording.estimate_s()
    finally:
        await recording.close()
