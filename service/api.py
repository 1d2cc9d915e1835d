"""ASRService: the one service that clients see, composed of the protocols' app and the model runners."""

from __future__ import annotations

import bentoml

from runners import catalog, logs
from runners.campplus.runner import CampplusRunner
from runners.paraformer.runner import ParaformerRunner
from runners.paraformer_streaming.runner import ParaformerStreamingRunner
from runners.qwen3.runner import Qwen3Runner
from runners.vad.runner import VadRunner
from service.app import create_app
from service.inference import proxies
from service.observability import start_tracing, stop_tracing
from service.serving import Serving
from service.settings import settings
from service.websocket import install

_settings = settings()
logs.configure(_settings.log_level, _settings.log_format)
serving = Serving(_settings)
app = create_app(serving)
install()
_needed = {runner for name in _settings.enabled_models for runner in catalog.models()[name].family.runners}


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
    """Speech recognition over the OpenAI Audio API and Alibaba Cloud's REST API."""

    vad = bentoml.depends(VadRunner)
    campplus = bentoml.depends(CampplusRunner)
    # Only what the enabled models' families need is started.
    paraformer = bentoml.depends(ParaformerRunner) if "paraformer" in _needed else None
    streaming = bentoml.depends(ParaformerStreamingRunner) if "streaming" in _needed else None
    qwen3 = bentoml.depends(Qwen3Runner) if "qwen3" in _needed else None

    def __init__(self) -> None:
        start_tracing(_settings.otel_exporter_otlp_endpoint)
        self._runners = proxies(self)
        serving.bind(self._runners)

    async def __is_ready__(self) -> bool:
        return await self._runners.ready()

    @bentoml.on_shutdown
    def _send_last_spans(self) -> None:
        stop_tracing()
