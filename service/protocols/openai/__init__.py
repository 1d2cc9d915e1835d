"""Speaks OpenAI's Audio API and its Realtime API."""

from __future__ import annotations

from service.auth import presented_key
from service.edge import PathRules
from service.protocols.openai import jobs, realtime, transcriptions, uploads
from service.protocols.openai.transcriptions_response import error_response
from service.protocols.shared.protocol import KEYS, Protocol

PROTOCOLS = (
    Protocol(
        transcriptions.router,
        (PathRules("/v1", error_response, presented_key),),
        documented_keys=KEYS,
    ),
    Protocol(
        jobs.router,
        (PathRules("/v1/audio/jobs", error_response, presented_key),),
        documented_keys=KEYS,
        callbacks={"openai": jobs.describe_end},
    ),
    Protocol(
        uploads.router,
        (PathRules("/v1/audio/uploads", uploads.failure_response, presented_key),),
        documented_keys=KEYS,
    ),
    Protocol(realtime.router, (PathRules("/v1", error_response, presented_key, live=True),)),
)
