"""Hosts VadRunner: silence scores for blocks of audio, batched over all recordings being decoded."""

from __future__ import annotations

import logging
import time

import bentoml
import numpy as np

from runners import logs, store
from runners.interface import VadBlock, VadNetwork, VadOptions
from runners.kit.draining import outlive_service
from runners.kit.runtime import RUNNER_CONFIG, Engines, enabled_models, fix_media_types, settings
from runners.vad.engine import VadEngine

log = logging.getLogger(__name__)


@bentoml.service(name="VadRunner", workers=1, **RUNNER_CONFIG)
class VadRunner:
    """Hosts the VAD of every enabled model."""

    def __init__(self) -> None:
        logs.configure(settings().log_level, settings().log_format)
        engines = {}
        for model in enabled_models():
            started = time.monotonic()
            engines[model.id] = VadEngine(store.find_part(model, "vad", settings()))
            log.info("%s vad: loaded in %.1f s", model.id, time.monotonic() - started)
        self._engines = Engines(engines)
        outlive_service()

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=60_000)
    def score(self, blocks: list[VadBlock]) -> list[np.ndarray]:
        """Returns, per block, the probability of silence of each of its frames."""
        results: list[np.ndarray] = [np.empty(0, np.float32)] * len(blocks)
        with logs.for_requests(block.request_id for block in blocks):
            log.debug("a batch of %d blocks", len(blocks))
            for engine, positions in self._engines.by_model([b.model for b in blocks]):
                found = engine.score([blocks[p] for p in positions], threads=settings().asr_threads)
                for position, scores in zip(positions, found, strict=True):
                    results[position] = scores
        return results

    @bentoml.api
    def options(self) -> dict[str, VadOptions]:
        """How each model's scores become regions."""
        return {model: self._engines.get(model).options for model in settings().enabled_models}

    @bentoml.api
    def networks(self) -> dict[str, VadNetwork]:
        """Returns each model's weights: live audio is scored where it arrives."""
        return {model: self._engines.get(model).network for model in settings().enabled_models}


fix_media_types(VadRunner)
