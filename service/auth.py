"""Decides by its API key whether a caller may come in, whatever protocol carries the key."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from pydantic import SecretStr
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


def bearer_key(connection: HTTPConnection) -> bytes | None:
    """Returns the key of an ``Authorization: Bearer KEY`` header, in the bytes it was sent as; None without one."""
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    return key.strip().encode("latin-1") or None  # the bytes as they were sent: headers are read as latin-1


def nls_token(connection: HTTPConnection) -> bytes | None:
    """Returns the key as Alibaba Cloud's clients bring it: ``X-NLS-Token``, else a bearer key, else ``?token=``."""
    header = connection.headers.get("x-nls-token", "").strip().encode("latin-1")
    return header or bearer_key(connection) or connection.query_params.get("token", "").encode() or None


def realtime_key(connection: HTTPConnection) -> bytes | None:
    """Returns the key that ``nls_token`` finds, or that of a subprotocol ``openai-insecure-api-key.KEY``.

    OpenAI's clients in browsers bring it so, which can't set headers.
    """
    prefix = "openai-insecure-api-key."
    offered: list[str] = connection.scope.get("subprotocols", [])
    keys = [name.removeprefix(prefix) for name in offered if name.startswith(prefix)]
    return nls_token(connection) or (keys[0].encode() if keys else None)
