"""Speaks OpenAI's Audio API and its Realtime API."""

from __future__ import annotations

from fastapi import Security
from fastapi.security import HTTPBearer

from service.auth import bearer_key, realtime_key
from service.edge import PathRules
from service.protocols.openai import realtime, transcriptions
from service.protocols.openai.transcriptions_response import error_response
from service.protocols.shared.protocol import Protocol

PROTOCOLS = (
    Protocol(
        (transcriptions.LABEL,),
        transcriptions.router,
        (PathRules("/v1", error_response, bearer_key),),
        documented_keys=(Security(HTTPBearer(auto_error=False)),),
    ),
    Protocol((realtime.LABEL,), realtime.router, (PathRules("/v1", error_response, realtime_key, live=True),)),
)
