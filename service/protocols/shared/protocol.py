"""Says what the app must know of a protocol to serve it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Security
from fastapi.security import APIKeyHeader, APIKeyQuery, HTTPBearer

from service.edge import PathRules
from service.jobs.jobs import Describe

# Where a key may be, as the OpenAPI document has it; service/auth.py reads them.
KEYS = (
    Security(HTTPBearer(auto_error=False)),
    Security(APIKeyHeader(name="X-NLS-Token", auto_error=False)),
    Security(APIKeyHeader(name="api-key", scheme_name="api-key", auto_error=False)),
    Security(APIKeyQuery(name="token", auto_error=False)),
)


@dataclass(frozen=True, slots=True)
class Protocol:
    """Describes a protocol that clients speak.

    Attributes:
        router: Its routes.
        rules: Which paths are its own, how a failure looks there, and where a caller's key is.
        documented_keys: Ways to bring a key, as the OpenAPI document has them where a key is asked for.
        callbacks: What the end of a job is told as, by the dialect that brought the job.
    """

    router: APIRouter
    rules: tuple[PathRules, ...]
    documented_keys: Sequence[Any] = ()
    callbacks: Mapping[str, Describe] = field(default_factory=dict)
