"""Gives requests their ids, checks API keys and tells every failure in its API's envelope: the HTTP edge.

Streaming responses are left alone. WebSockets get an id too, are counted, and are refused here before they are
accepted; what fails later is their protocol's to tell.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import SecretStr
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.admission import Bound
from service.auth import AccessKey, check_key, identity
from service.errors import InvalidKey, ServiceError
from service.failures import failure_of
from service.observability import request_id, tracing_request

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
# How long what a refused client still sends is thrown away before the connection is closed: a client
# that is cut off while it sends may never read the answer.
_LINGER_S = 2.0


@dataclass(frozen=True, slots=True)
class PathRules:
    """Says what holds for the paths below a prefix; where several fit, the longest prefix counts.

    Attributes:
        prefix: Where the paths begin, such as ``/v1``; "" fits every path, "/" that one alone.
        error_response: Tells a failure in the envelope of these paths.
        presented_key: Finds the key that a caller brings; None where no key is asked for.
        live: Whether they hold for WebSockets, or else for HTTP.
    """

    prefix: str
    error_response: Callable[[ServiceError], Response]
    presented_key: Callable[[HTTPConnection], bytes | None] | None = None
    live: bool = False


class Edge:
    """Wraps the whole app, as ASGI middleware.

    Nothing raised here before the response has begun reaches BentoML, whose timeout middleware would
    keep the client waiting for a first byte until it expires.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: Sequence[SecretStr],
        rules: Sequence[PathRules],
        websockets: Bound,
        access_key: AccessKey | None = None,
    ) -> None:
        """Takes ``rules`` in any order; for HTTP and for WebSockets one of them has the prefix ""."""
        self._app = app
        self._keys = keys
        self._access_key = access_key
        self._rules = sorted(rules, key=lambda rule: -len(rule.prefix))
        self._websockets = websockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request or a WebSocket; anything else, such as the app's lifespan, goes straight to the app."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given_id = headers.get("x-request-id", "")
        token = request_id.set(given_id if _REQUEST_ID.fullmatch(given_id) else uuid.uuid4().hex)
        try:
            with tracing_request(scope.get("method", "WebSocket"), scope["path"], headers):
                if scope["type"] == "websocket":
                    await self._converse(scope, receive, send)
                else:
                    await self._answer(scope, _Exchange(headers, receive, send))
        finally:
            request_id.reset(token)

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        rules = self._rules_of(scope)
        accepted = False

        async def noting_acceptance(message: Message) -> None:
            nonlocal accepted
            accepted = accepted or message["type"] == "websocket.accept"
            await send(message)

        try:
            self._check_key(scope, rules)
            with self._websockets.admit():
                await self._app(scope, receive, noting_acceptance)
        except Exception as error:
            if accepted:
                raise
            if "websocket.http.response" not in scope.get("extensions", {}):
                await send({"type": "websocket.close"})  # told as 403
                return
            await _failure_response(rules, error)(scope, receive, send)

    def _rules_of(self, scope: Scope) -> PathRules:
        live = scope["type"] == "websocket"
        return next(rules for rules in self._rules if rules.live == live and _is_below(scope, rules.prefix))

    def _check_key(self, scope: Scope, rules: PathRules) -> None:
        if rules.presented_key is not None:
            presented = rules.presented_key(HTTPConnection(scope))
            check_key(self._keys, presented, self._access_key)
            scope["caller"] = identity(self._keys, presented, self._access_key)

    async def _answer(self, scope: Scope, exchange: _Exchange) -> None:
        rules = self._rules_of(scope)
        try:
            self._check_key(scope, rules)
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:  # the edge: what is not caught here hangs or shows a traceback
            if exchange.response_started:
                if isinstance(error, ClientDisconnect):
                    return
                raise
            await _failure_response(rules, error)(scope, exchange.receive, exchange.send)


def _failure_response(rules: PathRules, error: Exception) -> Response:
    response = rules.error_response(failure_of(error))
    response.headers.update(_headers_of(error))
    return response


def _is_below(scope: Scope, prefix: str) -> bool:
    # As the router sees it: without the prefix that a mount or a proxy has put before it.
    route_path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return not prefix or f"{route_path}/".startswith(f"{prefix}/")


class _Exchange:
    """Passes on a request, and its response with the request's id; ends well when the body was not read to its end."""

    def __init__(self, headers: Headers, receive: Receive, send: Send) -> None:
        self.response_started = False
        self._receive = receive
        self._send = send
        self._body_pending = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._body_pending = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.response_started = True
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            headers["X-Request-Id"] = request_id.get()
            if self._body_pending:
                headers["Connection"] = "close"
            await self._send({**message, "headers": headers.raw})
        elif message["type"] == "http.response.body" and self._body_pending and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._linger()
            await self._send({"type": "http.response.body", "body": b""})
        else:
            await self._send(message)

    async def _linger(self) -> None:
        deadline = time.monotonic() + _LINGER_S
        try:
            while self._body_pending:
                await asyncio.wait_for(self.receive(), deadline - time.monotonic())
        except asyncio.TimeoutError:
            pass


def _headers_of(error: Exception) -> dict[str, str]:
    """Returns what HTTP itself says of a failure, whatever the envelope."""
    if isinstance(error, HTTPException):
        return dict(error.headers or {})
    if isinstance(error, InvalidKey):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, ServiceError) and error.retry_after_s is not None:
        return {"Retry-After": str(error.retry_after_s)}
    return {}
