"""Taking a recording in, whatever protocol brings it: readiness, its file on disk, its place in the queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Generic, Protocol, TypeVar

from starlette.requests import ClientDisconnect, HTTPConnection, Request

from service import observability
from service.admission import AdmissionQueue, LiveSessions, estimate_audio_s
from service.domain import AudioSource, RawPcm, RecognitionOptions
from service.edge import unless_disconnected
from service.errors import NotReady, ServiceError
from service.pipeline.fetch import fetch_audio
from service.pipeline.transcribe import Transcriber, Transcription
from service.settings import Settings
from service.uploads import temporary_audio_file

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


class Wanted(Protocol):
    """A protocol's request, understood."""

    @property
    def options(self) -> RecognitionOptions: ...


ConnectionT = TypeVar("ConnectionT", bound=HTTPConnection)
WantedT = TypeVar("WantedT", bound=Wanted)
Receive = Callable[[ConnectionT, Settings, IO[bytes]], Awaitable[tuple[WantedT, AudioSource]]]


@dataclass(frozen=True, slots=True)
class Job(Generic[WantedT]):
    """A transcription that has been let in."""

    request: WantedT
    transcription: Transcription


@asynccontextmanager
async def taken_in(
    connection: ConnectionT, protocol: str, receive: Receive[ConnectionT, WantedT]
) -> AsyncIterator[Job[WantedT]]:
    """Takes a request in, as far as recognition; its audio file and its place are held to the end of the block.

    ``receive`` understands the request and puts its audio into the file; it is not called when the
    service can't take anything in. How the block ends is counted under ``protocol``.

    Raises:
        NotReady: models are still loading.
        QueueFull: too much audio is waiting already.
        ServiceError: what ``receive`` raises; UndecodableAudio for what is no audio.
    """
    serving = serving_of(connection)
    with counted(protocol):
        await check_ready(serving)
        serving.admission.check()
        with temporary_audio_file() as file:
            wanted, source = await receive(connection, serving.settings, file)
            audio_s = await asyncio.to_thread(estimate_audio_s, source)
            with serving.admission.admit(min(audio_s, serving.settings.max_audio_duration_sec)):
                yield Job(wanted, serving.transcriber.start(source, wanted.options))


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


def audio_source(path: str, raw: RawPcm | None) -> AudioSource:
    """Clients name a WAV file `pcm` for what it holds; its header says better than they how to read it."""
    if raw is not None:
        with Path(path).open("rb") as file:
            start = file.read(12)
        if start[:4] == b"RIFF" and start[8:] == b"WAVE":
            raw = None
    return AudioSource(path, raw)


async def fetch_recording(address: str, file: IO[bytes], request: Request, settings: Settings) -> None:
    """Puts what an ``audio_address`` holds into ``file``, unless the client goes away. The body must have been read.

    Raises what :func:`service.pipeline.fetch.fetch_audio` raises.
    """
    await unless_disconnected(
        request.receive,
        fetch_audio(
            address,
            file,
            max_bytes=settings.max_audio_size,
            allow_private=settings.allow_private_audio_urls,
            timeout_s=settings.audio_url_timeout_sec,
        ),
    )
    await asyncio.to_thread(file.flush)
