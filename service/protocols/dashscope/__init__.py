"""Speaks Alibaba Cloud's DashScope (Model Studio): recordings as asynchronous tasks, and hotword lists."""

from __future__ import annotations

from service.auth import presented_key
from service.edge import PathRules
from service.protocols.dashscope import customization, tasks
from service.protocols.dashscope.envelope import error_response
from service.protocols.shared.protocol import KEYS, Protocol

PROTOCOLS = (
    Protocol(tasks.router, (PathRules("/api/v1", error_response, presented_key),), documented_keys=KEYS),
    Protocol(customization.router, (), documented_keys=KEYS),  # under the same rules
    Protocol(tasks.results_router, (PathRules(tasks.RESULTS, error_response),)),  # the link is the key
)
