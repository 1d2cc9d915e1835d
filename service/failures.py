"""What a client is told about an exception, whatever the protocol."""

from __future__ import annotations

import logging

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service.errors import ServiceError
from service.observability import request_id

log = logging.getLogger(__name__)


def failure_of(error: Exception) -> ServiceError:
    """What a client is told about an exception; what is our own fault goes to the log, with its traceback."""
    if isinstance(error, ServiceError):
        failure = error
    elif isinstance(error, HTTPException):
        failure = _failure(error.detail, error.status_code, _HTTP_CODES.get(error.status_code, "invalid_request"))
    elif isinstance(error, ClientDisconnect):
        failure = _failure("The client closed the connection.", 499, "client_disconnected")
    else:
        log.error("request failed", exc_info=error)
        failure = ServiceError("Something went wrong here, not with the request.")
    if failure.status == 500:
        failure.message = f"{failure.message.rstrip('.')}. Request id: {request_id.get()}"
    return failure


_HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}


def _failure(message: str, status: int, code: str) -> ServiceError:
    failure = ServiceError(message)
    failure.status, failure.code = status, code
    return failure
