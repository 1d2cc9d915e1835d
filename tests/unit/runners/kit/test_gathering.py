"""Calls that meet are computed together, at once, in order; a failing batch fails its own callers only."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from runners.kit.gathering import Gatherer

pytestmark = pytest.mark.asyncio


class Doubler:
    """Doubles numbers, the first batch only when ``gate`` is set; remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.started, self.gate = threading.Event(), threading.Event()

    def run(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.started.set()
        assert self.gate.wait(10)
        if -1 in items:
            raise RuntimeError("no negative numbers")
        return [2 * i for i in items]


async def test_what_comes_during_a_batch_is_the_next_one() -> None:
    doubler = Doubler()
    gathered = Gatherer(doubler.run, most=3)
    first = asyncio.create_task(gathered([1]))
    await asyncio.to_thread(doubler.started.wait, 10)
    later = [asyncio.create_task(gathered(items)) for items in ([2, 3], [4], [5])]
    await asyncio.sleep(0)
    doubler.gate.set()
    assert await asyncio.gather(first, *later) == [[2], [4, 6], [8], [10]]
    assert doubler.batches == [[1], [2, 3, 4], [5]]


async def test_a_call_alone_does_not_wait_for_company() -> None:
    doubler = Doubler()
    doubler.gate.set()
    gathered = Gatherer(doubler.run, most=3)
    for number in range(3):
        assert await gathered([number]) == [2 * number]
    assert doubler.batches == [[0], [1], [2]]


async def test_a_batch_that_fails_fails_its_callers_and_no_others() -> None:
    doubler = Doubler()
    doubler.gate.set()
    gathered = Gatherer(doubler.run, most=1)
    bad, good = await asyncio.gather(gathered([-1]), gathered([7]), return_exceptions=True)
    assert isinstance(bad, RuntimeError)
    assert good == [14]


async def test_a_caller_that_leaves_does_not_disturb_the_others() -> None:
    doubler = Doubler()
    gathered = Gatherer(doubler.run, most=3)
    leaving = asyncio.create_task(gathered([1]))
    await asyncio.to_thread(doubler.started.wait, 10)
    staying = asyncio.create_task(gathered([2]))
    await asyncio.sleep(0)
    leaving.cancel()
    doubler.gate.set()
    assert await staying == [4]
