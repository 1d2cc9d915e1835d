"""Requests drawn from the OpenAPI document: no server error, and answers as documented."""

from __future__ import annotations

import httpx
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.e2e.conftest import KEY
from tests.e2e.server import Served

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")  # tus names it so
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


def test_answers_are_as_documented(server: Served) -> None:
    schema = schemathesis.openapi.from_dict(httpx.get(f"{server.url}/openapi.json", timeout=10).json())
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) >= 4
    for operation in operations:
        answers_as_documented(operation, server)


def answers_as_documented(operation: schemathesis.schemas.APIOperation, server: Served) -> None:
    @given(case=operation.as_strategy())
    @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def request(case: schemathesis.Case) -> None:
        case.call_and_validate(
            base_url=server.url, headers={"Authorization": f"Bearer {KEY}"}, checks=list(CHECKS), timeout=60
        )

    request()
