"""Translates exceptions into what a client is told, whatever the protocol."""

from __future__ import annotations

import logging

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service.errors import InvalidRequest, ServiceError
from service.observability import request_id

log = logging.getLogger(__name__)

_HTTP_CODES = {404: "not_found", 405: "method_not_allowed"}


def failure_of(error: Exception) -> ServiceError:
    """Translates an exception into what a client is told; what is our own fault goes to the log, with its traceback.

    The message of our own faults ends with the request's id, by which its log lines are found.
    """
    if isinstance(error, ServiceError):
        failure = error
    elif isinstance(error, HTTPException):
        code = _HTTP_CODES.get(error.status_code, "invalid_request")
        failure = ServiceError(error.detail, status=error.status_code, code=code)
    elif isinstance(error, RequestValidationError):
        problem = error.errors()[0]
        param = ".".join(str(part) for part in problem["loc"][1:])
        failure = InvalidRequest(f"`{param}`: {problem['msg']}" if param else problem["msg"], param=param or None)
    elif isinstance(error, ClientDisconnect):
        failure = ServiceError("The client closed the connection.", status=499, code="client_disconnected")
    else:
        log.error("request failed", exc_info=error)
        failure = ServiceError("Something went wrong here, not with the request.")
    if failure.status != 500:
        return failure
    message = f"{failure.message.rstrip('.')}. Request id: {request_id.get()}"
    return ServiceError(message, param=failure.param, code=failure.code)
