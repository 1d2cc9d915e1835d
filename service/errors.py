"""One hierarchy of failures; each protocol renders it in its own envelope.

A message says what was wrong and what would be right; it is shown to the client, so it holds no
secrets, paths or tracebacks.
"""

from __future__ import annotations


class ServiceError(Exception):
    """A failure that a client is told about. ``param`` names the request field at fault, if one is."""

    status = 500
    code = "server_error"

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class InvalidRequest(ServiceError):
    status = 400
    code = "invalid_request"


class InvalidKey(ServiceError):
    status = 401
    code = "invalid_api_key"


class NotFound(ServiceError):
    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
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
    status = 413
    code = "audio_too_large"


class UndecodableAudio(ServiceError):
    """The bytes are not audio that can be decoded (never transcribed as noise)."""

    status = 415
    code = "unsupported_audio"


class UnsupportedSampleRate(InvalidRequest):
    code = "unsupported_sample_rate"


class UnknownDirective(InvalidRequest):
    """A live client asks for something that its protocol has not."""

    code = "unknown_directive"


class WrongState(InvalidRequest):
    """A live client says the right thing at the wrong time."""

    code = "wrong_state"


class AddressRefused(InvalidRequest):
    """An ``audio_address`` that must not or cannot be fetched."""

    code = "invalid_audio_address"


class QueueFull(ServiceError):
    status = 429
    code = "queue_full"


class NotReady(ServiceError):
    """Models are loading, or a runner is away for the moment."""

    status = 503
    code = "not_ready"


class SessionLost(ServiceError):
    """The state of a live session is gone: its runner restarted, or nothing came for too long."""

    status = 503
    code = "session_lost"


class RecognitionFailed(ServiceError):
    """A segment failed twice; the whole request fails rather than leave text out."""

    status = 500
    code = "recognition_failed"
