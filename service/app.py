"""Makes the app that clients talk to: the protocols' routes, the HTTP edge around them, documentation pages."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.edge import Edge, PathRules
from service.jobs.job import Job
from service.jobs.jobs import Jobs
from service.pages import docs, status
from service.protocols import PROTOCOLS
from service.protocols.openai.transcriptions_response import error_response
from service.serving import Serving

VERSION = "0.1.0"

_API_PREFIXES = ("/v1", "/stream", "/api/")
_ELSEWHERE = re.compile(
    r"^(?:/openai/deployments/[^/]+|/openai/v1|/openai|/v1/v1)?(?=/(?:audio/trans|models(?:/|$)|realtime$))"
)

# Whatever is no protocol's: pages for people, and paths that don't exist.
_OTHERS = PathRules("", error_response)


def create_app(serving: Serving) -> FastAPI:
    """Makes the app, to be mounted at the root.

    BentoML keeps /livez, /healthz, /readyz, /metrics and its schemas.
    """
    app = FastAPI(
        title="Speech recognition service",
        version=VERSION,
        description="Self-hosted speech recognition: recordings in, punctuated text with times out.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lambda _: serving.working(_describe_end),
        # Beside the document, so that Swagger's "Try it out" stays below a prefix that a proxy has put before it.
        servers=[{"url": "."}],
    )
    app.state.serving = serving
    for protocol in () if serving.settings.role == "worker" else PROTOCOLS:
        # Edge checks the keys, before anything else; here they are only documented.
        app.include_router(protocol.router, dependencies=protocol.documented_keys if serving.settings.api_key else [])
    app.include_router(docs.router)
    app.include_router(status.router)
    app.mount("/static", docs.static_files)
    app.router.routes.append(_NoSuchRoute())
    app.add_exception_handler(HTTPException, _leave_to_edge)
    app.add_exception_handler(RequestValidationError, _leave_to_edge)
    rules = [_OTHERS, *(rules for protocol in PROTOCOLS for rules in protocol.rules)]
    settings = serving.settings
    app.add_middleware(
        Edge,
        keys=settings.api_key,
        rules=rules,
        websockets=serving.websockets,
        access_key=settings.aliyun_access_key,
    )
    app.add_middleware(UsualPaths)  # around the edge, which checks keys by the path
    return app


async def _describe_end(jobs: Jobs, job: Job) -> dict[str, Any]:
    """Describes a job that has ended, in the dialect that brought it."""
    dialect = job.request.dialect
    describe = next(p.callbacks[dialect] for p in PROTOCOLS if dialect in p.callbacks)
    return await describe(jobs, job)


class UsualPaths:
    """Leads the paths that clients make of a base URL to those there are, as ASGI middleware; HEAD to GET's answer.

    ``/audio/transcriptions``, ``/v1/v1/models``, Azure's ``/openai/deployments/NAME/audio/transcriptions`` and
    ``/openai/v1/realtime`` are below ``/v1``; of the protocols' paths doubled slashes and one at the end mean nothing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, by its usual path."""
        if scope["type"] in ("http", "websocket"):
            root: str = scope.get("root_path", "")
            path = usual_path(scope["path"].removeprefix(root), live=scope["type"] == "websocket")
            scope = {**scope, "path": root + path}
        if scope.get("method") == "HEAD":
            scope["method"], send = "GET", _without_body(send)
        await self._app(scope, receive, send)


def usual_path(path: str, *, live: bool = False) -> str:
    """Returns the path that a client means; ``live``: with a WebSocket."""
    plain = re.sub("/{2,}", "/", path)
    plain = plain.rstrip("/") or "/"
    plain = _ELSEWHERE.sub("/v1", plain, count=1)
    # Pages stay where they are: what they load lies relative to them.
    return plain if live or plain.startswith(_API_PREFIXES) else path


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_head


async def _leave_to_edge(_: Request, error: Exception) -> NoReturn:
    """Passes an error on, which FastAPI would answer in an envelope of its own."""
    raise error


class _NoSuchRoute(BaseRoute):
    """Answers what nothing else does.

    It matches in part only, so any other match comes first: a known path with another method is a 405, and BentoML's
    own routes beside this app are found.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.NONE if scope["type"] == "lifespan" else Match.PARTIAL), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise HTTPException(404, f"There is no {scope.get('method', 'WebSocket')} {scope['path'][:200]}")
