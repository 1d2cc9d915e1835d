"""Hosts ParaformerRunner: offline recognition and punctuation, batched over the utterances of all requests."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import bentoml

from runners import catalog, store
from runners.interface import Capacity, Punctuation, PunctuationItem, Recognition, RecognitionItem
from runners.kit.draining import outlive_service
from runners.kit.gathering import Gatherer
from runners.kit.runtime import (
    RUNNER_CONFIG,
    Engines,
    capacity,
    count_recognised,
    fix_media_types,
    run_batch_or_each_alone,
    settings,
)

if TYPE_CHECKING:
    from runners.kit.funasr_models import ModelDirectory
    from runners.paraformer.language_model import LanguageModel

log = logging.getLogger(__name__)


@bentoml.service(name="ParaformerRunner", workers=settings().asr_workers, **RUNNER_CONFIG)
class ParaformerRunner:
    """Hosts the recogniser and the punctuation model of every enabled model."""

    def __init__(self) -> None:
        from runners.paraformer.engine import ParaformerEngine
        from runners.paraformer.punctuation import PunctuationEngine

        size, precision = settings().asr_batch_size, settings().asr_precision

        def make(directory: ModelDirectory, device: str) -> ParaformerEngine:
            return ParaformerEngine(directory, batch_size=size, device=device, precision=precision)

        self._recognisers = Engines.load("asr", make, runner="paraformer")
        for model_id, engine in self._recognisers.items():
            engine.language_model = _language_model(model_id)
        self._punctuators = Engines.load(
            "punctuation", lambda d, device: PunctuationEngine(d, batch_size=4 * size, device=device)
        )
        # in a thread of its own: a sentence that has been recognised needn't wait for others to be
        self._punctuated = Gatherer(self._punctuate, 16 * size)
        outlive_service()

    @bentoml.api
    async def capacity(self) -> Capacity:
        """Says how much keeps this process busy."""
        return capacity(self._recognisers.device)

    # The service puts utterances in order and sends them in batches; BentoML joins what several API processes send.
    @bentoml.api(batchable=True, max_batch_size=settings().asr_batch_size, max_latency_ms=600_000)
    def recognise(self, items: list[RecognitionItem]) -> list[Recognition]:
        """Returns the tokens of each utterance with their times."""

        def run(engine: Any, batch: Sequence[RecognitionItem]) -> list[Recognition]:
            recordings, hotwords = [item.pcm for item in batch], [item.hotwords for item in batch]
            began_s, samples = time.process_time(), sum(map(len, recordings))
            found: list[Recognition] = engine.recognise(recordings, hotwords)
            took_s = time.process_time() - began_s
            for recognition, pcm in zip(found, recordings, strict=True):
                recognition.cpu_s = took_s * len(pcm) / max(samples, 1)
            count_recognised(batch)
            return found

        return run_batch_or_each_alone(self._recognisers, items, run, lambda error: Recognition(error=error))

    @bentoml.api
    async def device(self) -> str:
        """Says where the models compute: `cpu` or `cuda`."""
        return self._recognisers.device

    @bentoml.api
    async def punctuate(self, items: list[PunctuationItem]) -> list[Punctuation]:
        """Returns the mark after each token of each text."""
        return await self._punctuated(items)

    def _punctuate(self, items: Sequence[PunctuationItem]) -> list[Punctuation]:
        def run(engine: Any, batch: Sequence[PunctuationItem]) -> list[Punctuation]:
            return [Punctuation(marks=marks) for marks in engine.punctuate([item.tokens for item in batch])]

        return run_batch_or_each_alone(self._punctuators, items, run, lambda error: Punctuation(error=error))


fix_media_types(ParaformerRunner)


def _language_model(model_id: str) -> LanguageModel | None:
    """Loads the model's n-gram; None, and a line in the log, where it is switched off, missing or unreadable."""
    from runners.paraformer.language_model import LanguageModel

    part, model = "language_model", catalog.models()[model_id]
    if part not in model.parts:
        return None
    if not settings().asr_enable_lm:
        log.info("%s %s: off (ASR_ENABLE_LM=false)", model_id, part)
        return None
    try:
        return LanguageModel.read(store.find_part(model, part, settings()))
    except (store.ModelFilesMissingError, ValueError) as error:
        log.warning("%s %s: off; %s", model_id, part, str(error).replace("\n", " "))
        return None
