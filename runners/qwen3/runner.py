"""Hosts Qwen3Runner: Qwen3-ASR with its forced aligner, offline and live."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bentoml

from runners import catalog, gpu, logs, store
from runners.interface import Capacity, Recognition, RecognitionItem, StreamingItem, StreamingResult
from runners.kit.draining import outlive_service
from runners.kit.runtime import RUNNER_CONFIG, capacity, count_recognised, enabled_models, fix_media_types, settings
from runners.languages import language_name

if TYPE_CHECKING:
    from runners.qwen3.engine import Backend, Qwen3Engine

log = logging.getLogger(__name__)


# vLLM takes what comes into the batch that it is computing; its cache has room for about so many of three minutes.
_VLLM_AT_ONCE = 64


# One process: it holds the live sentences.
@bentoml.service(name="Qwen3Runner", workers=1, **RUNNER_CONFIG)
class Qwen3Runner:
    """Hosts every enabled Qwen3-ASR; calls of all requests meet in the backend's batches."""

    def __init__(self) -> None:
        import torch

        logs.configure(settings().log_level, settings().log_format)
        torch.set_num_threads(settings().asr_threads)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._on_vllm = self._device == "cuda" and importlib.util.find_spec("vllm") is not None
        self._engines = {model.id: self._load(model) for model in enabled_models("qwen3")}
        self._calls: dict[str, asyncio.Task[Any]] = {}
        self._ending = False
        outlive_service()

    def _load(self, model: catalog.Model) -> Qwen3Engine:
        from runners.qwen3.engine import Qwen3Engine

        parts = {name: store.find_part(model, name, settings()) for name in model.parts if name in ("asr", "aligner")}
        make = self._vllm if self._on_vllm else self._transformers
        backend, live = make(model, parts["asr"], parts.get("aligner"))
        log.info("%s: loaded on %s, %s", model.id, self._device, type(backend).__name__)
        aligned = map(language_name, model.aligned_languages)
        return Qwen3Engine(backend, aligned, live, context_characters=model.context_characters)

    def _transformers(self, _: catalog.Model, recogniser: Path, aligner: Path | None) -> tuple[Backend, Backend | None]:
        import torch

        from runners.qwen3.transformers_backend import TransformersBackend

        half = self._device == "cuda" or settings().asr_precision == "bf16"
        backend = TransformersBackend(
            recogniser,
            aligner,
            batch_size=settings().asr_batch_size,
            device=self._device,
            dtype=torch.bfloat16 if half else torch.float32,
        )
        return backend, None

    def _vllm(self, model: catalog.Model, recogniser: Path, aligner: Path | None) -> tuple[Backend, Backend | None]:
        """Loads the backend, and with ENABLE_STREAMING_VLLM one for live sessions, which offline work cannot slow."""
        from runners.qwen3.vllm_backend import VllmBackend

        live_engine = settings().enable_streaming_vllm
        share = gpu.shares(enabled_models(), gpu.memory_gb() or 0.0, live_engine=live_engine)[model.id]
        backend = VllmBackend(recogniser, aligner, recogniser_share=share.recogniser, aligner_share=share.aligner)
        return backend, VllmBackend(recogniser, None, recogniser_share=share.live) if live_engine else None

    @bentoml.api
    async def capacity(self) -> Capacity:
        """Says how much keeps this process busy."""
        return Capacity(at_once=_VLLM_AT_ONCE) if self._on_vllm else capacity(self._device)

    @bentoml.api
    async def recognise(self, items: list[RecognitionItem]) -> list[Recognition]:
        """Returns the words of each utterance; those of other calls are computed with them.

        ``cancel`` gives one up.
        """
        return list(await asyncio.gather(*(self._cancellable(item.id, self._recognise(item)) for item in items)))

    async def _recognise(self, item: RecognitionItem) -> Recognition:
        engine = self._engines.get(item.model)
        if engine is None:
            return Recognition(error=f"{item.model} is not loaded in this runner")
        with logs.for_requests([item.request_id]):
            try:
                found = await engine.recognise(item)
                count_recognised([item])
                return found
            except (RuntimeError, ValueError, IndexError) as error:
                log.exception("an utterance failed")
                await self._end_where_dead(engine)
                return Recognition(error=f"{type(error).__name__}: {error}")

    async def _cancellable(self, name: str, call: Coroutine[Any, Any, Recognition]) -> Recognition:
        task = self._calls[name] = asyncio.create_task(call)
        try:
            result: Recognition = await task
            return result
        except asyncio.CancelledError:
            task.cancel()
            if task.cancelled():
                return Recognition(error="called off")
            raise
        finally:
            self._calls.pop(name, None)

    @bentoml.api
    async def cancel(self, ids: list[str]) -> None:
        """Gives up recognitions that nobody waits for any more; unknown ones are none."""
        for name in ids:
            if name in self._calls:
                self._calls[name].cancel()

    @bentoml.api
    async def step(self, items: list[StreamingItem]) -> list[StreamingResult]:
        """Advances each item's live sentence by its audio, and returns the sentence so far of each."""
        return list(await asyncio.gather(*map(self._step, items)))

    async def _step(self, item: StreamingItem) -> StreamingResult:
        engine = self._engines.get(item.model)
        if engine is None:
            return StreamingResult(error=f"{item.model} is not loaded in this runner")
        with logs.for_requests([item.request_id]):
            try:
                return await engine.step(item)
            except (RuntimeError, ValueError, IndexError) as error:
                log.exception("a live sentence failed")
                engine.close([item.sentence])
                await self._end_where_dead(engine)
                return StreamingResult(error=f"{type(error).__name__}: {error}")

    async def _end_where_dead(self, engine: Qwen3Engine) -> None:
        """Ends this process where its backend's has died, without which it is of no use; BentoML starts it again."""
        if await engine.is_healthy() or self._ending:
            return
        self._ending = True
        log.critical("the engine of a model died: this runner ends, to be started again")
        signal.raise_signal(signal.SIGINT)  # SIGTERM would wait for the API service to end; a second one for nothing

    @bentoml.api
    async def free(self, sentences: list[str]) -> None:
        """Frees live sentences that end without a last item; unknown ones are none."""
        for engine in self._engines.values():
            engine.close(sentences)

    @bentoml.api
    async def sentences(self) -> int:
        """Counts the live sentences now."""
        return sum(map(len, self._engines.values()))

    @bentoml.api
    async def device(self) -> str:
        """Says where the models compute: `cpu` or `cuda`."""
        return self._device

    @bentoml.on_shutdown
    def end(self) -> None:
        """Ends the processes that a backend has."""
        for engine in self._engines.values():
            engine.end()

    async def __is_ready__(self) -> bool:
        for engine in self._engines.values():
            await self._end_where_dead(engine)
        return not self._ending


fix_media_types(Qwen3Runner)
