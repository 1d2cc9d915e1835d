"""Calls to the model runners: typed, timed, and tried again where a connection was lost."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import aiohttp
import numpy as np
from bentoml.exceptions import BentoMLException, ServiceUnavailable
from numpy.typing import NDArray

from runners.interface import (
    DiarizationOptions,
    Embedding,
    EmbeddingItem,
    Punctuation,
    PunctuationItem,
    Recognition,
    RecognitionItem,
    StreamingItem,
    StreamingResult,
    VadBlock,
    VadNetwork,
    VadOptions,
)
from service import connections, observability
from service.domain import Hotword, Pcm
from service.errors import NotReady, RecognitionFailed, SessionLost

log = logging.getLogger(__name__)
T = TypeVar("T")
# No connection was made, so no work was done.
_AWAY = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, ServiceUnavailable)
# A connection that broke: nobody knows whether the runner did the work.
_BROKEN = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError)

# A runner that died is back in about 8 s outside containers; calls wait that long for it.
_RUNNER_RETURN_S = 30.0
_RETRY_PAUSE_S = 0.5
_PROBE_S = 5


class Runners:
    """The service's side of its runners. Every call but ``stream`` is idempotent."""

    def __init__(self, vad: Any, paraformer: Any, campplus: Any = None, *, streaming: Any = None) -> None:
        """Asynchronous proxies of VadRunner, ParaformerRunner, CampplusRunner and ParaformerStreamingRunner."""
        self._vad = vad
        self._paraformer = paraformer
        self._campplus = campplus
        self._streaming = streaming
        self._vad_options: dict[str, VadOptions] = {}
        self._vad_networks: dict[str, VadNetwork] = {}
        self._diarization_options: dict[str, DiarizationOptions] = {}
        self._device = ""

    async def ready(self) -> bool:
        """Whether every runner answers that it is ready, within a few seconds."""
        return all((await self.states()).values())

    async def states(self) -> dict[str, bool]:
        """Whether each runner answers that it is ready, within a few seconds."""
        proxies = {
            "vad": self._vad,
            "paraformer": self._paraformer,
            "campplus": self._campplus,
            "streaming": self._streaming,
        }
        known = {name: proxy for name, proxy in proxies.items() if proxy is not None}
        return dict(zip(known, await asyncio.gather(*map(_is_ready, known.values())), strict=True))

    async def vad_options(self, model: str) -> VadOptions:
        if not self._vad_options:
            options = await _call("vad", lambda: self._vad.options())
            self._vad_options = {name: VadOptions.model_validate(value) for name, value in options.items()}
        return self._vad_options[model]

    async def vad_network(self, model: str) -> VadNetwork:
        """What scores live audio."""
        if not self._vad_networks:
            networks = await _call("vad", lambda: self._vad.networks())
            self._vad_networks = {name: VadNetwork.model_validate(value) for name, value in networks.items()}
        return self._vad_networks[model]

    async def diarization_options(self, model: str) -> DiarizationOptions:
        if not self._diarization_options:
            found = await _call("campplus", lambda: self._campplus.options())
            self._diarization_options = {m: DiarizationOptions.model_validate(value) for m, value in found.items()}
        return self._diarization_options[model]

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

    async def recognise(self, model: str, pcm: Pcm, hotwords: Sequence[Hotword] = ()) -> Recognition:
        """Tokens of an utterance. An utterance that fails is retried once, alone, before RecognitionFailed."""
        item = RecognitionItem(model=model, pcm=pcm, hotwords={word.text: word.weight for word in hotwords})
        with observability.timed("recognise"):
            for _ in range(2):
                results = await _call("paraformer", lambda: self._paraformer.recognise([item]))
                result = Recognition.model_validate(results[0])
                if result.error is None:
                    observability.batch_size.labels("paraformer").observe(result.batch_size)
                    return result
        log.error("an utterance of %.1f s failed twice: %s", len(pcm) / 16_000, result.error)
        raise RecognitionFailed("recognition of a segment failed twice; nothing of the transcript is returned")

    async def embed(self, model: str, pcm: Pcm) -> Embedding:
        """The voice in every window of an utterance; no windows where too little speech tells one."""
        item = EmbeddingItem(model=model, pcm=pcm)
        with observability.timed("embed"):
            results = await _call("campplus", lambda: self._campplus.embed([item]))
        result: Embedding = Embedding.model_validate(results[0])
        if result.error is not None:
            log.error("the voices of an utterance of %.1f s failed: %s", len(pcm) / 16_000, result.error)
            raise RecognitionFailed("telling speakers apart failed")
        return result

    async def punctuate(self, model: str, tokens: Sequence[str]) -> list[str]:
        """The mark that follows each token."""
        item = PunctuationItem(model=model, tokens=list(tokens))
        with observability.timed("punctuate"):
            results = await _call("paraformer", lambda: self._paraformer.punctuate([item]))
        result = Punctuation.model_validate(results[0])
        if result.error is not None:
            raise RecognitionFailed("punctuation of a segment failed")
        return result.marks

    async def stream(self, item: StreamingItem) -> StreamingResult:
        """Recognises the next audio of a live sentence; the next item of a session waits for this one's result.

        Raises SessionLost where the sentence cannot go on, because the runner no longer knows its session or
        the connection broke (the audio may or may not have been recognised: never sent twice), and
        RecognitionFailed, which ends the session as well.
        """
        with observability.timed("stream"):
            if item.is_first:  # starts anew wherever it is sent again
                results = await _call("streaming", lambda: self._streaming.step([item]))
            else:
                results = await _call_once("streaming", lambda: self._streaming.step([item]))
        result = StreamingResult.model_validate(results[0])
        if result.lost:
            raise SessionLost("the live session is no longer known to the recogniser; start again")
        if result.error is not None:
            log.error("a live session failed: %s", result.error)
            raise RecognitionFailed("recognition of the live audio failed")
        if result.batch_size:
            observability.batch_size.labels("streaming").observe(result.batch_size)
        return result

    async def close_stream(self, session: str) -> None:
        """Frees a session that ends without ``is_last``. Where the runner is away, it is gone already."""
        try:
            await _call_once("streaming", lambda: self._streaming.free([session]))
        except SessionLost:
            log.debug("a session was lost before it was closed")


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
    deadline = math.inf
    broken = 0
    while True:
        try:
            with observability.calling(runner):
                return await call()
        except _AWAY as error:
            reason: Exception = error
        except _BROKEN as error:
            reason = error
            broken += 1
        except BentoMLException as error:
            log.error("runner %s failed: %s", runner, error)
            raise RecognitionFailed("a model runner failed") from error
        # counted from the first failure: before, a call may have waited long for its turn
        deadline = min(deadline, time.monotonic() + _RUNNER_RETURN_S)
        if broken > 1 or time.monotonic() > deadline:
            log.error("runner %s is away: %s", runner, reason)
            raise NotReady("a model runner is restarting; try again shortly", retry_after_s=10) from reason
        log.warning("runner %s is away (%s); calling again", runner, type(reason).__name__)
        observability.runner_retries.labels(runner).inc()
        await asyncio.sleep(_RETRY_PAUSE_S)


async def _call_once(runner: str, call: Callable[[], Awaitable[T]]) -> T:
    """A call that must not be repeated: SessionLost where its connection broke."""
    try:
        with observability.calling(runner):
            return await call()
    except (*_BROKEN, *_AWAY) as error:
        log.error("runner %s is away: %s", runner, error)
        raise SessionLost("the recogniser restarted; the live session is lost, start again") from error
    except BentoMLException as error:
        log.error("runner %s failed: %s", runner, error)
        raise RecognitionFailed("a model runner failed") from error


def proxies(service: Any) -> Runners:
    """Runners of a BentoML service instance that declares them as dependencies."""
    vad, paraformer, campplus, streaming = (
        runner.to_async for runner in (service.vad, service.paraformer, service.campplus, service.streaming)
    )
    for proxy in (vad, paraformer, campplus, streaming):
        connections.watch(proxy)
    return Runners(vad, paraformer, campplus, streaming=streaming)
