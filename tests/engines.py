"""The real runners without BentoML between: what tests of recordings and live sessions run on."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
from typing import Any

# One model pack for every test of the process, whatever the caller's environment says.
os.environ["ENABLED_MODELS"] = "demo"

from runners import catalog
from runners.campplus.runner import CampplusRunner
from runners.paraformer.runner import ParaformerRunner
from runners.paraformer_streaming.runner import ParaformerStreamingRunner
from runners.qwen3.runner import Qwen3Runner
from runners.vad.runner import VadRunner
from service.inference import Runners

DEMO = "paraformer-demo"
DEMO_MODEL = catalog.models()[DEMO]
QWEN3_DEMO = "qwen3-asr-demo"


class AsyncProxy:
    """A runner's methods as coroutines, as BentoML's proxies offer them."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._runner, name)

        async def call(*args: Any) -> Any:
            found = await asyncio.to_thread(method, *args)
            return await found if inspect.isawaitable(found) else found

        return call


@functools.cache
def runner_instances() -> tuple[Any, Any, Any, Any]:
    return VadRunner(), ParaformerRunner(), CampplusRunner(), ParaformerStreamingRunner()


@functools.cache
def qwen3_runner() -> Any:
    return Qwen3Runner()


class LateQwen3:
    """The proxy of a Qwen3Runner that is loaded when it is first asked: most tests never do."""

    def __getattr__(self, name: str) -> Any:
        if not hasattr(Qwen3Runner.inner, name):
            raise AttributeError(name)

        async def call(*args: Any) -> Any:
            return await getattr(qwen3_runner(), name)(*args)

        return call


def in_process_runners() -> Runners:
    vad, paraformer, campplus, streaming = map(AsyncProxy, runner_instances())
    return Runners(vad=vad, paraformer=paraformer, campplus=campplus, streaming=streaming, qwen3=LateQwen3())
