"""Makes the app that clients talk to: the protocols' routes, the HTTP edge around them, documentation pages."""

from __future__ import annotations

from typing import NoReturn

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from service.edge import Edge, PathRules
from service.pages import docs, status
from service.protocols import PROTOCOLS
from service.protocols.openai.transcriptions_response import error_response
from service.serving import Serving

VERSION = "0.1.0"

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
        # Beside the document, so that Swagger's "Try it out" stays below a prefix that a proxy has put before it.
        servers=[{"url": "."}],
    )
    app.state.serving = serving
    for protocol in PROTOCOLS:
        # Edge checks the keys, before anything else; here they are only documented.
        app.include_router(protocol.router, dependencies=protocol.documented_keys if serving.settings.api_key else [])
    app.include_router(docs.router)
    app.include_router(status.router)
    app.mount("/static", docs.static_files)
    app.router.routes.append(_NoSuchRoute())
    app.add_exception_handler(HTTPException, _leave_to_edge)
    rules = [_OTHERS, *(rules for protocol in PROTOCOLS for rules in protocol.rules)]
    app.add_middleware(Edge, keys=serving.settings.api_key, rules=rules)
    return app


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
