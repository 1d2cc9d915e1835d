"""CampplusRunner answers item by item; the service turns an item's failure into an error of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from runners.catalog import PROJECT_ROOT
from runners.interface import Embedding, EmbeddingItem
from runners.kit.funasr_models import ModelDirectory
from service.errors import RecognitionFailed
from service.inference import Runners
from tests.engines import DEMO, DEMO_MODEL, AsyncProxy, in_process_runners, runner_instances
from tests.speech import RECORDINGS

SPEECH = RECORDINGS["date"].pcm
BROKEN = np.zeros(7, np.int16)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The runner, with an engine that fails on one kind of audio."""
    runner = runner_instances()[2]
    engine = runner._engines.get(DEMO)
    embed = engine.embed

    def fail(utterances: Sequence[NDArray[np.int16]]) -> list[Embedding]:
        if any(len(u) == len(BROKEN) for u in utterances):
            raise RuntimeError("broken audio")
        found: list[Embedding] = embed(utterances)
        return found

    monkeypatch.setattr(engine, "embed", fail)
    return runner


def test_a_failing_item_fails_alone(failing: Any) -> None:
    items = [EmbeddingItem(model=DEMO, pcm=pcm) for pcm in (SPEECH, BROKEN, SPEECH)]
    first, broken, last = failing.embed(items)
    assert broken.error == "RuntimeError: broken audio"
    assert first.error is last.error is None
    assert len(first.vectors) == len(first.starts_ms) == len(first.ends_ms) > 0


@pytest.mark.asyncio
async def test_the_service_hears_of_a_failure(failing: Any) -> None:
    with pytest.raises(RecognitionFailed):
        await Runners(campplus=AsyncProxy(failing)).embed(DEMO_MODEL, BROKEN)


@pytest.mark.asyncio
async def test_the_service_gets_a_vector_for_each_window() -> None:
    found = await in_process_runners().embed(DEMO_MODEL, SPEECH)
    assert found.vectors.shape == (len(found.starts_ms), 192)
    assert found.vectors.dtype == np.float32


@pytest.mark.asyncio
async def test_the_models_own_thresholds_reach_the_service() -> None:
    runners = in_process_runners()
    shipped = ModelDirectory.read(PROJECT_ROOT / "models" / "demo" / "speaker").config["diarization_conf"]
    assert (await runners.diarization_options(DEMO_MODEL)).same_speaker == shipped["same_speaker"] > 0
