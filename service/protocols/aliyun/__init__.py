"""Speaks as Alibaba Cloud's speech service: REST, signed calls, and the live protocol (paths: first_message.py)."""

from __future__ import annotations

from service.auth import presented_key
from service.edge import PathRules
from service.protocols.aliyun import filetrans, filetrans_request, flash, pop, pop_response, rest
from service.protocols.shared.protocol import KEYS, Protocol

PROTOCOLS = (
    Protocol(rest.router, (PathRules("/stream", rest.error_response, presented_key),), documented_keys=KEYS),
    Protocol(flash.router, (), documented_keys=KEYS),  # under the rules of the REST API
    Protocol(
        pop.router,
        (PathRules("/", pop_response.error_response),),  # it checks signatures, not keys
        callbacks={filetrans_request.DIALECT: filetrans.describe_end},
    ),
    Protocol(rest.health_router, (PathRules("/stream/v1/asr/health", rest.error_response),)),
)
