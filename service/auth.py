"""Decides by its API key whether a caller may come in, whatever protocol carries the key."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from service.errors import InvalidKey


def check_key(keys: Sequence[SecretStr], presented: bytes | None) -> None:
    """Passes when no keys are configured or ``presented`` is one of them.

    Every key is compared, in constant time, so that timing tells nothing about any of them.

    Raises:
        InvalidKey: otherwise; the message does not repeat what was presented.
    """
    if not keys:
        return
    if presented is None:
        raise InvalidKey("An API key is needed: send it as `Authorization: Bearer KEY`.")
    matches = [hmac.compare_digest(key.get_secret_value().encode(), presented) for key in keys]
    if not any(matches):
        raise InvalidKey("The API key is not valid.")


def identity(keys: Sequence[SecretStr], presented: bytes | None) -> str:
    """Returns what a key's holder is known by where things of theirs are kept; "" where no key is asked for."""
    return hashlib.sha256(presented).hexdigest()[:32] if keys and presented else ""


def caller(connection: HTTPConnection) -> str:
    """Returns the identity of whoever makes a request, which the edge has let in."""
    found: str = connection.scope.get("caller", "")
    return found


def presented_key(connection: HTTPConnection) -> bytes | None:
    """Returns the key that a caller brings, in the bytes it was sent as; None without one.

    The first of these counts: ``X-NLS-Token`` (Alibaba Cloud's clients), ``Authorization: Bearer KEY``, ``api-key``
    (Azure's), ``x-api-key``, ``?token=``, and a subprotocol ``openai-insecure-api-key.KEY`` (OpenAI's in browsers,
    which can't set headers).
    """
    headers, query = connection.headers, connection.query_params
    for key in (headers.get("x-nls-token"), _bearer_key(headers), headers.get("api-key"), headers.get("x-api-key")):
        if key and key.strip():
            return key.strip().encode("latin-1")  # the bytes as they were sent: headers are read as latin-1
    if query.get("token"):
        return query["token"].encode()
    prefix = "openai-insecure-api-key."
    offered: list[str] = connection.scope.get("subprotocols", [])
    keys = [name.removeprefix(prefix) for name in offered if name.startswith(prefix)]
    return keys[0].encode() if keys else None


def _bearer_key(headers: Headers) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key if scheme.lower() == "bearer" else None
