"""Finds out which dialect a client speaks on the paths that two dialects share: its first message tells.

                 first message
    accepted --------------------> aliyun/live.py or funasr/live.py, to the connection's end

    The first message has      on /ws/v1, /ws/v1/asr    on /, /ws/v1/asr/funasr
    "header"                   Alibaba Cloud's          Alibaba Cloud's
    "mode", "is_speaking"      FunASR's                 FunASR's
    none of them               Alibaba Cloud's          FunASR's

Audio, and text that is no JSON object, has none of them, and either dialect refuses it in its own words. A client that
says nothing for too long (minutes, on FunASR's paths) is told a TaskFailed, and the connection is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, WebSocket

from service.auth import presented_key
from service.edge import PathRules
from service.protocols.aliyun import live as aliyun
from service.protocols.aliyun import rest
from service.protocols.aliyun.live_response import task_failed
from service.protocols.funasr import live as funasr
from service.protocols.shared.conversation import LONGEST_REST_S, Connection, report_failures
from service.protocols.shared.fields import json_object
from service.protocols.shared.protocol import Protocol
from service.serving import serving_of

router = APIRouter()
_FUNASR_KEYS = {"mode", "is_speaking"}


@router.websocket("/ws/v1/asr")
@router.websocket("/ws/v1")
async def converse_aliyun(websocket: WebSocket) -> None:
    """Speaks Alibaba Cloud's protocol, unless the client's first message is FunASR's."""
    idle_s = serving_of(websocket).settings.live_idle_timeout_sec
    await _converse(websocket, lambda said: bool(said.keys() & _FUNASR_KEYS) and "header" not in said, idle_s)


@router.websocket("/ws/v1/asr/funasr")
@router.websocket("/")
async def converse_funasr(websocket: WebSocket) -> None:
    """Speaks FunASR's protocol, unless the client's first message is Alibaba Cloud's."""
    await _converse(websocket, lambda said: "header" not in said, LONGEST_REST_S)


async def _converse(websocket: WebSocket, is_funasr: Callable[[dict[str, Any]], bool], idle_s: float) -> None:
    connection = Connection(websocket)
    await connection.accept("binary")  # as FunASR's clients ask
    serving = serving_of(websocket)
    async with report_failures(connection, lambda failure: task_failed(failure, "", ())):
        first = await connection.receive(idle_s)
        message = json_object(first) if isinstance(first, str) else None
        if is_funasr(message or {}):
            await funasr.serve(connection, serving, first)
        else:
            await aliyun.serve(connection, serving, first)


PROTOCOL = Protocol(router, (PathRules("", rest.error_response, presented_key, live=True),))
