"""Speaks Qwen3-ASR's live protocol."""

from __future__ import annotations

from service.auth import presented_key
from service.edge import PathRules
from service.protocols.qwen import live
from service.protocols.shared.protocol import Protocol

PROTOCOLS = (Protocol(live.router, (PathRules(live.PATH, live.error_response, presented_key, live=True),)),)
