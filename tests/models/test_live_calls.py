"""Live sentences through the runner and its client: what is not idempotent is never sent twice."""

from typing import Any

import aiohttp
import numpy as np
import pytest
from bentoml.exceptions import InternalServerError

from runners.interface import StreamingItem, StreamingResult
from service import inference
from service.errors import NotReady, RecognitionFailed, SentenceLost
from service.inference import Runners
from tests.engines import DEMO, DEMO_MODEL, in_process_runners, runner_instances
from tests.speech import RECORDINGS, silence

pytestmark = pytest.mark.asyncio


class Runner:
    """Fails with each of ``failures`` in turn, then answers."""

    def __init__(self, *failures: Exception, answer: StreamingResult | None = None) -> None:
        self.failures = list(failures)
        self.answer = answer or StreamingResult(tokens=["好"])
        self.calls = 0

    async def step(self, items: list[Any]) -> list[StreamingResult]:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return [self.answer]

    async def free(self, sentences: list[str]) -> None:
        await self.step([])


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "_RETRY_PAUSE_S", 0.0)


def item(sentence: str = "s", samples: int = 1600, **options: Any) -> StreamingItem:
    return StreamingItem(model=DEMO, sentence=sentence, pcm=np.zeros(samples, np.int16), **options)


async def test_an_item_whose_connection_broke_is_not_sent_again() -> None:
    runner = Runner(aiohttp.ServerDisconnectedError())
    with pytest.raises(SentenceLost):
        await Runners(streaming=runner).stream(DEMO_MODEL, item())
    assert runner.calls == 1


async def test_a_first_item_waits_for_a_runner_that_restarts() -> None:
    runner = Runner(aiohttp.ServerDisconnectedError())
    result = await Runners(streaming=runner).stream(DEMO_MODEL, item(is_first=True))
    assert result.tokens == ["好"]


async def test_a_first_item_that_kills_its_runner_twice_is_not_tried_again() -> None:
    runner = Runner(*[aiohttp.ServerDisconnectedError()] * 2)
    with pytest.raises(NotReady):
        await Runners(streaming=runner).stream(DEMO_MODEL, item(is_first=True))


async def test_a_runner_that_knows_no_such_session_has_lost_it() -> None:
    with pytest.raises(SentenceLost):
        await Runners(streaming=Runner(answer=StreamingResult(lost=True))).stream(DEMO_MODEL, item())


@pytest.mark.parametrize(
    "runner", [Runner(answer=StreamingResult(error="RuntimeError: ill")), Runner(InternalServerError("boom"))]
)
async def test_a_failing_item_fails_its_sentence(runner: Runner) -> None:
    with pytest.raises(RecognitionFailed):
        await Runners(streaming=runner).stream(DEMO_MODEL, item())
    assert runner.calls == 1


async def test_closing_a_sentence_of_a_runner_that_is_away_is_no_failure() -> None:
    await Runners(streaming=Runner(aiohttp.ServerDisconnectedError())).close_stream(DEMO_MODEL, "s")


async def test_a_sentence_is_recognised_as_it_comes() -> None:
    runners, pcm = in_process_runners(), RECORDINGS["weather"].pcm
    texts = []
    for start in range(0, len(pcm), 4800):
        piece = item("live", is_first=start == 0, is_last=start + 4800 >= len(pcm), punctuate=True)
        piece.pcm = pcm[start : start + 4800]
        result = await runners.stream(DEMO_MODEL, piece)
        texts.append("".join(t + m for t, m in zip(result.tokens, result.marks, strict=True)))
    assert texts[-1] == "今天天气怎么样？"
    assert len(set(texts)) > 3
    with pytest.raises(SentenceLost):
        await runners.stream(DEMO_MODEL, item("live"))


async def test_sentences_are_counted_until_they_are_closed() -> None:
    runners, (*_, streaming) = in_process_runners(), runner_instances()
    before = streaming.sentences()
    await runners.stream(DEMO_MODEL, item("counted", is_first=True))
    assert streaming.sentences() == before + 1
    await runners.close_stream(DEMO_MODEL, "counted")
    assert streaming.sentences() == before


async def test_a_model_without_a_streaming_recogniser_fails_its_items_only() -> None:
    streaming = runner_instances()[-1]
    other, ours = await streaming.step(
        [
            StreamingItem(model="no such model", sentence="a", pcm=silence(1), is_first=True),
            StreamingItem(model=DEMO, sentence="b", pcm=silence(1), is_first=True, is_last=True),
        ]
    )
    assert "no such model" in (other.error or "")
    assert ours.error is None
