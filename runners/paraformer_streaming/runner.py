"""Hosts ParaformerStreamingRunner: live sentences by sentence id; the chunks of all sentences meet in one batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import bentoml

from runners import logs
from runners.interface import StreamingItem, StreamingResult
from runners.kit.draining import outlive_service
from runners.kit.gathering import Gatherer
from runners.kit.runtime import RUNNER_CONFIG, Engines, fix_media_types, settings

if TYPE_CHECKING:
    from runners.kit.funasr_models import ModelDirectory
    from runners.paraformer_streaming.engine import ParaformerStreamingEngine

log = logging.getLogger(__name__)
# A step of more costs about as much per sentence, and makes each of them wait longer.
_MOST_AT_ONCE = 32


# One process: it holds the sentences.
@bentoml.service(name="ParaformerStreamingRunner", workers=1, **RUNNER_CONFIG)
class ParaformerStreamingRunner:
    """Hosts the streaming recogniser and the realtime punctuation of every enabled model that has them."""

    def __init__(self) -> None:
        from runners.kit.precision import fastest_precision
        from runners.paraformer_streaming.engine import ParaformerStreamingEngine
        from runners.paraformer_streaming.punctuation import RealtimePunctuationEngine

        marks = Engines.load("realtime_punctuation", lambda d, device: RealtimePunctuationEngine(d, device=device))
        punctuators = dict(marks.items())
        wanted = settings().streaming_precision

        def make(directory: ModelDirectory, device: str) -> ParaformerStreamingEngine:
            precision = fastest_precision(device) if wanted == "auto" else wanted
            return ParaformerStreamingEngine(directory, precision=precision, device=device)

        self._engines = Engines.load("streaming", make)
        for model_id, engine in self._engines.items():
            engine.punctuation = punctuators.get(model_id)
        self._gathered = Gatherer(self._step, _MOST_AT_ONCE)
        outlive_service()

    @bentoml.api
    async def step(self, items: list[StreamingItem]) -> list[StreamingResult]:
        """Advances each item's sentence by its audio, and returns the sentence so far of each."""
        return await self._gathered(items)

    def _step(self, items: Sequence[StreamingItem]) -> list[StreamingResult]:
        known = dict(self._engines.items())
        results = [StreamingResult(error=f"{item.model} has no streaming recogniser") for item in items]
        served = [i for i, item in enumerate(items) if item.model in known]
        for engine, positions in self._engines.by_model([items[i].model for i in served]):
            batch = [items[served[p]] for p in positions]
            with logs.for_requests(item.request_id for item in batch):
                log.debug("a batch of %d chunks", len(batch))
                found = engine.step(batch)
            for position, result in zip(positions, found, strict=True):
                results[served[position]] = result
        return results

    @bentoml.api
    def free(self, sentences: list[str]) -> None:
        """Frees sentences that end without a last item; unknown ones are none.

        It isn't called ``close``, which BentoML's proxies have.
        """
        for engine, _ in self._engines.by_model([model for model, _ in self._engines.items()]):
            engine.close(sentences)

    @bentoml.api
    def sentences(self) -> int:
        """Counts the live sentences now."""
        return sum(len(engine) for engine, _ in self._engines.by_model([m for m, _ in self._engines.items()]))


fix_media_types(ParaformerStreamingRunner)
