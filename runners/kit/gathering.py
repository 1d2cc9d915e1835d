"""Gathers concurrent calls into batches for a function that is best called with many items at once.

BentoML's own batching waits as long as it has learned to wait, and after a rush unlearns that over its next
fifty batches. Live speech can't: here a batch takes what has come while the one before was computed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Gatherer(Generic[T, R]):
    """Calls ``run`` in a thread with at most ``most`` items at a time, in the order they came.

    Calls that are made at one go meet in the first batch already.
    """

    def __init__(self, run: Callable[[Sequence[T]], Sequence[R]], most: int) -> None:
        self._run = run
        self._most = most
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._computing: asyncio.Future[Sequence[R]] | None = None

    async def __call__(self, items: Sequence[T]) -> list[R]:
        """Returns the items' results, in their order; raises what ``run`` raised for a batch with one of them."""
        if self._computing is not None and self._computing.get_loop().is_closed():  # it will never tell
            self._waiting, self._computing = [], None
        futures: list[asyncio.Future[R]] = [asyncio.get_running_loop().create_future() for _ in items]
        self._waiting += zip(items, futures, strict=True)
        asyncio.get_running_loop().call_soon(self._compute)
        return await asyncio.gather(*futures)

    def _compute(self) -> None:
        if self._computing is not None:
            return
        waiting = [(item, future) for item, future in self._waiting if not future.done()]  # others' callers have gone
        batch, self._waiting = waiting[: self._most], waiting[self._most :]
        if not batch:
            return
        items = [item for item, _ in batch]
        self._computing = asyncio.get_running_loop().run_in_executor(None, self._run, items)
        self._computing.add_done_callback(lambda computed: self._deliver(computed, [future for _, future in batch]))

    def _deliver(self, computed: asyncio.Future[Sequence[R]], futures: Sequence[asyncio.Future[R]]) -> None:
        self._computing = None
        self._compute()
        error = computed.exception()
        for i, future in enumerate(futures):
            if future.done():  # its caller has gone
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(computed.result()[i])
