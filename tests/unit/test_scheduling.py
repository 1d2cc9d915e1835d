"""Who is recognised next: the order in which utterances are handed to a recogniser, and how many at a time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.interface import Capacity, Recognition, RecognitionItem
from service import scheduling
from service.domain import Requester, Urgency
from service.scheduling import Scheduler

pytestmark = pytest.mark.asyncio
LIVE, JOB = Urgency.LIVE, Urgency.JOB
ALONE = Capacity()


class Recogniser:
    """Holds every batch until it is told to give one back; notes their names in the order they come."""

    def __init__(self, capacity: Capacity = ALONE, cpu_s: float | None = None) -> None:
        self.scheduler = Scheduler(self.run, capacity)
        self.batches: list[list[str]] = []
        self.most_at_once = 0
        self._cpu_s = cpu_s
        self._held: list[asyncio.Future[None]] = []

    @property
    def names(self) -> list[str]:
        return [name for batch in self.batches for name in batch]

    @property
    def at_once(self) -> int:
        return len(self._held)

    async def run(self, items: Sequence[RecognitionItem]) -> list[Recognition]:
        held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held.append(held)
        self.most_at_once = max(self.most_at_once, len(self._held))
        self.batches.append([item.id for item in items])
        await held
        return [Recognition(tokens=[item.id], cpu_s=self._cpu_s) for item in items]

    async def give_back(self, error: Exception | None = None) -> None:
        held = self._held.pop(0)
        held.set_exception(error) if error else held.set_result(None)
        await settled()

    async def give_back_all(self) -> None:
        while self._held:
            await self.give_back()

    def ask(self, requester: Requester, name: str, audio_s: float = 10.0, model: str = "") -> asyncio.Task[Recognition]:
        item = RecognitionItem(model=model, pcm=np.zeros(int(audio_s * 16_000), np.int16), id=name)
        return asyncio.create_task(self.scheduler.recognise(requester, item))


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def busy(capacity: Capacity = ALONE, cpu_s: float | None = None) -> tuple[Recogniser, asyncio.Task[Recognition]]:
    """A recogniser that has as much in hand as it takes."""
    recogniser = Recogniser(capacity, cpu_s)
    first = recogniser.ask(Requester(), "first")
    await settled()
    return recogniser, first


async def test_an_utterance_goes_to_an_idle_recogniser_at_once_and_comes_back() -> None:
    recogniser, first = await busy()
    assert recogniser.batches == [["first"]]
    await recogniser.give_back()
    assert first.result().tokens == ["first"]


async def test_a_short_recording_passes_long_ones_that_were_there_before() -> None:
    recogniser, _ = await busy()
    for file in ("a", "b", "c"):
        requester = Requester()
        for i in range(8):
            recogniser.ask(requester, f"{file}{i}")
    await settled()
    for _ in range(6):
        await recogniser.give_back()
    recogniser.ask(Requester(), "short")
    await settled()
    await recogniser.give_back()
    assert recogniser.names[-1] == "short"


async def test_a_recording_of_a_few_utterances_passes_as_a_whole() -> None:
    recogniser, _ = await busy()
    long = [Requester() for _ in range(10)]
    for requester in long:
        for i in range(20):
            recogniser.ask(requester, f"long{i}")
    await settled()
    for _ in range(60):
        await recogniser.give_back()
    short = Requester()
    for i in range(4):
        recogniser.ask(short, f"short{i}", 7.0)
    await settled()
    for _ in range(4):
        await recogniser.give_back()
    assert recogniser.names[-4:] == [f"short{i}" for i in range(4)]


async def test_requests_of_one_key_share_by_audio_not_by_number_of_utterances() -> None:
    recogniser, _ = await busy()
    talker, answerer = Requester(), Requester()
    for _ in range(10):
        recogniser.ask(talker, "long", 12.0)
    for _ in range(40):
        recogniser.ask(answerer, "short", 3.0)
    await settled()
    for _ in range(25):
        await recogniser.give_back()
    assert recogniser.names[1:].count("long") == 5
    assert recogniser.names[1:].count("short") == 20


async def test_a_key_with_many_requests_gets_no_more_than_one_with_a_single_one() -> None:
    recogniser, _ = await busy()
    for _ in range(20):
        recogniser.ask(Requester(key="many"), "many")
    alone = Requester(key="one")
    for _ in range(5):
        recogniser.ask(alone, "one")
    await settled()
    for _ in range(10):
        await recogniser.give_back()
    assert recogniser.names[1:].count("one") == recogniser.names[1:].count("many") == 5


async def test_live_sentences_go_first_and_jobs_last() -> None:
    recogniser, _ = await busy()
    recogniser.ask(Requester(JOB), "job")
    recogniser.ask(Requester(), "interactive")
    recogniser.ask(Requester(LIVE), "live")
    await settled()
    await recogniser.give_back_all()
    assert recogniser.names == ["first", "live", "interactive", "job"]


async def test_an_idle_request_saves_up_no_more_than_the_credit() -> None:
    recogniser, _ = await busy()
    early, late = Requester(), Requester()
    recogniser.ask(early, "early")
    for _ in range(60):
        recogniser.ask(late, "late")
    await settled()
    for _ in range(40):
        await recogniser.give_back()
    for _ in range(20):
        recogniser.ask(early, "early")
    await settled()
    before = len(recogniser.names)
    for _ in range(10):
        await recogniser.give_back()
    # 30 s ahead, which is three of them, and then by turns
    assert recogniser.names[before:].count("late") >= 3


@pytest.mark.parametrize("urgency", [Urgency.INTERACTIVE, JOB])
async def test_nothing_starves_while_others_keep_coming(urgency: Urgency) -> None:
    recogniser, _ = await busy()
    old = Requester(urgency)
    for _ in range(8):
        recogniser.ask(old, "old")
    await settled()
    for _ in range(8 * scheduling._ONE_IN + 8):
        recogniser.ask(Requester(Urgency(urgency - 1)), "new")
        recogniser.ask(Requester(Urgency(urgency - 1)), "new")
        await settled()
        await recogniser.give_back()
    # its share, and hardly more
    assert recogniser.names.count("old") == 8
    assert recogniser.names[: 4 * scheduling._ONE_IN].count("old") <= 4


async def test_utterances_of_like_length_are_handed_out_together_whose_ever_they_are() -> None:
    recogniser, _ = await busy(Capacity(batch_size=3))
    for name, audio_s in [("a", 5.0), ("b", 20.0), ("c", 5.5), ("d", 4.5), ("e", 5.0)]:
        recogniser.ask(Requester(), name, audio_s)
    await settled()
    await recogniser.give_back_all()
    assert recogniser.batches == [["first"], ["a", "c", "d"], ["b"], ["e"]]


async def test_a_batch_has_no_more_audio_than_is_computed_well_together() -> None:
    recogniser, _ = await busy(Capacity(batch_size=4, batch_s=16.0))
    for name, audio_s in [("a", 7.0), ("b", 7.0), ("c", 7.0), ("d", 40.0), ("e", 40.0)]:
        recogniser.ask(Requester(), name, audio_s)
    await settled()
    await recogniser.give_back_all()
    assert recogniser.batches == [["first"], ["a", "b"], ["c"], ["d"], ["e"]]


async def test_a_batch_is_of_one_model_and_one_urgency() -> None:
    recogniser, _ = await busy(Capacity(batch_size=4))
    recogniser.ask(Requester(JOB), "job")
    recogniser.ask(Requester(), "a", model="one")
    recogniser.ask(Requester(), "b", model="other")
    recogniser.ask(Requester(), "c", model="one")
    await settled()
    await recogniser.give_back_all()
    assert recogniser.batches == [["first"], ["a", "c"], ["b"], ["job"]]


@pytest.mark.parametrize(("cpu_s", "in_hand"), [(None, 1), (10.0, 1), (0.01, 2)], ids=["untold", "slow", "fast"])
async def test_a_fast_recogniser_has_the_next_batch_in_hand_before_the_last_is_back(
    cpu_s: float | None, in_hand: int
) -> None:
    recogniser, _ = await busy(cpu_s=cpu_s)
    for _ in range(9):
        recogniser.ask(Requester(), "more")
    await settled()
    await recogniser.give_back()
    assert recogniser.at_once == in_hand


async def test_who_leaves_the_line_is_not_handed_out() -> None:
    recogniser, _ = await busy()
    leaving = recogniser.ask(Requester(), "leaving")
    staying = recogniser.ask(Requester(), "staying")
    await settled()
    leaving.cancel()
    await settled()
    await recogniser.give_back_all()
    assert recogniser.names == ["first", "staying"]
    assert staying.result().tokens == ["staying"]


async def test_what_is_in_hand_counts_until_it_comes_back_whoever_leaves() -> None:
    recogniser, first = await busy()
    recogniser.ask(Requester(), "next")
    first.cancel()
    await settled()
    assert recogniser.names == ["first"]
    await recogniser.give_back()
    assert recogniser.names == ["first", "next"]


async def test_a_batch_that_fails_fails_its_own_and_makes_room() -> None:
    recogniser, first = await busy()
    following = recogniser.ask(Requester(), "following")
    await settled()
    await recogniser.give_back(RuntimeError("out of luck"))
    await recogniser.give_back()
    assert isinstance(first.exception(), RuntimeError)
    assert following.result().tokens == ["following"]


async def test_nothing_is_kept_of_requests_that_have_ended() -> None:
    recogniser, first = await busy()
    await recogniser.give_back()
    await first
    del first
    gc.collect()
    assert all(not turns._had_s for turns in recogniser.scheduler._requesters.values())


@dataclass(frozen=True)
class Step:
    """One thing that happens: somebody asks, leaves, or a batch comes back."""

    kind: str
    requester: int
    audio_s: float


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(["ask", "ask", "ask", "leave", "back", "fail"]),
        st.integers(0, 5),
        st.floats(0.1, 30.0),
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 3), st.integers(1, 4), st.sampled_from([None, 0.001, 5.0]))
async def test_whatever_happens_everybody_is_answered_once_and_no_more_is_in_hand_than_may_be(
    steps: list[Step], at_once: int, batch_size: int, cpu_s: float | None
) -> None:
    recogniser = Recogniser(Capacity(at_once=at_once, batch_size=batch_size, batch_s=16.0), cpu_s)
    requesters = [Requester(Urgency(i % 3), "ab"[i % 2]) for i in range(6)]
    asked: dict[str, asyncio.Task[Recognition]] = {}
    for number, step in enumerate(steps):
        if step.kind == "ask":
            asked[str(number)] = recogniser.ask(requesters[step.requester], str(number), step.audio_s)
        elif step.kind == "leave" and asked:
            list(asked.values())[step.requester % len(asked)].cancel()
        elif recogniser.at_once:
            await recogniser.give_back(RuntimeError() if step.kind == "fail" else None)
        await settled()
        # nothing waits beside an idle recogniser
        waiting = {name for name, task in asked.items() if not task.done()} - set(recogniser.names)
        assert not waiting or recogniser.at_once >= at_once
    await recogniser.give_back_all()
    await asyncio.wait(asked.values()) if asked else None
    assert len(set(recogniser.names)) == len(recogniser.names)
    assert recogniser.most_at_once <= 2 * at_once
    assert max(map(len, recogniser.batches), default=0) <= batch_size
    for name, task in asked.items():
        if not task.cancelled() and task.exception() is None:
            assert task.result().tokens == [name]
