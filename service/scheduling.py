"""Puts the utterances that wait for a recogniser in order, and hands them out in batches.

What is handed out can't be called back, so a recogniser has no more in hand than keeps it busy, and everything else
waits here. Live sentences go first, then requests that somebody waits for, then jobs. Among those of one urgency keys
take turns, and a key's requests among themselves, in seconds of audio: start-time fair queueing (Goyal et al. 1996),
with a credit for whoever has had little lately, so that a short recording passes all long ones. A small part of the
work is always the longest waiting's, so nothing waits for ever.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
import weakref
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, MutableMapping, Sequence
from dataclasses import dataclass, field

from runners.interface import Capacity, Recognition, RecognitionItem
from service import observability
from service.domain import SAMPLE_RATE_HZ, Requester, Urgency

# A request or a key that begins is so far behind the others, in seconds of audio: until it has had that, it is first.
_CREDIT_S = 30.0
# Of so much audio one second is the longest waiting's.
_ONE_IN = 32
# What a recogniser computes together differs in length by this at most, as runners/kit/batching.py has it.
_LEAST_LIKE = 0.75
# While batches take less than this, the next one is handed out before the last is back.
_AHEAD_S = 0.2
_PACE_WEIGHT = 0.2


@dataclass(eq=False, slots=True)
class _Waiting:
    requester: Requester
    item: RecognitionItem
    audio_s: float
    answer: asyncio.Future[Recognition]
    since_s: float = field(default_factory=time.monotonic)
    context: contextvars.Context = field(default_factory=contextvars.copy_context)


class _Turns:
    """Takes turns by what each has had: the one that has had the least is next."""

    def __init__(self, had_s: MutableMapping[Hashable, float]) -> None:
        self._had_s = had_s
        self._now_s = 0.0  # what the one had that was next last

    def join(self, who: Hashable) -> None:
        """Lets someone in, who gets back no more than the credit of what it missed."""
        self._had_s[who] = max(self._had_s.get(who, 0.0), self._now_s - _CREDIT_S)

    def had_s(self, who: Hashable) -> float:
        return self._had_s[who]

    def take(self, who: Hashable, audio_s: float, *, in_turn: bool) -> None:
        if in_turn:
            self._now_s = max(self._now_s, self._had_s[who])
        self._had_s[who] += audio_s


class Scheduler:
    """Recognises utterances through one recogniser, in turns; for one event loop.

    Whoever stops waiting for an utterance leaves the line; what has been handed out counts until it comes back.
    """

    def __init__(
        self, run: Callable[[Sequence[RecognitionItem]], Awaitable[Sequence[Recognition]]], capacity: Capacity
    ) -> None:
        """``run`` recognises a batch, and must fail rather than hang."""
        self._run = run
        self._capacity = capacity
        self._waiting: list[_Waiting] = []  # the longest waiting first
        self._in_hand: dict[asyncio.Task[None], float] = {}  # batches with their seconds of audio
        self._keys: dict[Urgency, _Turns] = defaultdict(lambda: _Turns({}))
        self._requesters: dict[tuple[Urgency, str], _Turns] = defaultdict(lambda: _Turns(weakref.WeakKeyDictionary()))
        self._owed_s = 0.0  # to the longest waiting
        self._pace: float | None = None  # seconds of work for a second of audio, lately

    async def recognise(self, requester: Requester, item: RecognitionItem) -> Recognition:
        """Recognises an utterance when its turn has come; raises what its batch's run raised."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Recognition] = loop.create_future()
        waiting = _Waiting(requester, item, len(item.pcm) / SAMPLE_RATE_HZ, answer)
        self._keys[requester.urgency].join(requester.key)
        self._requesters[requester.urgency, requester.key].join(requester)
        self._waiting.append(waiting)
        loop.call_soon(self._hand_out)  # together with what else is asked now
        try:
            return await answer
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def _hand_out(self) -> None:
        while self._waiting and self._has_room():
            batch = self._next_batch()
            # as a part of what the first of them belongs to: its trace, its lines in the log
            task = batch[0].context.run(asyncio.create_task, self._recognise(batch))
            self._in_hand[task] = sum(one.audio_s for one in batch)
            task.add_done_callback(self._take_back)

    def _take_back(self, task: asyncio.Task[None]) -> None:
        del self._in_hand[task]
        self._hand_out()

    def _has_room(self) -> bool:
        batches, at_once = len(self._in_hand), self._capacity.at_once
        if batches < at_once or self._pace is None:
            return batches < at_once
        return batches < 2 * at_once and sum(self._in_hand.values()) * self._pace < at_once * _AHEAD_S

    def _next_batch(self) -> list[_Waiting]:
        oldest = self._waiting[0]
        is_owed = self._owed_s >= oldest.audio_s
        batch = [self._take(oldest if is_owed else min(self._waiting, key=self._order), in_turn=not is_owed)]
        while len(batch) < self._capacity.batch_size and (mates := [w for w in self._waiting if self._fits(w, batch)]):
            batch.append(self._take(min(mates, key=self._order), in_turn=False))
        self._owed_s += sum(one.audio_s for one in batch) / _ONE_IN
        if oldest in batch:
            self._owed_s = max(0.0, self._owed_s - oldest.audio_s)
        return batch

    def _order(self, waiting: _Waiting) -> tuple[Urgency, float, float]:
        """Says what goes first; of equals, the longest waiting is the first in the line."""
        who = waiting.requester
        key_s = self._keys[who.urgency].had_s(who.key)
        return who.urgency, key_s, self._requesters[who.urgency, who.key].had_s(who)

    def _fits(self, waiting: _Waiting, batch: Sequence[_Waiting]) -> bool:
        """Says whether a batch can be computed with one more at no loss, neither of padding nor of anybody's turn."""
        first = batch[0]
        if (waiting.requester.urgency, waiting.item.model) != (first.requester.urgency, first.item.model):
            return False
        lengths = [waiting.audio_s, *(one.audio_s for one in batch)]
        most_s = self._capacity.batch_s
        return min(lengths) >= _LEAST_LIKE * max(lengths) and (most_s is None or sum(lengths) <= most_s)

    def _take(self, waiting: _Waiting, *, in_turn: bool) -> _Waiting:
        who = waiting.requester
        self._waiting.remove(waiting)
        self._keys[who.urgency].take(who.key, waiting.audio_s, in_turn=in_turn)
        self._requesters[who.urgency, who.key].take(who, waiting.audio_s, in_turn=in_turn)
        observability.queue_seconds.labels(who.urgency.name.lower()).observe(time.monotonic() - waiting.since_s)
        return waiting

    async def _recognise(self, batch: Sequence[_Waiting]) -> None:
        try:
            found = await self._run([one.item for one in batch])
        except BaseException as error:
            for one in batch:
                if not one.answer.done():
                    one.answer.cancel() if isinstance(error, asyncio.CancelledError) else one.answer.set_exception(
                        error
                    )
            if not isinstance(error, Exception):
                raise
            return
        self._learn_pace(found, sum(one.audio_s for one in batch))
        for one, recognition in zip(batch, found, strict=True):
            if not one.answer.done():  # nobody waits for it any more
                one.answer.set_result(recognition)

    def _learn_pace(self, found: Sequence[Recognition], audio_s: float) -> None:
        work_s = sum(recognition.cpu_s or 0.0 for recognition in found)
        if work_s and audio_s:
            pace = work_s / audio_s
            self._pace = pace if self._pace is None else self._pace + _PACE_WEIGHT * (pace - self._pace)
