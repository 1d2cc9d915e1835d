"""Defines the failures that clients are told about, each with a status and a code.

    ServiceError                 500 server_error
    ├── InvalidRequest           400 invalid_request
    │   ├── UnsupportedSampleRate    unsupported_sample_rate
    │   ├── UnknownDirective         unknown_directive
    │   ├── WrongState               wrong_state
    │   └── AddressRefused           invalid_audio_address
    ├── InvalidKey               401 invalid_api_key
    ├── NotFound                 404 not_found
    │   └── ModelNotFound            model_not_found
    ├── UploadStalled            408 upload_stalled
    ├── IdleTooLong              408 idle
    ├── SlowReader               408 slow_reader
    ├── AudioTooLarge            413 audio_too_large
    ├── UndecodableAudio         415 unsupported_audio
    ├── QueueFull                429 queue_full
    ├── RecognitionFailed        500 recognition_failed
    ├── NotReady                 503 not_ready
    ├── SentenceLost             503 session_lost
    └── StorageFull              507 storage_full

A protocol renders them in its own envelope. A message says what was wrong and what would be right; it is shown to
the client, so it holds no secrets, paths or tracebacks.
"""

from __future__ import annotations


class ServiceError(Exception):
    """Carries what a client is told of a failure.

    Attributes:
        status: HTTP status.
        code: Short name for programs, the same in every protocol that has room for one.
        message: What was wrong and what would be right, for people.
        param: The request field at fault, if one is.
        retry_after_s: Seconds after which the same request may succeed, if it may.
    """

    status = 500
    code = "server_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: int | None = None,
        status: int | None = None,
        code: str | None = None,
    ) -> None:
        """``status`` and ``code`` take the place of the class's own."""
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.status = self.status if status is None else status
        self.code = self.code if code is None else code


class InvalidRequest(ServiceError):
    """Something in the request is wrong."""

    status = 400
    code = "invalid_request"


class InvalidKey(ServiceError):
    """The API key is missing or wrong."""

    status = 401
    code = "invalid_api_key"


class NotFound(ServiceError):
    """There is no such thing here."""

    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    """The model does not exist, or is not loaded."""

    code = "model_not_found"


class UploadStalled(ServiceError):
    """Nothing of the request's body has come for too long."""

    status = 408
    code = "upload_stalled"


class IdleTooLong(ServiceError):
    """A live client has sent nothing for too long."""

    status = 408
    code = "idle"


class SlowReader(ServiceError):
    """A live client does not read what it is sent."""

    status = 408
    code = "slow_reader"


class AudioTooLarge(ServiceError):
    """The audio has more bytes or seconds than are taken."""

    status = 413
    code = "audio_too_large"


class UndecodableAudio(ServiceError):
    """The bytes are not audio that can be decoded (never transcribed as noise)."""

    status = 415
    code = "unsupported_audio"


class UnsupportedSampleRate(InvalidRequest):
    """The sample rate is none that can be read."""

    code = "unsupported_sample_rate"


class UnknownDirective(InvalidRequest):
    """A live client asks for something that its protocol has not."""

    code = "unknown_directive"


class WrongState(InvalidRequest):
    """A live client says the right thing at the wrong time."""

    code = "wrong_state"


class AddressRefused(InvalidRequest):
    """An ``audio_address`` must not or cannot be fetched.

    Attributes:
        answered: The HTTP status that it answered with instead; None where it didn't answer so.
    """

    code = "invalid_audio_address"

    def __init__(self, message: str, *, param: str | None = None, answered: int | None = None) -> None:
        super().__init__(message, param=param)
        self.answered = answered


class QueueFull(ServiceError):
    """More is waiting than is taken on."""

    status = 429
    code = "queue_full"


class NotReady(ServiceError):
    """Models are loading, or a runner is away for the moment."""

    status = 503
    code = "not_ready"


class SentenceLost(ServiceError):
    """The recogniser has lost a live sentence: its runner restarted, or nothing came for too long."""

    status = 503
    code = "session_lost"  # clients know it by this name


class StorageFull(ServiceError):
    """There is no room on disk for another recording."""

    status = 507
    code = "storage_full"


class RecognitionFailed(ServiceError):
    """A segment failed twice; the whole request fails rather than leave text out."""

    code = "recognition_failed"
