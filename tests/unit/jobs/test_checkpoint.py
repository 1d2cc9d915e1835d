"""What is remembered of a recording's utterances, channel by channel."""

from __future__ import annotations

import numpy as np
import pytest

from runners.interface import Embedding, Recognition
from service.jobs.checkpoint import Checkpoint
from service.recordings.transcribe import Understood


def understood(token: str) -> Understood:
    voices = Embedding(starts_ms=[0], ends_ms=[1500], vectors=np.ones((1, 4), np.float32))
    return Understood(Recognition(tokens=[token], starts_ms=[0], ends_ms=[200], language="zh"), voices)


@pytest.mark.asyncio
async def test_utterances_of_the_same_number_in_different_channels_are_told_apart() -> None:
    checkpoint = Checkpoint([])
    for position, token in enumerate("左右"):
        await checkpoint.channel(position).add(0, understood(token), 1.0)
    written = checkpoint.take()
    assert written is not None
    await checkpoint.is_written()
    for known in (checkpoint, Checkpoint([written])):
        for position, token in enumerate("左右"):
            found = known.channel(position).known(0)
            assert found is not None
            assert found.recognition == understood(token).recognition
            assert found.voices is not None
            assert (found.voices.vectors == 1).all()
        assert known.channel(0).known(1) is None
    assert checkpoint.take() is None
