"""Keeps jobs in a database: SQLite on this machine, or PostgreSQL where several work on them.

Everything here blocks and is called in threads (``Store.call``). What belongs together is one transaction, so that
whoever dies in the middle leaves nothing half told.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from service.errors import NotFound, NotReady, ServiceError
from service.jobs.job import FINISHED, Event, Failure, Job, JobRequest, Status

T = TypeVar("T")

log = logging.getLogger(__name__)

_THREADS = 8
_CONNECT_TIMEOUT_S = 5
_BUSY_TIMEOUT_MS = 10_000
_AWAY_RETRY_S = 5

_tables = sa.MetaData()
_jobs = sa.Table(
    "asr_jobs",
    _tables,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("task", sa.String(64), nullable=False),
    sa.Column("status", sa.String(16), nullable=False, index=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("label", sa.String(800), nullable=False),
    sa.Column("interactive", sa.Boolean, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("started_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    sa.Column("expires_at", sa.Double),
    sa.Column("audio_bytes", sa.BigInteger, nullable=False),
    sa.Column("duration_s", sa.Double),
    sa.Column("progress", sa.Double, nullable=False),
    sa.Column("segments", sa.Integer, nullable=False),
    sa.Column("events", sa.Integer, nullable=False),
    sa.Column("cpu_s", sa.Double, nullable=False),
    sa.Column("failure", sa.Text),
    # Whose hands it is in, and how often it was taken up since it last got on.
    sa.Column("run", sa.String(64), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Index("asr_jobs_of_key", "key", "number"),
    sqlite_autoincrement=True,
)
_owned = {"ondelete": "CASCADE"}
_events = sa.Table(
    "asr_job_events",
    _tables,
    sa.Column("job", sa.ForeignKey("asr_jobs.id", **_owned), primary_key=True),  # type: ignore[arg-type]
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("data", sa.Text, nullable=False),
)
_checkpoints = sa.Table(
    "asr_job_checkpoints",
    _tables,
    sa.Column("job", sa.ForeignKey("asr_jobs.id", **_owned), primary_key=True),  # type: ignore[arg-type]
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
_transcripts = sa.Table(
    "asr_job_transcripts",
    _tables,
    sa.Column("job", sa.ForeignKey("asr_jobs.id", **_owned), primary_key=True),  # type: ignore[arg-type]
    sa.Column("original", sa.Text, nullable=False),
    sa.Column("corrected", sa.Text),
)
_idempotency = sa.Table(
    "asr_job_idempotency",
    _tables,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("idempotency_key", sa.String(300), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("job", sa.ForeignKey("asr_jobs.id", **_owned), nullable=False),  # type: ignore[arg-type]
)
_vocabularies = sa.Table(
    "asr_vocabularies",
    _tables,
    sa.Column("id", sa.String(100), primary_key=True),
    sa.Column("key", sa.String(64), nullable=False, index=True),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
)
_workers = sa.Table(
    "asr_workers",
    _tables,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("beat", sa.BigInteger, nullable=False),
)
_uploads = sa.Table(
    "asr_uploads",
    _tables,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("total_bytes", sa.BigInteger, nullable=False),
    sa.Column("received_bytes", sa.BigInteger, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("metadata", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False, index=True),
)
_secrets = sa.Table(
    "asr_secrets",
    _tables,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.String(200), nullable=False),
)


NO_SUCH_UPLOAD = "There is no such upload, or no longer: a job has taken it, or it was not gone on with for too long."


class LostJob(Exception):
    """A job is no longer in this run's hands: cancelled, forgotten, or taken up by another worker."""


class IdempotencyConflict(ServiceError):
    """An idempotency key comes again with another request."""

    status = 409
    code = "idempotency_conflict"


@dataclass(frozen=True, slots=True)
class NewJob:
    """Holds what is known of a job before it is accepted; ``upload`` is the id of the one that it takes, if any."""

    id: str
    key: str
    request: JobRequest
    audio_bytes: int = 0
    duration_s: float | None = None
    task: str = ""
    upload: str = ""


