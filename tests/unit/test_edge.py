"""The HTTP edge around an app: ids, keys, the envelope, refusals before the body, clients that go away."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from service import edge
from service.admission import Bound
from service.auth import presented_key
from service.edge import Edge, PathRules
from service.errors import QueueFull, RecognitionFailed, ServiceError
from service.intake.disconnect import unless_disconnected
from service.observability import request_id
from service.protocols.openai.transcriptions_response import error_response

App = Callable[[Scope, Receive, Send], Awaitable[None]]
RULES = (
    PathRules("/v1", error_response, presented_key),
    PathRules("", error_response),
    PathRules("", error_response, presented_key, live=True),
)


class Client:
    """One HTTP exchange with an ASGI app. ``body``: the chunks that the client is willing to send."""

    def __init__(self, *body: bytes) -> None:
        self.sent: list[Message] = []
        self.left = list(body)

    async def receive(self) -> Message:
        if not self.left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self.left.pop(0), "more_body": bool(self.left)}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def ask(
        self,
        app: App,
        path: str = "/v1/x",
        headers: dict[str, str] | None = None,
        *,
        rules: Sequence[PathRules] = RULES,
        **scope: Any,
    ) -> int:
        raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        request = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": raw, **scope}
        asyncio.run(Edge(app, [SecretStr("key")], rules, Bound(1, "WebSockets"))(request, self.receive, self.send))  # type: ignore[arg-type]
        status: int = self.sent[0]["status"]
        return status

    def open(self, app: App, headers: dict[str, str] | None = None, **scope: Any) -> None:
        """Asks for a WebSocket."""
        raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        extensions: dict[str, Any] = {"websocket.http.response": {}}
        request = {
            "type": "websocket",
            "path": "/x",
            "query_string": b"",
            "headers": raw,
            "extensions": extensions,
            **scope,
        }
        asyncio.run(Edge(app, [SecretStr("key")], RULES, Bound(1, "WebSockets"))(request, self.receive, self.send))

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(b"".join(m["body"] for m in self.sent[1:]))["error"]
        return error


KEY = {"authorization": "Bearer key"}


async def ok(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-seen", request_id.get().encode())]})
    await send({"type": "http.response.body", "body": b"ok"})


def failing(error: Exception) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return app


def test_a_sane_request_id_is_kept_and_seen_inside() -> None:
    client = Client()
    assert client.ask(ok, headers={**KEY, "x-request-id": "abc-1"}) == 200
    assert client.headers["x-request-id"] == client.headers["x-seen"] == "abc-1"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "é"])
def test_another_request_id_is_replaced(given: str) -> None:
    client = Client()
    client.ask(ok, headers={**KEY, "x-request-id": given})
    assert client.headers["x-request-id"] not in ("", "-", given)


@pytest.mark.parametrize("path", ["/v1", "/v1/models", "/v1/no/such"])
def test_everything_protected_needs_a_key_before_a_byte_is_read(path: str) -> None:
    client = Client(b"the body")
    assert client.ask(ok, path, {"content-length": "0"}) == 401
    assert client.left == [b"the body"]
    assert client.error["code"] == "invalid_api_key"
    assert client.headers["www-authenticate"] == "Bearer"


def test_a_proxys_prefix_opens_nothing() -> None:
    assert Client().ask(ok, "/asr/v1/models", root_path="/asr") == 401


@pytest.mark.parametrize("path", ["/", "/docs", "/v10", "", "*"])
def test_other_paths_need_no_key(path: str) -> None:
    assert Client().ask(ok, path) == 200


def test_a_wrong_key_is_not_echoed() -> None:
    client = Client()
    assert client.ask(ok, headers={"authorization": "Bearer s3cret-guess"}) == 401
    assert "s3cret" not in str(client.sent)


def test_the_longest_prefix_that_fits_a_path_says_what_a_failure_looks_like_and_where_the_key_is() -> None:
    def plain(failure: ServiceError) -> Response:
        return Response(failure.code, failure.status)

    rules = (
        PathRules("/a", plain, lambda connection: connection.headers.get("k", "").encode()),
        PathRules("/a/open", plain),
        PathRules("", error_response),
    )
    client = Client()
    assert client.ask(failing(QueueFull("full", retry_after_s=7)), "/a/open", rules=rules) == 429
    assert (client.headers["retry-after"], client.sent[-1]["body"]) == ("7", b"queue_full")
    assert Client().ask(ok, "/a/b", rules=rules) == 401
    assert Client().ask(ok, "/a/b", {"k": "key"}, rules=rules) == 200
    other = Client()
    assert other.ask(failing(QueueFull("full")), "/ab", rules=rules) == 429
    assert other.error["code"] == "queue_full"


def test_a_failure_has_its_status_and_the_envelope() -> None:
    client = Client()
    assert client.ask(failing(QueueFull("full", param="file", retry_after_s=7)), headers=KEY) == 429
    assert client.headers["retry-after"] == "7"
    assert client.error == {"message": "full", "type": "rate_limit_error", "param": "file", "code": "queue_full"}


@pytest.mark.parametrize("error", [KeyError("secret detail"), HTTPException(500, "oops"), RecognitionFailed("failed")])
def test_a_failure_of_ours_has_a_request_id_and_no_detail(error: Exception) -> None:
    client = Client()
    assert client.ask(failing(error), headers={**KEY, "x-request-id": "id-9"}) == 500
    assert "id-9" in client.error["message"]
    assert client.error["type"] == "server_error"
    assert "secret" not in str(client.sent)


def test_an_unexpected_failure_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        Client().ask(failing(KeyError("detail")), headers=KEY)
    assert "KeyError" in caplog.text


def test_a_client_that_left_still_ends_the_exchange() -> None:
    assert Client().ask(failing(ClientDisconnect()), headers=KEY) == 499


def test_a_client_that_leaves_a_stream_is_no_failure() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ClientDisconnect

    client = Client()
    client.ask(app, headers=KEY)
    assert len(client.sent) == 1


def test_after_the_response_has_begun_a_failure_breaks_it_off() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError

    with pytest.raises(KeyError):
        Client().ask(app, headers=KEY)


def test_a_refusal_before_the_end_of_the_body_is_answered_at_once_and_closes_the_connection() -> None:
    client = Client(b"a", b"b", b"c")
    client.ask(failing(ServiceError("no")), headers={**KEY, "content-length": "3"})
    assert client.headers["connection"] == "close"
    assert [m.get("more_body", False) for m in client.sent[1:]] == [True, False]
    assert client.error["message"].startswith("no")
    assert client.left == []  # what was still on its way is taken off the wire


def test_a_client_that_never_stops_sending_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "_LINGER_S", 0.0)

    async def never() -> Message:
        return await asyncio.get_running_loop().create_future()

    client = Client(b"a")
    client.receive = never  # type: ignore[method-assign]
    assert client.ask(failing(ServiceError("no")), headers={**KEY, "transfer-encoding": "chunked"}) == 500
    assert client.sent[-1].get("more_body", False) is False


def test_a_connection_whose_body_was_read_stays_open() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await ok(scope, receive, send)

    client = Client(b"all")
    client.ask(app, headers={**KEY, "content-length": "3"})
    assert "connection" not in client.headers
    assert len(client.sent) == 2


def test_work_is_cancelled_when_the_client_leaves() -> None:
    cancelled = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.append(True)

    with pytest.raises(ClientDisconnect):
        asyncio.run(unless_disconnected(Client(b"rest").receive, work()))
    assert cancelled


def test_work_ends_as_it_ends_while_the_client_waits() -> None:
    async def never() -> Message:
        return await asyncio.get_running_loop().create_future()

    async def work(error: Exception | None) -> str:
        if error:
            raise error
        return "done"

    assert asyncio.run(unless_disconnected(never, work(None))) == "done"
    with pytest.raises(ServiceError):
        asyncio.run(unless_disconnected(never, work(ServiceError("no"))))


# WebSockets


async def conversing(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": request_id.get()})


def test_a_websocket_is_accepted_with_a_key_and_has_an_id() -> None:
    client = Client()
    client.open(conversing, {**KEY, "x-request-id": "id-1"})
    assert [message["type"] for message in client.sent] == ["websocket.accept", "websocket.send"]
    assert client.sent[1]["text"] == "id-1"


def test_a_websocket_without_a_key_is_refused_before_it_is_accepted() -> None:
    client = Client()
    client.open(conversing)
    assert [message["type"] for message in client.sent[:1]] == ["websocket.http.response.start"]
    assert client.sent[0]["status"] == 401
    assert client.error["code"] == "invalid_api_key"


def test_a_server_that_can_refuse_only_in_general_does_that() -> None:
    client = Client()
    client.open(conversing, extensions={})
    assert client.sent == [{"type": "websocket.close"}]


def test_a_websocket_that_nobody_serves_is_not_found() -> None:
    client = Client()
    client.open(failing(HTTPException(404, "no such path")), KEY)
    assert client.sent[0]["status"] == 404


def test_an_accepted_websocket_is_its_protocols_to_fail() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await conversing(scope, receive, send)
        raise KeyError

    with pytest.raises(KeyError):
        Client().open(app, KEY)


def test_a_websocket_too_many_is_refused_before_it_is_accepted_and_one_that_ends_makes_room() -> None:
    async def run() -> list[Message]:
        resting, ended = asyncio.Event(), asyncio.Event()

        async def rest(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "websocket.accept"})
            resting.set()
            await ended.wait()

        app = Edge(rest, [], RULES, Bound(1, "WebSockets"))
        scope = {"type": "websocket", "path": "/x", "query_string": b"", "headers": []}
        scope["extensions"] = {"websocket.http.response": {}}  # type: ignore[assignment]
        clients = [Client(), Client(), Client()]
        first = asyncio.create_task(app(scope, clients[0].receive, clients[0].send))
        await resting.wait()
        await app(scope, clients[1].receive, clients[1].send)
        ended.set()
        await first
        await app(scope, clients[2].receive, clients[2].send)
        return [client.sent[0] for client in clients]

    accepted, refused, later = asyncio.run(run())
    assert accepted["type"] == later["type"] == "websocket.accept"
    assert (refused["type"], refused["status"]) == ("websocket.http.response.start", 429)
    assert b"retry-after" in dict(refused["headers"])
