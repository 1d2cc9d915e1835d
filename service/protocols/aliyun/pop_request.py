"""Reads a call of Alibaba Cloud's RPC style (POP), and decides whether its caller may make it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request

from service.errors import InvalidRequest, ServiceError
from service.intake.uploads import receive_fields
from service.protocols.aliyun.signature import check_signature
from service.serving import serving_of


@dataclass(frozen=True, slots=True)
class Call:
    """Holds a call that has been let in.

    Attributes:
        request: What it came by; its body has been read.
        action: What it asks for.
        parameters: Those of the query and of the form together, as they were signed.
    """

    request: Request
    action: str
    parameters: Mapping[str, str]


async def read_call(request: Request) -> Call:
    """Reads a call and checks its signature.

    With an AccessKey pair in the settings it must be signed with that; with API keys and no pair it is refused; with
    neither anything is let in.

    Raises:
        ServiceError: it can't be read, or its caller may not make it, with the cloud's code where it has one.
    """
    pairs = [*request.query_params.multi_items(), *await receive_fields(request)]
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise InvalidRequest("A parameter was given more than once.")
    serving = serving_of(request)
    access_key = serving.settings.aliyun_access_key
    if access_key is not None:
        check_signature(request.method, parameters, access_key, serving.nonces)
        request.scope["caller"] = access_key.identity if serving.settings.api_key else ""
    elif serving.settings.api_key:
        raise ServiceError(
            "This service has no AccessKey pair: set ALIYUN_ACCESS_KEY_ID and ALIYUN_ACCESS_KEY_SECRET, and give the "
            "client the same.",
            status=404,
            code="InvalidAccessKeyId.NotFound",
        )
    action = parameters.get("Action")
    if not action:
        raise ServiceError("Action is mandatory: send it in the query.", status=400, code="MissingAction")
    return Call(request, action, parameters)
