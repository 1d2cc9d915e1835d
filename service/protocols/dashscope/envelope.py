"""Renders what all of DashScope's answers have in common: the request's id, and how a failure is told."""

from __future__ import annotations

from fastapi import Response
from pydantic import BaseModel, Field

from service.errors import ServiceError
from service.observability import request_id

# A code of the cloud's own begins with a capital and stays. Any other is a wrong parameter or our own error.
_CODES = {
    "invalid_api_key": "InvalidApiKey",
    "model_not_found": "ModelNotFound",
    "not_found": "NotFound",
    "method_not_allowed": "MethodNotAllowed",
    "upload_stalled": "RequestTimeOut",
    "queue_full": "Throttling",
    "storage_full": "Throttling.AllocationQuota",
    "not_ready": "ServiceUnavailable",
    "invalid_audio_address": "InvalidFile.DownloadFailed",
    "unsupported_audio": "InvalidFile.Format",
    "audio_too_large": "InvalidFile.Size",
}


class Answer(BaseModel):
    """Names the request that is answered."""

    request_id: str = Field(default_factory=lambda: request_id.get())


class RefusalBody(Answer):
    """Tells a failure."""

    code: str
    message: str


def failure_code(failure: ServiceError) -> str:
    """Returns DashScope's code for a failure."""
    if failure.code[:1].isupper():
        return failure.code
    return _CODES.get(failure.code, "InternalError" if failure.status >= 500 else "InvalidParameter")


def error_response(failure: ServiceError) -> Response:
    """Makes the response that tells a failure, with its true HTTP status."""
    body = RefusalBody(code=failure_code(failure), message=failure.message)
    return Response(body.model_dump_json(), failure.status, media_type="application/json")
