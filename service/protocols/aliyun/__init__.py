"""Speaks as Alibaba Cloud's speech service: the REST API and the live protocol (see first_message.py for its paths)."""

from __future__ import annotations

from fastapi import Security
from fastapi.security import APIKeyHeader, APIKeyQuery, HTTPBearer

from service.auth import nls_token
from service.edge import PathRules
from service.protocols.aliyun import rest
from service.protocols.shared.protocol import Protocol

_KEYS = (
    Security(APIKeyHeader(name="X-NLS-Token", auto_error=False)),
    Security(HTTPBearer(auto_error=False)),
    Security(APIKeyQuery(name="token", auto_error=False)),
)
PROTOCOLS = (
    Protocol(
        (rest.LABEL,), rest.router, (PathRules("/stream", rest.error_response, nls_token),), documented_keys=_KEYS
    ),
    Protocol((), rest.health_router, (PathRules("/stream/v1/asr/health", rest.error_response),)),
)
