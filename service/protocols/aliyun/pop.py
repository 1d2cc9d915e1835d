"""Speaks Alibaba Cloud's RPC style (POP): signed calls to /, of which the parameter Action says what they ask for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, SecretStr
from starlette.routing import Match
from starlette.types import Scope

from service.auth import TOKEN_LIFE_S, AccessKey, Token
from service.errors import ServiceError
from service.observability import request_id
from service.protocols.aliyun.filetrans import get_task_result, submit_task
from service.protocols.aliyun.filetrans_request import FileTask
from service.protocols.aliyun.filetrans_response import TaskResultBody, TaskStatusBody
from service.protocols.aliyun.pop_request import Call, read_call
from service.protocols.aliyun.pop_response import PopFailureBody, TokenBody, TokenFields
from service.protocols.shared.fields import failures, field_schemas
from service.serving import serving_of


async def create_token(call: Call) -> TokenBody:
    """Makes a token that opens every route until it expires."""
    caller = call.parameters.get("AccessKeyId", "")
    # Without a pair nothing asks for a token; clients want one to go on with all the same.
    access_key = serving_of(call.request).settings.aliyun_access_key or AccessKey(caller, SecretStr(""))
    token = Token.of(access_key, int(time.time()) + TOKEN_LIFE_S)
    return TokenBody(
        Token=TokenFields(Id=token.text, ExpireTime=token.expires_at, UserId=caller), RequestId=request_id.get()
    )


# What calls may ask for: a new action is one more line, and one more body in the route's documentation.
ACTIONS: dict[str, Callable[[Call], Awaitable[BaseModel]]] = {
    "CreateToken": create_token,
    "SubmitTask": submit_task,
    "GetTaskResult": get_task_result,
}


class _CallRoute(APIRoute):
    """Leaves a plain GET to the page that is there for people."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and scope["method"] == "GET" and "Action" not in Request(scope).query_params:
            return Match.NONE, {}
        return super().matches(scope)


router = APIRouter(tags=["Alibaba Cloud RPC API"], route_class=_CallRoute)


def _parameters() -> list[dict[str, Any]]:
    described = {
        "Action": f"What is asked for: {', '.join(f'`{name}`' for name in ACTIONS)}.",
        "Version": "Of the product's API; accepted.",
        "TaskId": "Whose result is asked for, with `GetTaskResult`.",
        "AccessKeyId": "Of the pair that signs; it comes with `Signature`, `SignatureMethod` (`HMAC-SHA1`), "
        "`SignatureNonce`, `SignatureVersion` (`1.0`) and `Timestamp`, as the SDKs send them.",
    }
    return [
        {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in described.items()
    ]


def _form() -> dict[str, Any]:
    task = {
        "type": "string",
        "description": "With `SubmitTask`: what is to be transcribed, as JSON.",
        "contentMediaType": "application/json",
        "contentSchema": {"type": "object", "properties": field_schemas(FileTask)},
    }
    return {"application/x-www-form-urlencoded": {"schema": {"type": "object", "properties": {"Task": task}}}}


@router.get("/", include_in_schema=False)
@router.post(
    "/",
    summary="Call an action",
    response_model=TokenBody | TaskResultBody | TaskStatusBody,
    responses=failures(PopFailureBody, 400, 404, 408, 429, 500, 503, 507),
    openapi_extra={"parameters": _parameters(), "requestBody": {"content": _form()}},
)
async def call_action(request: Request) -> Response:
    """A call is signed with the AccessKey pair of the settings; parameters may be in the query or in a form."""
    call = await read_call(request)
    action = ACTIONS.get(call.action)
    if action is None:
        known = ", ".join(ACTIONS)
        raise ServiceError(f"There is no such action here; known: {known}.", status=404, code="InvalidAction.NotFound")
    body = await action(call)
    return Response(await asyncio.to_thread(body.model_dump_json), media_type="application/json")