@dataclass(frozen=True, slots=True)
class Upload:
    """Describes an upload that no job has taken yet.

    Attributes:
        id: ``upload_`` and 32 hexadecimal digits.
        key: Whose it is: the identity of an API key.
        total_bytes: How large it will be.
        received_bytes: How much of it is on the disk.
        name: What the client calls the file; "" where it doesn't say.
        metadata: What the client says of it, as it says it.
        expires_at: When it is deleted, unless it goes on, in seconds of the epoch.
    """

    id: str
    key: str
    total_bytes: int
    received_bytes: int
    name: str
    metadata: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Claim:
    """Says how a run takes up a job.

    Attributes:
        job: The job, which is running now.
        attempts: How often it has been taken up without getting on since, this time included.
        checkpoints: What earlier runs had recognised.
        segments: How many segments they have told.
    """

    job: Job
    attempts: int
    checkpoints: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts jobs for operators.

    Attributes:
        by_status: How many there are of each status.
        queued_s: Seconds of audio that wait, as far as their length is known.
        oldest_s: How long the oldest queued job has waited.
        stored_bytes: What kept recordings and uploads take.
        uploads: How many uploads there are.
    """

    by_status: Mapping[str, int]
    queued_s: float
    oldest_s: float
    stored_bytes: int
    uploads: int


class Store:
    """Reads and writes jobs."""

    def __init__(self, url: str) -> None:
        """Connects to nothing yet; ``url`` is SQLAlchemy's."""
        if url.startswith("sqlite"):
            self._engine = sa.create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000})
            sa.event.listen(self._engine, "connect", _set_up_sqlite)
        else:
            self._engine = sa.create_engine(
                url,
                connect_args={"connect_timeout": _CONNECT_TIMEOUT_S},
                pool_pre_ping=True,
                pool_size=_THREADS,
                pool_timeout=_CONNECT_TIMEOUT_S,
            )
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="jobs")

    async def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Calls one of the methods below in a thread.

        Raises:
            NotReady: the database doesn't answer.
        """

        def called() -> T:
            return function(*args, **kwargs)

        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, contextvars.copy_context().run, called
            )
        except (DBAPIError, sa.exc.TimeoutError) as error:
            log.warning("the jobs' database does not answer: %s", str(error).splitlines()[0])
            raise NotReady(
                "Jobs can't be reached at the moment; try again shortly.", retry_after_s=_AWAY_RETRY_S
            ) from (error)

    def set_up(self) -> None:
        """Makes the tables that are missing."""
        _tables.create_all(self._engine)

    def close(self) -> None:
        """Closes all connections."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._engine.dispose()

    def secret(self, name: str) -> str:
        """Returns a secret that all processes of this database share, made when it is first asked for."""
        try:
            with self._engine.begin() as db:
                db.execute(sa.insert(_secrets).values(name=name, value=secrets.token_urlsafe(32)))
        except IntegrityError:
            pass
        with self._engine.begin() as db:
            value: str = db.execute(sa.select(_secrets.c.value).where(_secrets.c.name == name)).scalar_one()
        return value

    def add(self, new: Sequence[NewJob], idempotency: tuple[str, str] | None = None) -> list[Job]:
        """Accepts jobs, all or none; ``idempotency``: the client's key, and a digest of what was asked with it.

        What was accepted with the same key is returned in its place.

        Raises:
            IdempotencyConflict: the key came with another request before.
            NotFound: an upload that a job is to take is not there any more.
        """
        try:
            with self._engine.begin() as db:
                for one in new:
                    if one.upload and not db.execute(sa.delete(_uploads).where(_uploads.c.id == one.upload)).rowcount:
                        raise NotFound(NO_SUCH_UPLOAD, param="upload")
                    db.execute(sa.insert(_jobs).values(**_row_of(one)))
                    _tell(db, one.id, [("status", json.dumps({"status": "queued"}))])
                if idempotency is not None:
                    name, digest = idempotency
                    row = {"key": new[0].key, "idempotency_key": name, "digest": digest, "job": new[0].id}
                    db.execute(sa.insert(_idempotency).values(**row))
        except (IntegrityError, NotFound):  # the same request came before
            if idempotency is None or not (known := self.accepted_with(new[0].key, *idempotency)):
                raise
            return known
        return [self.get(one.id) for one in new]

    def accepted_with(self, key: str, name: str, digest: str) -> list[Job]:
        """Returns the jobs that were accepted with a client's idempotency key; none where it is new.

        Raises:
            IdempotencyConflict: it came with another request.
        """
        with self._engine.begin() as db:
            found = db.execute(
                sa.select(_idempotency.c.digest, _idempotency.c.job).where(
                    _idempotency.c.key == key, _idempotency.c.idempotency_key == name
                )
            ).one_or_none()
            if found is None:
                return []
            if found.digest != digest:
                raise IdempotencyConflict("This Idempotency-Key came with another request before.")
            first = db.execute(sa.select(_jobs).where(_jobs.c.id == found.job)).one()
            if not first.task:
                return [_job(first)]
            return [_job(row) for row in db.execute(_of_task(first.task))]

    def get(self, job_id: str, key: str | None = None) -> Job:
        """Returns a job, if it is ``key``'s (None: whosever it is).

        Raises:
            NotFound: there is none.
        """
        query = sa.select(_jobs).where(_jobs.c.id == job_id)
        with self._engine.begin() as db:
            row = db.execute(query if key is None else query.where(_jobs.c.key == key)).one_or_none()
        if row is None:
            raise NotFound("There is no such job.")
        return _job(row)

    def of_task(self, task: str, key: str) -> list[Job]:
        """Returns the jobs of one request, in its order; none where there is no such task of ``key``'s."""
        with self._engine.begin() as db:
            return [_job(row) for row in db.execute(_of_task(task).where(_jobs.c.key == key))]

    def page(
        self,
        key: str,
        *,
        status: Status | None = None,
        label: str | None = None,
        after: str | None = None,
        since: float | None = None,
        until: float | None = None,
        limit: int = 20,
        offset: int = 0,
    ) -> list[Job]:
        """Returns a page of ``key``'s jobs, the newest first; at most ``limit``, ``after`` the job of that id.

        Raises:
            NotFound: there is no job ``after`` which the page could begin.
        """
        query = sa.select(_jobs).where(_jobs.c.key == key)
        if status is not None:
            query = query.where(_jobs.c.status == status)
        if label is not None:
            query = query.where(_jobs.c.label == label)
        if since is not None:
            query = query.where(_jobs.c.created_at >= since)
        if until is not None:
            query = query.where(_jobs.c.created_at <= until)
        if after is not None:
            query = query.where(_jobs.c.number < self.get(after, key).number)
        with self._engine.begin() as db:
            rows = db.execute(query.order_by(_jobs.c.number.desc()).limit(limit).offset(offset))
            return [_job(row) for row in rows]

    def tasks(
        self,
        key: str,
        *,
        status: Status | None = None,
        model: str | None = None,
        since: float | None = None,
        until: float | None = None,
        limit: int,
        offset: int,
    ) -> tuple[int, list[list[Job]]]:
        """Returns how many tasks of ``key``'s there are, and the jobs of a page of them, the newest first.

        A job of its own is a task; ``status`` is that of a task, see ``task_status``.
        """
        task = sa.case((_jobs.c.task != sa.literal_column("''"), _jobs.c.task), else_=_jobs.c.id)
        query = sa.select(task.label("task"), sa.func.max(_jobs.c.number).label("last"))
        query = query.where(_jobs.c.key == key).group_by(task)
        if model is not None:
            query = query.where(_jobs.c.model == model)
        if since is not None:
            query = query.where(_jobs.c.created_at >= since)
        if until is not None:
            query = query.where(_jobs.c.created_at <= until)
        if status is not None:
            query = query.having(_all_are(status))
        with self._engine.begin() as db:
            total = db.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one()
            page = query.order_by(sa.desc("last")).limit(limit).offset(offset)
            names = [row.task for row in db.execute(page)]
            either = sa.or_(_jobs.c.task.in_(names), sa.and_(_jobs.c.task == "", _jobs.c.id.in_(names)))
            jobs = [_job(row) for row in db.execute(sa.select(_jobs).where(either).order_by(_jobs.c.number))]
        return total, [[job for job in jobs if name in (job.task, job.id)] for name in names]

    def position(self, job: Job) -> int:
        """Counts how many of its key's queued jobs come before a job, itself included."""
        earlier, hurried = _jobs.c.number <= job.number, _jobs.c.interactive.is_(True)
        goes_first = sa.and_(hurried, earlier) if job.request.interactive else sa.or_(hurried, earlier)
        with self._engine.begin() as db:
            query = sa.select(sa.func.count()).where(_jobs.c.key == job.key, _jobs.c.status == "queued", goes_first)
            return db.execute(query).scalar_one()

    def counts(self) -> Counts:
        """Counts all jobs."""
        with self._engine.begin() as db:
            query = sa.select(_jobs.c.status, sa.func.count(), sa.func.sum(_jobs.c.audio_bytes)).group_by(
                _jobs.c.status
            )
            rows = db.execute(query).all()
            queued = db.execute(
                sa.select(sa.func.sum(_jobs.c.duration_s), sa.func.min(_jobs.c.created_at)).where(
                    _jobs.c.status == "queued"
                )
            ).one()
            uploads, uploaded_bytes = db.execute(
                sa.select(sa.func.count(), sa.func.sum(_uploads.c.received_bytes)).select_from(_uploads)
            ).one()
        oldest_s = max(0.0, time.time() - queued[1]) if queued[1] is not None else 0.0
        by_status = {status: count for status, count, _ in rows}
        stored_bytes = int(sum(size or 0 for _, _, size in rows) + (uploaded_bytes or 0))
        return Counts(by_status, float(queued[0] or 0), oldest_s, stored_bytes, uploads)

    def waiting(self) -> list[Job]:
        """Returns all jobs that are not finished, the oldest first."""
        with self._engine.begin() as db:
            query = sa.select(_jobs).where(_jobs.c.status.not_in(FINISHED)).order_by(_jobs.c.number)
            return [_job(row) for row in db.execute(query)]

    def claim(self, job_id: str, run: str) -> Claim | None:
        """Puts an unfinished job into the hands of ``run``, out of any other's; None where there is nothing to do."""
        with self._engine.begin() as db:
            row = db.execute(sa.select(_jobs).where(_jobs.c.id == job_id).with_for_update()).one_or_none()
            if row is None or row.status in FINISHED:
                return None
            started_at = row.started_at or time.time()
            changed = {"run": run, "status": "running", "attempts": row.attempts + 1, "started_at": started_at}
            db.execute(sa.update(_jobs).where(_jobs.c.id == job_id).values(**changed))
            if row.status == "queued":
                _tell(db, job_id, [("status", json.dumps({"status": "running"}))])
            query = sa.select(_checkpoints.c.data).where(_checkpoints.c.job == job_id).order_by(_checkpoints.c.number)
            checkpoints = tuple(data for (data,) in db.execute(query))
            job = _job(db.execute(sa.select(_jobs).where(_jobs.c.id == job_id)).one())
        return Claim(job, row.attempts + 1, checkpoints)

    def let_go(self, job_id: str, run: str) -> None:
        """Says that a run has stopped of its own will: that was no fault of the job."""
        with self._engine.begin() as db:
            mine = sa.and_(_jobs.c.id == job_id, _jobs.c.run == run)
            db.execute(sa.update(_jobs).where(mine).values(attempts=0))

    def keep(
        self,
        job_id: str,
        run: str,
        *,
        checkpoint: bytes | None = None,
        segments: Sequence[str] = (),
        progress: float | None = None,
        duration_s: float | None = None,
        audio_bytes: int | None = None,
        cpu_s: float = 0.0,
    ) -> None:
        """Writes down how far a run has come.

        Raises:
            LostJob: the job is no longer in its hands.
        """
        with self._engine.begin() as db:
            row = _held(db, job_id, run)
            values: dict[str, Any] = {"cpu_s": row.cpu_s + cpu_s, "segments": row.segments + len(segments)}
            told = [("segment", segment) for segment in segments]
            if checkpoint is not None:
                count = sa.select(sa.func.count()).select_from(_checkpoints).where(_checkpoints.c.job == job_id)
                number = db.execute(count).scalar_one()
                db.execute(sa.insert(_checkpoints).values(job=job_id, number=number, data=checkpoint))
                values["attempts"] = 0
            if progress is not None and progress > row.progress:
                values["progress"] = progress
                told.append(("progress", json.dumps({"progress": progress})))
            if duration_s is not None:
                values["duration_s"] = duration_s
            if audio_bytes is not None:
                values["audio_bytes"] = audio_bytes
            db.execute(sa.update(_jobs).where(_jobs.c.id == job_id).values(**values))
            _tell(db, job_id, told)

    def finish(
        self,
        job_id: str,
        run: str | None,
        status: Status,
        *,
        keep_s: float,
        transcript: str | None = None,
        duration_s: float | None = None,
        failure: Failure | None = None,
    ) -> bool:
        """Ends a job; ``run`` None: whosever hands it is in. Returns False where it has ended before.

        Raises:
            LostJob: the job is not in the hands of ``run``.
        """
        with self._engine.begin() as db:
            if run is None:
                row = db.execute(sa.select(_jobs).where(_jobs.c.id == job_id).with_for_update()).one_or_none()
                if row is None or row.status in FINISHED:
                    return False
            else:
                _held(db, job_id, run)
            now = time.time()
            values: dict[str, Any] = {"status": status, "finished_at": now, "expires_at": now + keep_s, "run": ""}
            if duration_s is not None:
                values["duration_s"] = duration_s
            if failure is not None:
                values["failure"] = json.dumps(asdict(failure), ensure_ascii=False)
            if transcript is not None:
                values["progress"] = 1.0
                db.execute(sa.insert(_transcripts).values(job=job_id, original=transcript))
            db.execute(sa.update(_jobs).where(_jobs.c.id == job_id).values(**values))
            db.execute(sa.delete(_checkpoints).where(_checkpoints.c.job == job_id))
            told = [("progress", json.dumps({"progress": 1.0}))] if transcript is not None else []
            _tell(db, job_id, [*told, ("status", json.dumps({"status": status}))])
        return True

    def transcript(self, job_id: str, *, original: bool = False) -> str | None:
        """Returns a completed job's transcript as it was written; the corrected one, if there is one."""
        with self._engine.begin() as db:
            row = db.execute(sa.select(_transcripts).where(_transcripts.c.job == job_id)).one_or_none()
        if row is None:
            return None
        text: str = row.original if original or row.corrected is None else row.corrected
        return text

    def correct(self, job_id: str, change: Callable[[str], str]) -> None:
        """Puts what ``change`` makes of a transcript in its place; the recogniser's own is kept beside it."""
        with self._engine.begin() as db:
            query = sa.select(_transcripts).where(_transcripts.c.job == job_id).with_for_update()
            row = db.execute(query).one()
            corrected = change(row.original if row.corrected is None else row.corrected)
            db.execute(sa.update(_transcripts).where(_transcripts.c.job == job_id).values(corrected=corrected))

    def segments(self, job_id: str) -> list[str]:
        """Returns the segments that have finished, as they were written, in order."""
        with self._engine.begin() as db:
            query = (
                sa.select(_events.c.data)
                .where(_events.c.job == job_id, _events.c.kind == "segment")
                .order_by(_events.c.number)
            )
            return [data for (data,) in db.execute(query)]

    def events(self, job_id: str, after: int, limit: int = 500) -> list[Event]:
        """Returns the events after that number, in order."""
        with self._engine.begin() as db:
            query = (
                sa.select(_events)
                .where(_events.c.job == job_id, _events.c.number > after)
                .order_by(_events.c.number)
                .limit(limit)
            )
            return [Event(row.number, row.kind, row.data) for row in db.execute(query)]

    def last_event(self, job_id: str) -> int:
        """Returns the number of a job's last event."""
        with self._engine.begin() as db:
            return db.execute(sa.select(_jobs.c.events).where(_jobs.c.id == job_id)).scalar() or 0

    def forget(self, job_ids: Iterable[str]) -> None:
        """Deletes jobs with all that belongs to them."""
        with self._engine.begin() as db:
            db.execute(sa.delete(_jobs).where(_jobs.c.id.in_(list(job_ids))))
        if self._engine.dialect.name == "sqlite":
            with self._engine.connect() as db:  # what was deleted is in the log of writes, too
                db.execute(sa.text("PRAGMA wal_checkpoint(TRUNCATE)"))

    def expired(self) -> list[str]:
        """Returns the ids of jobs that have been kept long enough."""
        with self._engine.begin() as db:
            return [job for (job,) in db.execute(sa.select(_jobs.c.id).where(_jobs.c.expires_at < time.time()))]

    def add_upload(self, upload: Upload) -> None:
        """Writes down that an upload begins."""
        with self._engine.begin() as db:
            db.execute(sa.insert(_uploads).values(**asdict(upload)))

    def upload(self, upload_id: str, key: str) -> Upload:
        """Returns an upload of ``key``'s.

        Raises:
            NotFound: there is none.
        """
        mine = sa.and_(_uploads.c.id == upload_id, _uploads.c.key == key, _uploads.c.expires_at > time.time())
        with self._engine.begin() as db:
            row = db.execute(sa.select(_uploads).where(mine)).one_or_none()
        if row is None:
            raise NotFound(NO_SUCH_UPLOAD, param="upload")
        return Upload(**row._mapping)

    def advance_upload(self, upload: Upload, more_bytes: int, expires_at: float) -> Upload | None:
        """Writes down how far an upload has come; None where it is not where it was, or not at all."""
        unchanged = sa.and_(_uploads.c.id == upload.id, _uploads.c.received_bytes == upload.received_bytes)
        values: dict[str, Any] = {"received_bytes": upload.received_bytes + more_bytes, "expires_at": expires_at}
        with self._engine.begin() as db:
            if not db.execute(sa.update(_uploads).where(unchanged).values(**values)).rowcount:
                return None
        return replace(upload, **values)

    def forget_upload(self, upload_id: str) -> None:
        """Deletes an upload."""
        with self._engine.begin() as db:
            db.execute(sa.delete(_uploads).where(_uploads.c.id == upload_id))

    def tidy_uploads(self) -> set[str]:
        """Deletes the uploads that have not gone on for too long; returns the ids of the others."""
        with self._engine.begin() as db:
            db.execute(sa.delete(_uploads).where(_uploads.c.expires_at < time.time()))
            return set(db.execute(sa.select(_uploads.c.id)).scalars())

    def beat(self, worker: str) -> dict[str, int]:
        """Says that a worker is alive; returns how often each has said so."""
        with self._engine.begin() as db:
            mine = _workers.c.name == worker
            if not db.execute(sa.update(_workers).where(mine).values(beat=_workers.c.beat + 1)).rowcount:
                db.execute(sa.insert(_workers).values(name=worker, beat=1))
            return {row.name: row.beat for row in db.execute(sa.select(_workers))}

    def bury(self, worker: str, beat: int) -> None:
        """Forgets a worker that has said no more than that; one that comes back is known again."""
        with self._engine.begin() as db:
            db.execute(sa.delete(_workers).where(_workers.c.name == worker, _workers.c.beat == beat))

    def vocabularies(self, key: str) -> dict[str, str]:
        """Returns ``key``'s hotword lists as they were written, by id, in the order in which they were made."""
        with self._engine.begin() as db:
            query = sa.select(_vocabularies).where(_vocabularies.c.key == key).order_by(_vocabularies.c.number)
            return {row.id: row.data for row in db.execute(query)}

    def vocabulary(self, key: str, vocabulary_id: str) -> str | None:
        """Returns one of ``key``'s hotword lists as it was written; None where there is none of that id."""
        with self._engine.begin() as db:
            mine = sa.and_(_vocabularies.c.id == vocabulary_id, _vocabularies.c.key == key)
            data: str | None = db.execute(sa.select(_vocabularies.c.data).where(mine)).scalar()
        return data

    def put_vocabulary(self, key: str, vocabulary_id: str, data: str) -> None:
        """Writes a hotword list down, in place of one with its id."""
        with self._engine.begin() as db:
            mine = sa.and_(_vocabularies.c.id == vocabulary_id, _vocabularies.c.key == key)
            if not db.execute(sa.update(_vocabularies).where(mine).values(data=data)).rowcount:
                row = {"id": vocabulary_id, "key": key, "number": time.time_ns(), "data": data}
                db.execute(sa.insert(_vocabularies).values(**row))

    def delete_vocabulary(self, key: str, vocabulary_id: str) -> bool:
        """Deletes a hotword list; returns whether there was one."""
        with self._engine.begin() as db:
            mine = sa.and_(_vocabularies.c.id == vocabulary_id, _vocabularies.c.key == key)
            return bool(db.execute(sa.delete(_vocabularies).where(mine)).rowcount)


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = "IMMEDIATE"
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _row_of(new: NewJob) -> dict[str, Any]:
    return {
        "id": new.id,
        "key": new.key,
        "task": new.task,
        "status": "queued",
        "model": new.request.options.model.id,
        "label": new.request.label,
        "interactive": new.request.interactive,
        "request": new.request.to_json(),
        "created_at": time.time(),
        "audio_bytes": new.audio_bytes,
        "duration_s": new.duration_s,
        "progress": 0.0,
        "segments": 0,
        "events": 0,
        "cpu_s": 0.0,
        "run": "",
        "attempts": 0,
    }


