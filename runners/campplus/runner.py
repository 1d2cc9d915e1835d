"""Hosts CampplusRunner: speaker vectors, batched over the utterances of all requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bentoml

from runners.interface import DiarizationOptions, Embedding, EmbeddingItem
from runners.kit.draining import outlive_service
from runners.kit.runtime import RUNNER_CONFIG, Engines, fix_media_types, run_batch_or_each_alone

# More windows at once are no faster on a CPU: 16 of 1.5 s fill its caches.
_WINDOWS = 16


@bentoml.service(name="CampplusRunner", workers=1, **RUNNER_CONFIG)
class CampplusRunner:
    """Hosts the speaker model of every enabled model that has one."""

    def __init__(self) -> None:
        from runners.campplus.engine import CampplusEngine

        self._engines = Engines.load("speaker", lambda d, device: CampplusEngine(d, batch_size=_WINDOWS, device=device))
        outlive_service()

    @bentoml.api(batchable=True, max_batch_size=16, max_latency_ms=600_000)
    def embed(self, items: list[EmbeddingItem]) -> list[Embedding]:
        """Returns the voice in every window of each utterance."""

        def run(engine: Any, batch: Sequence[EmbeddingItem]) -> list[Embedding]:
            return engine.embed([item.pcm for item in batch])  # type: ignore[no-any-return]

        return run_batch_or_each_alone(self._engines, items, run, lambda error: Embedding(error=error))

    @bentoml.api
    def options(self) -> dict[str, DiarizationOptions]:
        """Says how each model's voices are told apart."""
        return {model: engine.options for model, engine in self._engines.items()}


fix_media_types(CampplusRunner)
