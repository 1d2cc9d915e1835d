"""Renders what calls of Alibaba Cloud's RPC style (POP) are told: JSON, its names in capitals."""

from __future__ import annotations

from fastapi import Response
from pydantic import BaseModel

from service.errors import ServiceError
from service.observability import request_id

# A code of the cloud's own begins with a capital and stays. Any other is a wrong parameter or our own error.
_CODES = {
    "method_not_allowed": "UnsupportedHTTPMethod",
    "queue_full": "Throttling",
    "not_ready": "ServiceUnavailable",
    "upload_stalled": "RequestTimeout",
}


class PopFailureBody(BaseModel):
    """Tells a failure, as the SDKs' ServerException reads it."""

    Code: str
    Message: str
    RequestId: str


class TokenFields(BaseModel):
    """Holds a token: ``ExpireTime`` is in seconds of the epoch, ``UserId`` the AccessKeyId that it belongs to."""

    Id: str
    ExpireTime: int
    UserId: str


class TokenBody(BaseModel):
    """Answers CreateToken."""

    Token: TokenFields
    RequestId: str


def error_response(failure: ServiceError) -> Response:
    """Makes the response that tells a failure, with its true HTTP status."""
    code = failure.code
    if not code[:1].isupper():
        code = _CODES.get(code, "InternalError" if failure.status >= 500 else "InvalidParameter")
    body = PopFailureBody(Code=code, Message=failure.message, RequestId=request_id.get())
    return Response(body.model_dump_json(), failure.status, media_type="application/json")
