"""ParaformerRunner: offline recognition and punctuation, batched over the utterances of all requests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import bentoml

from runners.draining import outlive_service
from runners.interface import Punctuation, PunctuationItem, Recognition, RecognitionItem
from runners.runtime import RUNNER_CONFIG, Engines, fix_media_types, settings

log = logging.getLogger(__name__)
R = TypeVar("R", Recognition, Punctuation)


@bentoml.service(name="ParaformerRunner", workers=settings().asr_workers, **RUNNER_CONFIG)
class ParaformerRunner:
    """Hosts the recogniser and the punctuation model of every enabled model."""

    def __init__(self) -> None:
        from runners.engines.paraformer import ParaformerEngine
        from runners.engines.punctuation import PunctuationEngine

        size = settings().asr_batch_size
        self._recognisers = Engines("asr", lambda d, device: ParaformerEngine(d, batch_size=size, device=device))
        self._punctuators = Engines(
            "punctuation", lambda d, device: PunctuationEngine(d, batch_size=4 * size, device=device)
        )
        outlive_service()

    # More than ASR_BATCH_SIZE are taken at once, so that similar lengths can be computed together.
    @bentoml.api(batchable=True, max_batch_size=4 * settings().asr_batch_size, max_latency_ms=600_000)
    def recognise(self, items: list[RecognitionItem]) -> list[Recognition]:
        """Tokens with times of each utterance."""

        def run(engine: Any, batch: Sequence[RecognitionItem]) -> list[Recognition]:
            return engine.recognise([item.pcm for item in batch])  # type: ignore[no-any-return]

        return _in_band(self._recognisers, items, run, lambda error: Recognition(error=error))

    @bentoml.api
    def device(self) -> str:
        """Where the models compute: `cpu` or `cuda`."""
        return self._recognisers.device

    @bentoml.api(batchable=True, max_batch_size=16 * settings().asr_batch_size, max_latency_ms=600_000)
    def punctuate(self, items: list[PunctuationItem]) -> list[Punctuation]:
        """The mark after each token of each text."""

        def run(engine: Any, batch: Sequence[PunctuationItem]) -> list[Punctuation]:
            return [Punctuation(marks=marks) for marks in engine.punctuate([item.tokens for item in batch])]

        return _in_band(self._punctuators, items, run, lambda error: Punctuation(error=error))


fix_media_types(ParaformerRunner)


def _in_band(
    engines: Engines, items: Sequence[Any], run: Callable[[Any, Sequence[Any]], list[R]], failed: Callable[[str], R]
) -> list[R]:
    """Runs items model by model; where a batch fails, each of its items alone, so one cannot fail the others."""
    results: list[R] = [failed("not computed")] * len(items)
    for engine, positions in engines.by_model([item.model for item in items]):
        batch = [items[p] for p in positions]
        try:
            found = run(engine, batch)
        except (RuntimeError, ValueError, IndexError) as error:
            log.warning("a batch of %d failed (%s); its items run alone", len(batch), error)
            found = []
            for item in batch:
                try:
                    found += run(engine, [item])
                except (RuntimeError, ValueError, IndexError) as alone:
                    log.error("an item failed alone: %s", alone)
                    found.append(failed(f"{type(alone).__name__}: {alone}"))
        for position, result in zip(positions, found, strict=True):
            results[position] = result
    return results
