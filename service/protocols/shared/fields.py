"""Says what the HTTP protocols say alike of their fields: in the OpenAPI document, and when one is wrong."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ValidationError

from service.errors import InvalidRequest, UnsupportedSampleRate

_FAILURES = {
    400: "The request is wrong; the message names the field.",
    401: "The API key is missing or wrong.",
    403: "What is asked for is not done this way.",
    404: "There is no such model, or no such thing of yours.",
    408: "The upload has stalled.",
    409: "The `Idempotency-Key` came with another request before.",
    413: "The audio is too large or too long.",
    415: "The file is not audio that can be decoded.",
    429: "The queue is full; `Retry-After` says when to try again.",
    500: "The service failed; the message has the request id.",
    503: "Models are loading, or a runner is restarting; `Retry-After` says when to try again.",
    507: "There is no room for another recording.",
}


def failures(envelope: type[BaseModel], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Lists the failures that a route may answer with, as FastAPI's ``responses``."""
    return {status: {"model": envelope, "description": _FAILURES[status]} for status in statuses}


def field_schemas(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Returns the schema of each field, as OpenAPI wants it: inline, and without defaults that mean "absent"."""
    schemas: dict[str, dict[str, Any]] = model.model_json_schema()["properties"]
    for schema in schemas.values():
        schema.pop("title", None)
        if schema.get("default") in (None, "", []):
            schema.pop("default", None)
    return schemas


def invalid_field(error: ValidationError, within: str = "") -> InvalidRequest:
    """Tells the first problem, without the value; ``param`` is the field's name without brackets.

    ``within`` is where the fields stand; there ``param`` is the whole path.
    """
    problem = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, (within, *problem["loc"]))) if within else str(problem["loc"][0])
    param = place.removesuffix("[]")
    message = problem["msg"].removeprefix("Value error, ")
    kind = UnsupportedSampleRate if param == "sample_rate" else InvalidRequest
    return kind(f"`{param}`: {message}", param=param)


def json_object(text: str) -> dict[str, Any] | None:
    """Returns the JSON object that a text message is; None for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
