"""A request's id is in the log lines of every process that works for it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from runners import logs
from runners.interface import EmbeddingItem, PunctuationItem, RecognitionItem, StreamingItem, VadBlock
from runners.kit.runtime import run_batch_or_each_alone

PCM = np.zeros(10, np.int16)


@pytest.fixture
def request_a() -> Iterator[None]:
    token = logs.request_id.set("request-a")
    yield
    logs.request_id.reset(token)


@pytest.fixture
def loggers_restored() -> Iterator[None]:
    yield
    for name in logs._ROOTS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.NOTSET)


def test_every_item_names_the_request_it_was_made_for(request_a: None) -> None:
    items = [
        RecognitionItem(model="m", pcm=PCM),
        VadBlock(model="m", pcm=PCM, context_frames=0, is_last=True),
        PunctuationItem(model="m", tokens=[]),
        EmbeddingItem(model="m", pcm=PCM),
        StreamingItem(model="m", sentence="s", pcm=PCM),
    ]
    assert {item.request_id for item in items} == {"request-a"}


def test_an_item_keeps_its_request_in_another_process(request_a: None) -> None:
    sent = PunctuationItem(model="m", tokens=["好"]).model_dump()
    logs.request_id.set("-")
    assert PunctuationItem(**sent).request_id == "request-a"


class Engines:
    def by_model(self, models: Sequence[str]) -> Iterator[tuple[Any, list[int]]]:
        yield "engine", list(range(len(models)))


def item(request: str) -> PunctuationItem:
    return PunctuationItem(model="m", tokens=[request], request_id=request)


def test_a_batchs_lines_name_all_its_requests_and_an_items_its_own(
    loggers_restored: None, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("DEBUG", "json")

    def run(engine: Any, batch: Sequence[PunctuationItem]) -> list[str]:
        if any(one.tokens == ["b"] for one in batch):
            raise ValueError("cannot")
        return ["fine"] * len(batch)

    assert run_batch_or_each_alone(Engines(), [item("a"), item("b"), item("a")], run, str) == [  # type: ignore[arg-type]
        "fine",
        "ValueError: cannot",
        "fine",
    ]
    records = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [(record["level"], record["request_id"]) for record in records]
    assert told == [("DEBUG", "a,b"), ("WARNING", "a,b"), ("ERROR", "b")]
    assert logs.request_id.get() == "-"
