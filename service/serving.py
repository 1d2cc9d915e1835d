"""Holds what the routes work with, and counts the way each request ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from starlette.requests import ClientDisconnect, HTTPConnection

from runners import catalog
from service import observability
from service.admission import AdmissionQueue, Bound, LiveSessions
from service.auth import Nonces
from service.errors import NotFound, NotReady, ServiceError
from service.inference import Runners
from service.jobs.jobs import Describe, Jobs
from service.recordings.transcribe import Limits, Transcriber
from service.settings import Settings

# Models load for seconds, not minutes: a short wait spares most clients the retry.
_READY_WAIT_S = 2.0
_READY_RETRY_S = 5


class Serving:
    """Holds what the routes work with, as ``app.state.serving``.

    Attributes:
        settings: Of this process.
        admission: The queue of recordings.
        uploads: The places of recordings that are being received, sent by clients or fetched.
        live_sessions: The places of live sessions.
        nonces: Of the signed calls that were let in.
        websockets: The places of WebSockets, those without a session among them.
        started_at: When the process started, in seconds of the epoch.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.admission = AdmissionQueue(settings.max_queue_audio_sec)
        self.uploads = Bound(settings.max_uploads, "recordings on their way")
        self.live_sessions = LiveSessions(settings.max_live_sessions)
        self.nonces = Nonces()
        # As many again may rest: clients connect before they speak, and stay for the next recording.
        self.websockets = Bound(2 * settings.max_live_sessions, "WebSockets")
        self.started_at = int(time.time())
        self._runners: Runners | None = None
        self._jobs: Jobs | None = None

    @asynccontextmanager
    async def working(self, describe: Describe) -> AsyncIterator[None]:
        """Does jobs to the end of the block; ``describe`` makes what their callbacks are told."""
        if not self.settings.jobs_enabled:
            yield
            return
        self._jobs = Jobs(self.settings, lambda: self.transcriber, describe)
        await self._jobs.start()
        try:
            yield
        finally:
            jobs, self._jobs = self._jobs, None
            await jobs.stop()

    @property
    def jobs(self) -> Jobs:
        """Returns the jobs.

        Raises:
            NotFound: they are switched off.
            NotReady: none can be taken yet, or no longer.
        """
        if not self.settings.jobs_enabled:
            raise NotFound("Jobs are switched off here (JOBS_ENABLED=false).")
        if self._jobs is None:
            raise NotReady("Jobs can't be taken at the moment; try again shortly.", retry_after_s=_READY_RETRY_S)
        self._jobs.check()
        return self._jobs

    def bind(self, runners: Runners) -> None:
        """Takes the runners, once the service has them."""
        self._runners = runners

    @property
    def runners(self) -> Runners:
        """Returns the model runners.

        Raises:
            NotReady: there are none yet.
        """
        if self._runners is None:
            raise _loading()
        return self._runners

    @property
    def transcriber(self) -> Transcriber:
        """Makes what transcribes recordings, within the limits of the settings.

        Raises:
            NotReady: there are no runners yet.
        """
        return Transcriber(self.runners, Limits(self.settings.max_segment_sec, self.settings.max_audio_duration_sec))

    async def check_ready(self) -> None:
        """Waits a moment for models that are loading.

        Raises:
            NotReady: they are loading still.
        """
        if self._runners is None:
            raise _loading()
        model = catalog.models()[self.settings.enabled_models[0]]
        try:
            await asyncio.wait_for(self._runners.vad_options(model), _READY_WAIT_S)
        except asyncio.TimeoutError:
            raise _loading() from None

    async def device(self) -> str:
        """Returns where recognition computes: `cpu` or `cuda`.

        Raises:
            NotReady: not every runner answers yet.
        """
        if not await self.runners.ready():
            raise _loading()
        return await self.runners.device()


def serving_of(connection: HTTPConnection) -> Serving:
    """Returns what the connection's app works with."""
    serving: Serving = connection.app.state.serving
    return serving


@contextmanager
def counted(protocol: str) -> Iterator[None]:
    """Counts how the block ends among ``protocol``'s requests: "ok", or a failure's code."""
    outcome = "internal_error"
    try:
        yield
        outcome = "ok"
    except ServiceError as failure:
        outcome = failure.code
        raise
    except (ClientDisconnect, asyncio.CancelledError):
        outcome = "client_disconnected"
        raise
    finally:
        observability.requests.labels(protocol, outcome).inc()


def _loading() -> NotReady:
    return NotReady("Models are loading; try again shortly.", retry_after_s=_READY_RETRY_S)
