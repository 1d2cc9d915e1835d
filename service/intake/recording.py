"""Takes a recording in, whatever protocol brings it: readiness, its file on disk, its place in the queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Generic, Protocol, TypeVar

from starlette.requests import HTTPConnection, Request

from service.audio.recording import Recording
from service.auth import caller
from service.domain import AudioSource, RawPcm, RecognitionOptions, Requester
from service.intake import disk
from service.intake.disconnect import unless_disconnected
from service.intake.fetch import fetch_audio
from service.recordings.transcribe import Transcription
from service.serving import counted, serving_of
from service.settings import Settings


class Wanted(Protocol):
    """Says what a protocol's request, once understood, asks for."""

    @property
    def options(self) -> RecognitionOptions:
        """Says what is asked of recognition."""


ConnectionT = TypeVar("ConnectionT", bound=HTTPConnection)
WantedT = TypeVar("WantedT", bound=Wanted)
Receive = Callable[[ConnectionT, Settings, IO[bytes]], Awaitable[tuple[WantedT, AudioSource]]]
# Which of how many channels are transcribed, each on its own, from 0; None among them: all of them mixed.
Channels = Callable[[WantedT, int], Sequence[int | None]]


@dataclass(frozen=True, slots=True)
class Admitted(Generic[WantedT]):
    """Holds what has been let in of a recording, and the request that asked for it.

    Attributes:
        request: What was asked.
        transcriptions: One for each channel that is transcribed on its own; they take turns.
        release: Gives its audio file and its place back: all of it is recognised, however long its answer is read.
    """

    request: WantedT
    transcriptions: tuple[Transcription, ...]
    release: Callable[[], Awaitable[None]]

    @property
    def transcription(self) -> Transcription:
        """Returns the only one, where channels are not told apart."""
        (only,) = self.transcriptions
        return only


def mixed(_: object, __: int) -> Sequence[int | None]:
    """Chooses all channels, mixed."""
    return (None,)


@asynccontextmanager
async def admitted(
    connection: ConnectionT,
    protocol: str,
    receive: Receive[ConnectionT, WantedT],
    channels: Channels[WantedT] = mixed,
) -> AsyncIterator[Admitted[WantedT]]:
    """Takes a request in, as far as recognition; its audio file and its place are held to the end of the block.

    ``receive`` understands the request and puts its audio into the file; it is not called when the
    service can't take anything in. ``channels`` chooses those that are transcribed. How the block ends is counted
    under ``protocol``.

    Raises:
        NotReady: models are still loading.
        QueueFull: too much audio is waiting already, or too many recordings are on their way.
        StorageFull: the disk has no room for it.
        ServiceError: what ``receive`` raises; UndecodableAudio for what is no audio.
    """
    serving = serving_of(connection)
    with counted(protocol):
        await serving.check_ready()
        serving.admission.check()
        # What comes over a WebSocket is being spoken: it takes as long as a live session does.
        is_live = connection.scope["type"] == "websocket"
        arriving = serving.live_sessions.admit(protocol) if is_live else serving.uploads.admit()
        async with AsyncExitStack() as held:
            file = held.enter_context(disk.temporary_audio_file())
            with arriving:
                wanted, source = await receive(connection, serving.settings, file)
            recording = Recording(source)
            held.push_async_callback(recording.close)
            audio_s = min(await recording.estimate_s(), serving.settings.max_audio_duration_sec)
            chosen = channels(wanted, await recording.channels())
            recordings = [recording]
            if tuple(chosen) != (None,):
                await recording.close()  # each channel opens the file in its turn
                recordings = [Recording(replace(source, channel=channel)) for channel in chosen]
            place = held.enter_context(serving.admission.admit(audio_s, len(recordings)))
            start, requester = serving.transcriber.start, Requester(key=caller(connection))
            transcriptions = [start(each, wanted.options, place, requester=requester) for each in recordings]
            yield Admitted(wanted, tuple(transcriptions), held.aclose)


def audio_source(path: str, raw: RawPcm | None, track: int | None = None) -> AudioSource:
    """Says how to read a file; where it is a WAV file, its header says better than ``raw`` how.

    Clients name a WAV file `pcm` for what it holds.
    """
    if raw is not None:
        with Path(path).open("rb") as file:
            start = file.read(12)
        if start[:4] == b"RIFF" and start[8:] == b"WAVE":
            raw = None
    return AudioSource(path, raw, track)


async def fetch_recording(address: str, file: IO[bytes], request: Request, settings: Settings) -> None:
    """Puts what an ``audio_address`` holds into ``file``, unless the client goes away.

    The request's body must have been read.

    Raises:
        AddressRefused, AudioTooLarge: as :func:`service.intake.fetch.fetch_audio`.
        ClientDisconnect: the client went away first.
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
    await disk.in_thread(file.flush)
