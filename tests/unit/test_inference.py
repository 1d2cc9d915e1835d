"""Runner calls survive a runner's restart, and give up with an honest error."""

import asyncio
from typing import Any

import aiohttp
import numpy as np
import pytest
from bentoml.exceptions import InternalServerError, ServiceUnavailable

from runners import catalog
from runners.interface import Capacity, Recognition
from service import inference
from service.domain import RecognitionOptions
from service.errors import NotReady, RecognitionFailed
from service.inference import Runners

pytestmark = pytest.mark.asyncio
PCM = np.zeros(1600, np.int16)


class Runner:
    """Fails with each of ``failures`` in turn, then answers."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls = 0

    async def capacity(self) -> Capacity:
        return Capacity()

    async def recognise(self, items: list[Any]) -> list[Recognition]:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return [Recognition(tokens=["好"], ids=[5], starts_ms=[0], ends_ms=[90], logprobs=[-0.1])]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "_RETRY_PAUSE_S", 0.0)


async def recognise(runner: Runner) -> list[str]:
    options = RecognitionOptions(catalog.models()["paraformer-demo"])
    return (await Runners(paraformer=runner).recognise(options, PCM)).tokens


def disconnected() -> Exception:
    return aiohttp.ServerDisconnectedError()


async def test_a_connection_lost_in_the_middle_is_tried_once_more() -> None:
    runner = Runner(disconnected())
    assert await recognise(runner) == ["好"]
    assert runner.calls == 2


async def test_an_utterance_that_kills_its_runner_twice_is_not_tried_again() -> None:
    runner = Runner(disconnected(), disconnected())
    with pytest.raises(NotReady) as caught:
        await recognise(runner)
    assert caught.value.retry_after_s
    assert runner.calls == 2


async def test_a_runner_that_is_away_is_waited_for() -> None:
    runner = Runner(*[ServiceUnavailable("starting")] * 5)
    assert await recognise(runner) == ["好"]


async def test_waiting_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "_RUNNER_RETURN_S", 0.0)
    with pytest.raises(NotReady):
        await recognise(Runner(*[ServiceUnavailable("starting")] * 5))


async def test_a_failure_inside_the_runner_is_not_repeated() -> None:
    runner = Runner(InternalServerError("boom"))
    with pytest.raises(RecognitionFailed):
        await recognise(runner)
    assert runner.calls == 1


class SlowRunner:
    """Never answers; notes what is given up."""

    def __init__(self) -> None:
        self.waiting = asyncio.Event()
        self.asked: list[str] = []
        self.given_up: list[str] = []

    async def capacity(self) -> Capacity:
        return Capacity()

    async def recognise(self, items: list[Any]) -> list[Recognition]:
        self.asked += [item.id for item in items]
        self.waiting.set()
        await asyncio.Event().wait()
        return []

    async def cancel(self, ids: list[str]) -> None:
        self.given_up += ids


@pytest.mark.parametrize("model", ["paraformer-demo", "qwen3-asr-demo"])
async def test_a_caller_that_leaves_gives_its_utterance_up_where_the_family_can(model: str) -> None:
    runner, wanted = SlowRunner(), catalog.models()[model]
    runners = Runners(**{wanted.family.runner: runner})
    call = asyncio.create_task(runners.recognise(RecognitionOptions(wanted), PCM))
    await asyncio.wait_for(runner.waiting.wait(), 60)
    call.cancel()
    await asyncio.wait([call])
    await asyncio.gather(*inference._forgotten)
    assert call.cancelled()
    assert runner.given_up == (runner.asked if wanted.family.cancellable else [])
