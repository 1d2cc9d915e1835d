"""Composes ASRService, the one service that clients see, of the protocols' app and the model runners."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

import bentoml
import uvicorn.config
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from runners import catalog, gpu
from runners.campplus.runner import CampplusRunner
from runners.paraformer.runner import ParaformerRunner
from runners.paraformer_streaming.runner import ParaformerStreamingRunner
from runners.qwen3.runner import Qwen3Runner
from runners.vad.runner import VadRunner
from service.settings import settings

if TYPE_CHECKING:
    from service.inference import Runners
    from service.serving import Serving

log = logging.getLogger(__name__)
_settings = settings()
_needed = {runner for name in _settings.enabled_models for runner in catalog.models()[name].family.runners}


class _App(Starlette):
    """The app that clients talk to, made where it is served.

    BentoML imports this module in each runner's process, too, where the app would only take 100 MB and a second.
    """

    def __init__(self) -> None:
        pass  # what a Starlette has is the made app's: __getattr__

    @functools.cached_property
    def serving(self) -> Serving:
        from service.serving import Serving

        return Serving(_settings)

    @functools.cached_property
    def _made(self) -> Starlette:
        from runners import logs
        from service.app import create_app

        logs.configure(_settings.log_level, _settings.log_format)
        memory_gb = gpu.memory_gb()
        on = "no GPU" if memory_gb is None else f"a GPU of {memory_gb:.1f} GiB"
        log.info("models: %s, on %s", ", ".join(_settings.enabled_models), on)
        return create_app(self.serving)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._made(scope, receive, send)


app = _App()
# BentoML has no option for them, and uvicorn reads them before the app is asked for anything.
uvicorn.config.HTTP_PROTOCOLS["auto"] = "service.server:HttpProtocol"
uvicorn.config.WS_PROTOCOLS["auto"] = "service.server:LiveWebSocketProtocol"


# One process: admission control counts in it. It computes little; the runners do.
@bentoml.service(
    name="ASRService",
    workers=1,
    # Time limits are the service's own: BentoML's would cut off an answer that takes long to begin.
    traffic={"timeout": 7 * 24 * 3600},
    runner_connection={"max_requests": 10**9, "max_age": 1e9},
    # BentoML's probe raises while a runner is away, and its request then stays open as long as the time
    # limit above, which also keeps the process from ending; __is_ready__ answers instead.
    runner_probe={"enabled": False},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(app, path="/")
class ASRService:
    """Recognises speech over the OpenAI Audio API and Alibaba Cloud's REST API."""

    vad = bentoml.depends(VadRunner)
    campplus = bentoml.depends(CampplusRunner)
    # Only what the enabled models' families need is started.
    paraformer = bentoml.depends(ParaformerRunner) if "paraformer" in _needed else None
    streaming = (
        bentoml.depends(ParaformerStreamingRunner) if "streaming" in _needed and _settings.role != "worker" else None
    )
    qwen3 = bentoml.depends(Qwen3Runner) if "qwen3" in _needed else None

    def __init__(self) -> None:
        from service.audio.decoders import decoders
        from service.inference import proxies
        from service.observability import start_tracing

        start_tracing(_settings.otel_exporter_otlp_endpoint)
        decoders.warm()
        self._runners: Runners = proxies(self, _settings.asr_workers)
        app.serving.bind(self._runners)

    async def __is_ready__(self) -> bool:
        return await self._runners.ready()

    @bentoml.on_shutdown
    def _send_last_spans(self) -> None:
        from service.observability import stop_tracing

        stop_tracing()
