"""What the routes work with, and what each of them does alike: waits for the models, counts how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, HTTPConnection

from service import observability
from service.admission import AdmissionQueue, LiveSessions
from service.errors import NotReady, ServiceError
from service.recordings.transcribe import Transcriber
from service.settings import Settings

# Models load for seconds, not minutes: a short wait spares most clients the retry.
_READY_WAIT_S = 2.0
_READY_RETRY_S = 5


@dataclass(frozen=True, slots=True)
class Serving:
    """What the routes work with; ``app.state.serving``. ``started_at`` is in seconds of the epoch."""

    transcriber: Transcriber
    admission: AdmissionQueue
    live_sessions: LiveSessions
    settings: Settings
    started_at: int


def serving_of(connection: HTTPConnection) -> Serving:
    serving: Serving = connection.app.state.serving
    return serving


@contextmanager
def counted(protocol: str) -> Iterator[None]:
    """Counts how the block ends among ``protocol``'s requests."""
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


async def check_ready(serving: Serving) -> None:
    """Waits a moment for models that are loading. Raises NotReady."""
    try:
        ready = await asyncio.wait_for(serving.transcriber.is_ready(serving.settings.enabled_models[0]), _READY_WAIT_S)
    except asyncio.TimeoutError:
        ready = False
    if not ready:
        raise NotReady("Models are loading; try again shortly.", retry_after_s=_READY_RETRY_S)
