"""Calls the model runners: typed, timed, and tried again where a connection was lost."""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import aiohttp
import numpy as np
from bentoml.exceptions import BentoMLException, ServiceUnavailable
from numpy.typing import NDArray

from runners.catalog import Model
from runners.families import FAMILIES, Family
from runners.interface import (
    Capacity,
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
from runners.languages import language_name
from service import connections, observability
from service.domain import Pcm, RecognitionOptions, Requester
from service.errors import NotReady, RecognitionFailed, SentenceLost
from service.scheduling import Scheduler

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
_forgotten: set[asyncio.Task[None]] = set()  # a task that nobody holds may be collected


class Runners:
    """Calls the runners for the service; every call but ``stream`` is idempotent.

    Calls wait up to half a minute for a runner that is away, then raise NotReady; RecognitionFailed says that a runner
    failed.
    """

    def __init__(self, asr_workers: int = 1, **proxies: Any) -> None:
        """Takes asynchronous proxies of what the enabled models need, by the runners' names (runners/families.py).

        ``asr_workers``: how many processes recognise, where there can be several.
        """
        self._proxies = proxies
        self._asr_workers = asr_workers
        self._schedulers: dict[str, Scheduler] = {}
        self._vad_options: dict[str, VadOptions] = {}
        self._vad_networks: dict[str, VadNetwork] = {}
        self._diarization_options: dict[str, DiarizationOptions] = {}
        self._device = ""

    async def ready(self) -> bool:
        """Says whether every runner answers that it is ready, within a few seconds."""
        return all((await self.states()).values())

    async def states(self) -> dict[str, bool]:
        """Says of each runner whether it answers that it is ready, within a few seconds."""
        answers = await asyncio.gather(*map(_is_ready, self._proxies.values()))
        return dict(zip(self._proxies, answers, strict=True))

    async def vad_options(self, model: Model) -> VadOptions:
        """Returns how a model's silence scores become regions; asks the runner once."""
        if not self._vad_options:
            options = await _call("vad", lambda: self._proxies["vad"].options())
            self._vad_options = {name: VadOptions.model_validate(value) for name, value in options.items()}
        return self._vad_options[model.id]

    async def vad_network(self, model: Model) -> VadNetwork:
        """Returns what scores live audio; asks the runner once."""
        if not self._vad_networks:
            networks = await _call("vad", lambda: self._proxies["vad"].networks())
            self._vad_networks = {name: VadNetwork.model_validate(value) for name, value in networks.items()}
        return self._vad_networks[model.id]

    async def diarization_options(self, model: Model) -> DiarizationOptions:
        """Returns how a model's voices are told apart; asks the runner once."""
        if not self._diarization_options:
            found = await _call("campplus", lambda: self._proxies["campplus"].options())
            self._diarization_options = {m: DiarizationOptions.model_validate(value) for m, value in found.items()}
        return self._diarization_options[model.id]

    async def device(self) -> str:
        """Says where the recogniser computes: `cpu` or `cuda`."""
        if not self._device:
            name = next(family.runner for family in FAMILIES.values() if family.runner in self._proxies)
            self._device = await _call(name, lambda: self._proxies[name].device())
        return self._device

    async def silence_scores(self, block: VadBlock) -> NDArray[np.float32]:
        """Returns the probability of silence in each 10 ms frame of a block."""
        with observability.timed("vad"):
            results = await _call("vad", lambda: self._proxies["vad"].score([block]))
        return np.asarray(results[0], np.float32)

    async def recognise(
        self,
        options: RecognitionOptions,
        pcm: Pcm,
        *,
        requester: Requester | None = None,
        word_times: bool = False,
        draft: str = "",
    ) -> Recognition:
        """Recognises the tokens of an utterance when it is ``requester``'s turn; one that fails is retried once.

        Where a model's word times cost something, they come with ``word_times`` alone. A recogniser may hear what was
        heard before, given as a ``draft``, faster.

        Raises:
            RecognitionFailed: it failed twice.
        """
        family = options.model.family
        item = RecognitionItem(
            model=options.model.id,
            pcm=pcm,
            hotwords={word.text: word.weight for word in options.hotwords},
            language=language_name(options.language) if options.language else None,
            prompt=options.prompt,
            word_times=word_times,
            draft=draft,
            id=uuid.uuid4().hex,
        )
        requester = requester or Requester()
        with observability.timed("recognise"):
            scheduler = await self._scheduler(family)
            for _ in range(2):
                result = await self._recognise(family, scheduler, requester, item)
                if result.error is None:
                    observability.batch_size.labels(family.runner).observe(result.batch_size)
                    return result
        log.error("an utterance of %.1f s failed twice: %s", len(pcm) / 16_000, result.error)
        raise RecognitionFailed("recognition of a segment failed twice; nothing of the transcript is returned")

    async def _scheduler(self, family: Family) -> Scheduler:
        runner = family.runner
        if runner not in self._schedulers:
            proxy = self._proxies[runner]
            capacity = Capacity.model_validate(await _call(runner, lambda: proxy.capacity()))
            # what holds live sentences is one process
            processes = 1 if family.live_runner == runner else self._asr_workers
            capacity = capacity.model_copy(update={"at_once": capacity.at_once * processes})

            async def run(items: Sequence[RecognitionItem]) -> list[Recognition]:
                found = await _call(runner, lambda: proxy.recognise(list(items)))
                return [Recognition.model_validate(one) for one in found]

            self._schedulers.setdefault(runner, Scheduler(run, capacity))
        return self._schedulers[runner]

    async def _recognise(
        self, family: Family, scheduler: Scheduler, requester: Requester, item: RecognitionItem
    ) -> Recognition:
        try:
            return await scheduler.recognise(requester, item)
        except asyncio.CancelledError:  # the client has gone: so should the work
            if family.cancellable:
                _forgotten.add(task := asyncio.create_task(self._give_up(family.runner, item.id)))
                task.add_done_callback(_forgotten.discard)
            raise

    async def _give_up(self, runner: str, recognition: str) -> None:
        with suppress(SentenceLost, RecognitionFailed):
            await _call_once(runner, lambda: self._proxies[runner].cancel([recognition]))

    async def embed(self, model: Model, pcm: Pcm) -> Embedding:
        """Finds the voice in every window of an utterance; no windows where too little speech tells one."""
        item = EmbeddingItem(model=model.id, pcm=pcm)
        with observability.timed("embed"):
            results = await _call("campplus", lambda: self._proxies["campplus"].embed([item]))
        result: Embedding = Embedding.model_validate(results[0])
        if result.error is not None:
            log.error("the voices of an utterance of %.1f s failed: %s", len(pcm) / 16_000, result.error)
            raise RecognitionFailed("telling speakers apart failed")
        return result

    async def punctuate(self, model: Model, tokens: Sequence[str]) -> list[str]:
        """Returns the mark that follows each token, "" for none."""
        runner = model.family.punctuation_runner
        item = PunctuationItem(model=model.id, tokens=list(tokens))
        with observability.timed("punctuate"):
            results = await _call(runner, lambda: self._proxies[runner].punctuate([item]))
        result = Punctuation.model_validate(results[0])
        if result.error is not None:
            raise RecognitionFailed("punctuation of a segment failed")
        return result.marks

    async def stream(self, model: Model, item: StreamingItem) -> StreamingResult:
        """Recognises the next audio of a live sentence; the next item of a sentence waits for this one's result.

        Raises:
            SentenceLost: the sentence cannot go on, because the runner no longer knows it or the connection
                broke (the audio may or may not have been recognised: never sent twice).
            RecognitionFailed: the audio could not be recognised, which ends the sentence as well.
            NotReady: the runner stays away at the first item.
        """
        runner = model.family.live_runner
        proxy = self._proxies[runner]
        with observability.timed("stream"):
            if item.is_first:  # starts anew wherever it is sent again
                results = await _call(runner, lambda: proxy.step([item]))
            else:
                results = await _call_once(runner, lambda: proxy.step([item]))
        result = StreamingResult.model_validate(results[0])
        if result.lost:
            raise SentenceLost("the live sentence is no longer known to the recogniser; start again")
        if result.error is not None:
            log.error("a live sentence failed: %s", result.error)
            raise RecognitionFailed("recognition of the live audio failed")
        if result.batch_size:
            observability.batch_size.labels(runner).observe(result.batch_size)
        return result

    async def close_stream(self, model: Model, sentence: str) -> None:
        """Frees a sentence that ends without ``is_last``; where the runner is away, it is gone already.

        It is called once, and waits for nobody's return.

        Raises:
            RecognitionFailed: the runner failed.
        """
        runner = model.family.live_runner
        try:
            await _call_once(runner, lambda: self._proxies[runner].free([sentence]))
        except SentenceLost:
            log.debug("a sentence was lost before it was closed")


async def _is_ready(proxy: Any) -> bool:
    probe = getattr(proxy, "is_ready", None)
    if probe is None:  # in one process there is no connection to be down
        return True
    try:
        return bool(await probe(_PROBE_S))
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
        return False


async def _call(runner: str, call: Callable[[], Awaitable[T]]) -> T:
    """Repeats a call while its runner is away (it did no work), and once if the connection broke in the middle.

    An input that kills its runner must not do so for ever.

    Raises:
        NotReady: the runner stays away for half a minute, or breaks the connection twice.
        RecognitionFailed: the runner failed.
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
    """Makes a call that must not be repeated.

    Raises:
        SentenceLost: its connection broke, or could not be made.
        RecognitionFailed: the runner failed.
    """
    try:
        with observability.calling(runner):
            return await call()
    except (*_BROKEN, *_AWAY) as error:
        log.error("runner %s is away: %s", runner, error)
        raise SentenceLost("the recogniser restarted; the live sentence is lost, start again") from error
    except BentoMLException as error:
        log.error("runner %s failed: %s", runner, error)
        raise RecognitionFailed("a model runner failed") from error


def proxies(service: Any, asr_workers: int = 1) -> Runners:
    """Collects the runners of a BentoML service instance that declares them as dependencies.

    What no model needs is None there; ``asr_workers`` as in :class:`Runners`.
    """
    names = dict.fromkeys(["vad", "campplus", *(name for family in FAMILIES.values() for name in family.runners)])
    declared = {name: getattr(service, name) for name in names}
    found = {name: dependency.to_async for name, dependency in declared.items() if dependency is not None}
    for proxy in found.values():
        connections.watch(proxy)
    return Runners(asr_workers, **found)
