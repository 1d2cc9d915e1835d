"""A service of the real one's shape, without models: an API process and one runner. STUB_FAILS fails its start."""

from __future__ import annotations

import os
import time
from typing import Any

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from runners.kit.draining import outlive_service
from runners.store import ModelFilesMissingError

_instance: Any = None


@bentoml.service(name="StubRunner")
class StubRunner:
    def __init__(self) -> None:
        if os.environ.get("STUB_FAILS"):
            raise ModelFilesMissingError("stub needs its asr part.\nLooked in:\n  - nowhere")
        outlive_service()

    @bentoml.api
    def double(self, number: int) -> int:
        time.sleep(0.5)
        return 2 * number


async def _double_four_times(request: Request) -> PlainTextResponse:
    number = 1
    for _ in range(4):
        number = await _instance.runner.to_async.double(number)
    return PlainTextResponse(str(number))


async def _log_a_lot(request: Request) -> PlainTextResponse:
    print("x" * 2**20, flush=True)
    return PlainTextResponse("logged")


# BentoML's own readiness probe hangs for as long as this limit if it came before the runner was there.
@bentoml.service(name="ASRService", workers=1, traffic={"timeout": 10})
@bentoml.asgi_app(Starlette(routes=[Route("/work", _double_four_times), Route("/log", _log_a_lot)]), path="/")
class ASRService:
    runner = bentoml.depends(StubRunner)

    def __init__(self) -> None:
        global _instance
        _instance = self
