"""Runs jobs durably, by DBOS: queues, recovery after a crash, delayed attempts.

Its calls block and are made in threads. What a job does is a coroutine of the app's, and runs in the app's event loop;
the thread that DBOS runs a workflow in waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from dbos import DBOS, DBOSConfig, Queue, SetEnqueueOptions, SetWorkflowID

_QUEUE = "jobs"
_CALLBACKS = "callbacks"
_POLL_S = 0.5
# Of the workflows below: workers take each other's jobs over as long as they agree on it.
_VERSION = "1"
_MOST_CALLBACKS = 16
# All jobs at a time on a worker: each has a file open, and a decoder.
_MOST_JOBS = 24

Work = Callable[[str], Coroutine[Any, Any, None]]
CallBack = Callable[[str, int], Coroutine[Any, Any, None]]


class _Interrupted(BaseException):
    """This process stops: the workflow has no outcome, and is taken up again by the next.

    DBOS records what is an ``Exception`` as the workflow's end.
    """


@dataclass(slots=True)
class _Hands:
    """What the workflows, which DBOS finds by their names, work with in this process."""

    loop: asyncio.AbstractEventLoop
    work: Work
    call_back: CallBack


_hands: list[_Hands] = []


@DBOS.workflow(name="transcribe", max_recovery_attempts=1_000_000)
def _transcribe(job_id: str) -> None:
    _in_app(lambda hands: hands.work(job_id))


@DBOS.workflow(name="call_back", max_recovery_attempts=1_000_000)
def _call_back(job_id: str, attempt: int) -> None:
    _in_app(lambda hands: hands.call_back(job_id, attempt))


def _in_app(make: Callable[[_Hands], Coroutine[Any, Any, None]]) -> None:
    if not _hands:
        raise _Interrupted
    hands = _hands[-1]
    try:
        asyncio.run_coroutine_threadsafe(make(hands), hands.loop).result()
    except (CancelledError, asyncio.CancelledError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not hands.loop.is_closed():
            raise
        raise _Interrupted from None


class JobQueue:
    """Queues jobs, for all workers of a database; there is one per process."""

    def __init__(self, url: str, worker: str, concurrency: int, *, takes_jobs: bool) -> None:
        """``concurrency``: how many jobs of one key run at a time on a worker; ``worker``: its lasting name."""
        self._config: DBOSConfig = {
            "name": "asr",
            "system_database_url": url,
            "application_version": _VERSION,
            "executor_id": worker,
            "log_level": "WARNING",
            "notification_listener_polling_interval_sec": 2.0,
            "scheduler_polling_interval_sec": 3600.0,
        }
        self._concurrency = concurrency
        self._takes_jobs = takes_jobs
        self._jobs: Queue | None = None
        self._callbacks: Queue | None = None

    def launch(self, loop: asyncio.AbstractEventLoop, work: Work, call_back: CallBack) -> None:
        """Begins to take jobs, those first that this worker had in hand when it stopped."""
        logging.getLogger("dbos").propagate = True
        _hands.append(_Hands(loop, work, call_back))
        DBOS(config=self._config)
        if not self._takes_jobs:
            DBOS.listen_queues([])
        DBOS.launch()
        self._jobs = DBOS.register_queue(
            _QUEUE,
            worker_concurrency=max(_MOST_JOBS, self._concurrency),
            partition_worker_concurrency=self._concurrency,
            polling_interval_sec=_POLL_S,
            on_conflict="always_update",
        )
        self._callbacks = DBOS.register_queue(
            _CALLBACKS, worker_concurrency=_MOST_CALLBACKS, polling_interval_sec=1.0, on_conflict="always_update"
        )

    def enqueue(self, job_id: str, key: str, *, interactive: bool) -> None:
        """Queues a job, if it is not queued already."""
        assert self._jobs is not None
        with (
            SetWorkflowID(job_id),
            SetEnqueueOptions(queue_partition_key=key or "-", priority=1 if interactive else 2),
        ):
            self._jobs.enqueue(_transcribe, job_id)

    def enqueue_callback(self, job_id: str, attempt: int, delay_s: float) -> None:
        """Queues the telling of a job's end, to be tried after ``delay_s``."""
        assert self._callbacks is not None
        with SetWorkflowID(f"{job_id}-callback-{attempt}"), SetEnqueueOptions(delay_seconds=delay_s or None):
            self._callbacks.enqueue(_call_back, job_id, attempt)

    def take_over(self, workers: Sequence[str]) -> None:
        """Takes up what workers that are gone had in hand.

        ``resume_workflow``, which is public, would take them out of their queue.
        """
        DBOS._recover_pending_workflows(list(workers))

    def forget(self, job_ids: Sequence[str], callbacks: int) -> None:
        """Takes jobs out of the queue, with all traces."""
        names = [f"{job}-callback-{attempt}" for job in job_ids for attempt in range(callbacks)]
        DBOS.delete_workflows([*job_ids, *names])

    def stop(self) -> None:
        """Stops to take jobs; what is in hand stays to be taken up again."""
        _hands.clear()
        DBOS.destroy(workflow_completion_timeout_sec=0)
