"""Defines what a job is: what was asked, how far it has come, and how both are written down."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter

from runners import catalog
from service.domain import (
    Diarization,
    Hotword,
    KnownSpeaker,
    RawPcm,
    RecognitionOptions,
    Segment,
    Transcript,
)
from service.errors import AddressRefused, ServiceError

Status = Literal["queued", "running", "completed", "failed", "cancelled"]
FINISHED: tuple[Status, ...] = ("completed", "failed", "cancelled")

_SEGMENT: TypeAdapter[Segment] = TypeAdapter(Segment)
_TRANSCRIPT: TypeAdapter[Transcript] = TypeAdapter(Transcript)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """Says what a job is to do.

    Attributes:
        options: What is asked of recognition.
        audio_address: Where the recording is to be fetched; "": it came with the request.
        audio_name: What the client calls the file; "" where it doesn't say.
        audio_track: Which of several audio tracks is meant, from 1; None: the file's default.
        raw: How headerless PCM is to be read.
        channels: Which channels are transcribed, each on its own, from 0; none: all of them, mixed.
        callback_url: Where the end of the job is told; "": nowhere.
        label: Free text of the client's.
        interactive: Whether it goes before the other jobs of its key.
        warnings: What of the request has no effect, for people.
        dialect: The protocol that brought it.
        details: What that protocol wants to know when the job is read.
    """

    options: RecognitionOptions
    audio_address: str = ""
    audio_name: str = ""
    audio_track: int | None = None
    raw: RawPcm | None = None
    channels: tuple[int, ...] = ()
    callback_url: str = ""
    label: str = ""
    interactive: bool = False
    warnings: tuple[str, ...] = ()
    dialect: str = "openai"
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Writes it down."""
        options = self.options
        written = {
            "options": {
                "model": options.model.id,
                "language": options.language,
                "prompt": options.prompt,
                "hotwords": [asdict(hotword) for hotword in options.hotwords],
                "word_timestamps": options.word_timestamps,
                "punctuation": options.punctuation,
                "inverse_text_normalization": options.inverse_text_normalization,
                "diarization": _diarization_to_json(options.diarization),
            },
            "audio_address": self.audio_address,
            "audio_name": self.audio_name,
            "audio_track": self.audio_track,
            "raw": asdict(self.raw) if self.raw else None,
            "channels": list(self.channels),
            "callback_url": self.callback_url,
            "label": self.label,
            "interactive": self.interactive,
            "warnings": list(self.warnings),
            "dialect": self.dialect,
            "details": dict(self.details),
        }
        return json.dumps(written, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> JobRequest:
        """Reads what ``to_json`` wrote."""
        read = json.loads(text)
        options = read.pop("options")
        name = options.pop("model")
        models = catalog.models()
        # A model that has left the catalog is not run any more, but what it has recognised is shown.
        model = models[name] if name in models else next(iter(models.values())).model_copy(update={"id": name})
        hotwords = tuple(Hotword(**hotword) for hotword in options.pop("hotwords"))
        diarization = _diarization_from_json(options.pop("diarization"))
        raw = read.pop("raw")
        return cls(
            RecognitionOptions(model, hotwords=hotwords, diarization=diarization, **options),
            raw=RawPcm(**raw) if raw else None,
            channels=tuple(read.pop("channels", ())),
            warnings=tuple(read.pop("warnings")),
            **read,
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """Says why a job failed, as a ``ServiceError`` does.

    Attributes:
        code: Its code.
        message: For people.
        status: Its HTTP status.
        answered: The HTTP status that the recording's address answered with instead of it; None where it didn't.
    """

    code: str
    message: str
    status: int = 500
    answered: int | None = None

    @classmethod
    def of(cls, error: ServiceError) -> Failure:
        """Takes what a client may be told of an error."""
        answered = error.answered if isinstance(error, AddressRefused) else None
        return cls(error.code, error.message, error.status, answered)

    def error(self) -> ServiceError:
        """Makes it an error again, to be told in a protocol's envelope."""
        return ServiceError(self.message, code=self.code, status=self.status)


@dataclass(frozen=True, slots=True)
class Job:
    """Describes a job; times are seconds of the epoch.

    Attributes:
        id: ``job_`` and 32 hexadecimal digits.
        number: Counts jobs in the order in which they were accepted.
        key: Whose it is: the identity of an API key.
        task: What several jobs of one request have in common; "" for a job of its own.
        status: Where it stands.
        request: What it is to do.
        created_at: When it was accepted.
        started_at: When its recognition began.
        finished_at: When it completed, failed or was cancelled.
        expires_at: When it, its audio and its text are deleted.
        audio_bytes: How large the kept recording is; 0 while there is none.
        duration_s: How long the recording is, as far as that is known.
        progress: The part of it that has been recognised, from 0 to 1; 1 only when completed.
        segments: How many have finished.
        cpu_s: What its recognition took of the processors, in seconds.
        failure: Why it failed.
    """

    id: str
    number: int
    key: str
    task: str
    status: Status
    request: JobRequest
    created_at: float
    started_at: float | None
    finished_at: float | None
    expires_at: float | None
    audio_bytes: int
    duration_s: float | None
    progress: float
    segments: int
    cpu_s: float
    failure: Failure | None

    @property
    def is_finished(self) -> bool:
        """Says whether nothing more will come of it."""
        return self.status in FINISHED


def task_status(jobs: Sequence[Job]) -> Status:
    """Returns where a task stands by its jobs: in the end the best that any of them has come to."""
    statuses = {job.status for job in jobs}
    if statuses & {"queued", "running"}:
        return "queued" if statuses == {"queued"} else "running"
    ends: tuple[Status, ...] = ("completed", "cancelled")
    return next((status for status in ends if status in statuses), "failed")


@dataclass(frozen=True, slots=True)
class Event:
    """Tells something of a job, in order.

    Attributes:
        number: Counts the job's events from 1.
        kind: What it tells.
        data: The rest, as JSON.
    """

    number: int
    kind: Literal["status", "progress", "segment"]
    data: str


def segment_to_json(segment: Segment) -> str:
    """Writes a segment down."""
    return _SEGMENT.dump_json(segment).decode()


def segment_from_json(text: str) -> Segment:
    """Reads what ``segment_to_json`` wrote."""
    return _SEGMENT.validate_json(text)


def transcript_to_json(transcript: Transcript) -> str:
    """Writes a transcript down."""
    return _TRANSCRIPT.dump_json(transcript).decode()


def transcript_from_json(text: str) -> Transcript:
    """Reads what ``transcript_to_json`` wrote."""
    return _TRANSCRIPT.validate_json(text)


def _diarization_to_json(diarization: Diarization | None) -> dict[str, Any] | None:
    if diarization is None:
        return None
    known = [
        {"name": speaker.name, "reference": base64.b64encode(speaker.reference.tobytes()).decode()}
        for speaker in diarization.known_speakers
    ]
    return {"speaker_count": diarization.speaker_count, "known_speakers": known}


def _diarization_from_json(read: dict[str, Any] | None) -> Diarization | None:
    if read is None:
        return None
    known = tuple(
        KnownSpeaker(one["name"], np.frombuffer(base64.b64decode(one["reference"]), np.int16))
        for one in read["known_speakers"]
    )
    return replace(Diarization(read["speaker_count"]), known_speakers=known)