def _job(row: Any) -> Job:
    return Job(
        id=row.id,
        number=row.number,
        key=row.key,
        task=row.task,
        status=row.status,
        request=JobRequest.from_json(row.request),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        expires_at=row.expires_at,
        audio_bytes=row.audio_bytes,
        duration_s=row.duration_s,
        progress=row.progress,
        segments=row.segments,
        cpu_s=row.cpu_s,
        failure=Failure(**json.loads(row.failure)) if row.failure else None,
    )


def _all_are(status: Status) -> sa.ColumnElement[bool]:
    """Says of a group of jobs what ``task_status`` does."""

    def any_is(*statuses: Status) -> sa.ColumnElement[bool]:
        return sa.func.max(sa.case((_jobs.c.status.in_(statuses), 1), else_=0)) == 1

    any_open, any_begun = any_is("queued", "running"), any_is("running", *FINISHED)
    if status == "queued":
        return sa.and_(any_open, sa.not_(any_begun))
    if status == "running":
        return sa.and_(any_open, any_begun)
    better: dict[Status, tuple[Status, ...]] = {"completed": (), "cancelled": ("completed",)}
    others = better.get(status, ("completed", "cancelled"))
    return sa.and_(sa.not_(any_open), any_is(status), *(sa.not_(any_is(other)) for other in others))


def _of_task(task: str) -> sa.Select[Any]:
    return sa.select(_jobs).where(_jobs.c.task == task).order_by(_jobs.c.number)


def _held(db: sa.Connection, job_id: str, run: str) -> Any:
    row = db.execute(sa.select(_jobs).where(_jobs.c.id == job_id).with_for_update()).one_or_none()
    if row is None or row.run != run or row.status in FINISHED:
        raise LostJob(job_id)
    return row


def _tell(db: sa.Connection, job_id: str, events: Sequence[tuple[str, str]]) -> None:
    """Adds events to a job's, in the transaction that makes them true."""
    if not events:
        return
    told = db.execute(
        sa.update(_jobs)
        .where(_jobs.c.id == job_id)
        .values(events=_jobs.c.events + len(events))
        .returning(_jobs.c.events)
    ).scalar_one()
    rows = [
        {"job": job_id, "number": told - len(events) + 1 + index, "kind": kind, "data": data}
        for index, (kind, data) in enumerate(events)
    ]
    db.execute(sa.insert(_events), rows)
