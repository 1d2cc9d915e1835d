"""The app that clients talk to: protocols' routes, the HTTP edge around them, documentation pages."""

from __future__ import annotations

import time
from typing import NoReturn

from fastapi import FastAPI, Request, Security
from fastapi.security import APIKeyHeader, APIKeyQuery, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from service.admission import AdmissionQueue, LiveSessions
from service.auth import bearer_key, nls_token, realtime_key
from service.edge import Api, Edge
from service.pages import docs as pages
from service.pages import status
from service.protocols import first_message as live_routes
from service.protocols.aliyun import rest as aliyun_rest
from service.protocols.openai import realtime as realtime_ws
from service.protocols.openai import transcriptions as openai
from service.protocols.qwen import live as qwen_ws
from service.recordings.transcribe import Transcriber
from service.serving import Serving
from service.settings import Settings

VERSION = "0.1.0"

# Whose paths are whose: the first that fits says whether a key is asked for and what a failure looks like.
_APIS = (
    Api("/stream/v1/asr/health", aliyun_rest.error_response),
    Api("/stream", aliyun_rest.error_response, nls_token),
    Api("/v1", openai.error_response, bearer_key),
    Api("", openai.error_response),
)
# The same for WebSockets, of which every one needs a key.
_LIVE_APIS = (
    Api("/v1", openai.error_response, realtime_key),
    Api(qwen_ws.PATH, qwen_ws.error_response, nls_token),
    Api("", aliyun_rest.error_response, nls_token),
)


def create_app(transcriber: Transcriber, settings: Settings) -> FastAPI:
    """The app, to be mounted at the root. BentoML keeps /livez, /healthz, /readyz, /metrics and its own schemas."""
    app = FastAPI(
        title="Speech recognition service",
        version=VERSION,
        description="Self-hosted speech recognition: recordings in, punctuated text with times out.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.serving = Serving(
        transcriber,
        AdmissionQueue(settings.max_queue_audio_sec),
        LiveSessions(settings.max_live_sessions),
        settings,
        started_at=int(time.time()),
    )
    # Edge checks the keys, before anything else; here they are only documented.
    bearer = Security(HTTPBearer(auto_error=False))
    nls_header = Security(APIKeyHeader(name="X-NLS-Token", auto_error=False))
    nls_query = Security(APIKeyQuery(name="token", auto_error=False))
    app.include_router(openai.router, dependencies=[bearer] if settings.api_key else [])
    app.include_router(aliyun_rest.router, dependencies=[nls_header, bearer, nls_query] if settings.api_key else [])
    app.include_router(aliyun_rest.health_router)
    app.include_router(live_routes.router)
    app.include_router(qwen_ws.router)
    app.include_router(realtime_ws.router)
    app.include_router(pages.router)
    app.include_router(status.router)
    app.mount("/static", pages.static_files)
    app.router.routes.append(_NoSuchRoute())
    app.add_exception_handler(HTTPException, _leave_to_edge)
    app.add_middleware(Edge, keys=settings.api_key, apis=_APIS, live_apis=_LIVE_APIS)
    return app


async def _leave_to_edge(_: Request, error: Exception) -> NoReturn:
    """FastAPI would answer these in an envelope of its own."""
    raise error


class _NoSuchRoute(BaseRoute):
    """Answers what nothing else does. It matches in part only, so any other match comes first: a known path
    with another method is a 405, and BentoML's own routes beside this app are found.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.NONE if scope["type"] == "lifespan" else Match.PARTIAL), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise HTTPException(404, f"There is no {scope.get('method', 'WebSocket')} {scope['path'][:200]}")
