"""VadRunner: silence scores for blocks of audio, batched over all recordings being decoded."""

from __future__ import annotations

import logging

import bentoml
import numpy as np

from runners import logs
from runners.draining import outlive_service
from runners.interface import VadBlock, VadOptions
from runners.runtime import RUNNER_CONFIG, Engines, fix_media_types, settings

log = logging.getLogger(__name__)


@bentoml.service(name="VadRunner", workers=1, **RUNNER_CONFIG)
class VadRunner:
    """Hosts the VAD of every enabled model."""

    def __init__(self) -> None:
        from runners.engines.vad import VadEngine

        self._engines = Engines("vad", lambda directory, device: VadEngine(directory, device=device))
        outlive_service()

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=60_000)
    def score(self, blocks: list[VadBlock]) -> list[np.ndarray]:
        """Per block, the probability of silence of each of its frames."""
        results: list[np.ndarray] = [np.empty(0, np.float32)] * len(blocks)
        with logs.for_requests(block.request_id for block in blocks):
            log.debug("a batch of %d blocks", len(blocks))
            for engine, positions in self._engines.by_model([b.model for b in blocks]):
                for position, scores in zip(positions, engine.score([blocks[p] for p in positions]), strict=True):
                    results[position] = scores
        return results

    @bentoml.api
    def options(self) -> dict[str, VadOptions]:
        """How each model's scores become regions."""
        return {model: self._engines.get(model).options for model in settings().enabled_models}


fix_media_types(VadRunner)
