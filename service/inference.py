"""Calls to the model runners: typed, timed, and tried again where a connection was lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import aiohttp
import numpy as np
from bentoml.exceptions import BentoMLException, ServiceUnavailable
from numpy.typing import NDArray

from runners.interface import Punctuation, PunctuationItem, Recognition, RecognitionItem, VadBlock, VadOptions
from service import observability
from service.domain import Pcm
from service.errors import NotReady, RecognitionFailed

log = logging.getLogger(__name__)
T = TypeVar("T")

# A runner that died is back in about 8 s outside containers; calls wait that long for it.
_RUNNER_RETURN_S = 30.0
_RETRY_PAUSE_S = 0.5
_PROBE_S = 5


class Runners:
    """The service's side of its runners. Every call is idempotent; results come in the order of the items."""

    def __init__(self, vad: Any, paraformer: Any) -> None:
        """``vad`` and ``paraformer`` are asynchronous proxies of VadRunner and ParaformerRunner."""
        self._vad = vad
        self._paraformer = paraformer
        self._vad_options: dict[str, VadOptions] = {}
        self._device = ""

    async def ready(self) -> bool:
        """Whether every runner answers that it is ready, within a few seconds."""
        return all(await asyncio.gather(_is_ready(self._vad), _is_ready(self._paraformer)))

    async def vad_options(self, model: str) -> VadOptions:
        if not self._vad_options:
            options = await _call("vad", lambda: self._vad.options())
            self._vad_options = {name: VadOptions.model_validate(value) for name, value in options.items()}
        return self._vad_options[model]

    async def device(self) -> str:
        """Where the recogniser computes: `cpu` or `cuda`."""
        if not self._device:
            self._device = await _call("paraformer", lambda: self._paraformer.device())
        return self._device

    async def silence_scores(self, block: VadBlock) -> NDArray[np.float32]:
        """Probability of silence in each 10 ms frame of a block."""
        with observability.timed("vad"):
            results = await _call("vad", lambda: self._vad.score([block]))
        return np.asarray(results[0], np.float32)

    async def recognise(self, model: str, pcm: Pcm) -> Recognition:
        """Tokens of an utterance. An utterance that fails is retried once, alone, before RecognitionFailed."""
        item = RecognitionItem(model=model, pcm=pcm)
        with observability.timed("recognise"):
            for _ in range(2):
                results = await _call("paraformer", lambda: self._paraformer.recognise([item]))
                result = Recognition.model_validate(results[0])
                if result.error is None:
                    observability.batch_size.labels("paraformer").observe(result.batch_size)
                    return result
        log.error("an utterance of %.1f s failed twice: %s", len(pcm) / 16_000, result.error)
        raise RecognitionFailed("recognition of a segment failed twice; nothing of the transcript is returned")

    async def punctuate(self, model: str, tokens: Sequence[str]) -> list[str]:
        """The mark that follows each token."""
        item = PunctuationItem(model=model, tokens=list(tokens))
        with observability.timed("punctuate"):
            results = await _call("paraformer", lambda: self._paraformer.punctuate([item]))
        result = Punctuation.model_validate(results[0])
        if result.error is not None:
            raise RecognitionFailed("punctuation of a segment failed")
        return result.marks


async def _is_ready(proxy: Any) -> bool:
    probe = getattr(proxy, "is_ready", None)
    if probe is None:  # in one process there is no connection to be down
        return True
    try:
        return bool(await probe(_PROBE_S))
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
        return False


async def _call(runner: str, call: Callable[[], Awaitable[T]]) -> T:
    """Repeats a call while its runner is away (it did no work), and once if the connection broke in the middle:
    an input that kills its runner must not do so for ever.
    """
    deadline = time.monotonic() + _RUNNER_RETURN_S
    broken = 0
    while True:
        try:
            return await call()
        except (aiohttp.ClientConnectorError, ServiceUnavailable) as error:
            reason: Exception = error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError) as error:
            reason = error
            broken += 1
        except BentoMLException as error:
            log.error("runner %s failed: %s", runner, error)
            raise RecognitionFailed("a model runner failed") from error
        if broken > 1 or time.monotonic() > deadline:
            log.error("runner %s is away: %s", runner, reason)
            raise NotReady("a model runner is restarting; try again shortly", retry_after_s=10) from reason
        log.warning("runner %s is away (%s); calling again", runner, type(reason).__name__)
        observability.runner_retries.labels(runner).inc()
        await asyncio.sleep(_RETRY_PAUSE_S)


def proxies(service: Any) -> Runners:
    """Runners of a BentoML service instance that declares ``vad`` and ``paraformer`` as dependencies."""
    return Runners(service.vad.to_async, service.paraformer.to_async)
