"""The app that clients talk to: protocols' routes, the HTTP edge around them, documentation pages."""

from __future__ import annotations

import time

from fastapi import FastAPI, Request, Response, Security
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from service.admission import AdmissionQueue
from service.edge import Edge, error_response, failure_of
from service.pipeline.transcribe import Transcriber
from service.protocols import openai, pages
from service.settings import Settings

VERSION = "0.1.0"


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
    app.state.serving = openai.Serving(
        transcriber, AdmissionQueue(settings.max_queue_audio_sec), settings, started_at=int(time.time())
    )
    # Edge checks the keys, before anything else; here they are only documented.
    documented_key = [Security(HTTPBearer(auto_error=False))] if settings.api_key else []
    app.include_router(openai.router, dependencies=documented_key)
    app.include_router(pages.router)
    app.mount("/static", pages.static_files)
    app.router.routes.append(_NoSuchRoute())
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_middleware(Edge, keys=settings.api_key, protected="/v1")
    return app


async def _answer_http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = error_response(failure_of(error))
    response.headers.update(error.headers or {})
    return response


class _NoSuchRoute(BaseRoute):
    """Answers what nothing else does. It matches in part only, so any other match comes first: a known path
    with another method is a 405, and BentoML's own routes beside this app are found.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.PARTIAL if scope["type"] == "http" else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise HTTPException(404, f"There is no {scope['method']} {scope['path'][:200]}")
