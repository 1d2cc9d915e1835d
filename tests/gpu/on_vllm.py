"""The vLLM backend on vLLM's real classes; only its engine, which needs a GPU, is a stand-in with the real signatures.

Run by test_vllm_wheel.py, in a process of its own for each version of vLLM.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import numpy as np
import pytest
import torch
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.logprobs import Logprob
from vllm.model_executor.models.registry import ModelRegistry
from vllm.outputs import CompletionOutput, PoolingOutput, PoolingRequestOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from runners.qwen3 import vllm_backend
from runners.qwen3.engine import Question
from runners.qwen3.prompt import AUDIO_PAD, TIMESTAMP
from runners.qwen3.vllm_backend import VllmBackend

END, PAD, MARK = 1, 2, 3
SECOND = np.full(16_000, 16384, np.int16)


class LetterTokens:
    """A token for each letter, and one for the end, an audio's place and a timestamp."""

    def __init__(self, directory: Path) -> None:
        self.end_ids = (END,)

    def id_of(self, token: str) -> int:
        assert token == TIMESTAMP
        return MARK

    def ids(self, text: str) -> list[int]:
        return [ord(c) for c in text.replace(AUDIO_PAD, chr(PAD)).replace(TIMESTAMP, chr(MARK))]


class Engines:
    """What the backend starts, and what it asks of them."""

    def __init__(self) -> None:
        self.arguments: list[AsyncEngineArgs] = []
        self.started: list[Any] = []
        self.said: list[int] = [*map(ord, "好"), END]
        self.stuck = False
        self.failure: Exception | None = None
        self.given_up = False
        self.asked: list[tuple[Any, Any]] = []

    def start(self, arguments: AsyncEngineArgs, *_: Any, **__: Any) -> Any:
        engine = create_autospec(AsyncLLM, instance=True)
        engine.generate.side_effect = self.generate
        engine.encode.side_effect = self.encode
        self.arguments.append(arguments)
        self.started.append(engine)
        return engine

    async def generate(self, prompt: Any, sampling_params: Any, request_id: str) -> AsyncIterator[RequestOutput]:
        self.asked.append((prompt, sampling_params))
        try:
            if self.stuck:
                await asyncio.sleep(3600)
            if self.failure:
                raise self.failure
            logprobs = [{token: Logprob(-0.5, 1, None)} for token in self.said]
            done = CompletionOutput(0, "", self.said, -0.5, logprobs)
            yield RequestOutput(request_id, None, prompt["prompt_token_ids"], None, [done], finished=True)
        except (asyncio.CancelledError, GeneratorExit):
            self.given_up = True
            raise

    async def encode(self, prompt: Any, pooling_params: Any, request_id: str) -> AsyncIterator[PoolingRequestOutput]:
        self.asked.append((prompt, pooling_params))
        # vLLM puts the audio's own places where one stood for all of them
        ids = [token for t in prompt["prompt_token_ids"] for token in ([PAD] * 13 if t == PAD else [t])]
        data = torch.nn.functional.one_hot(torch.arange(len(ids)), 200).float()
        yield PoolingRequestOutput(request_id, PoolingOutput(data), ids, 0, True)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Engines:
    made = Engines()
    monkeypatch.setattr(AsyncLLM, "from_engine_args", made.start)
    monkeypatch.setattr(vllm_backend, "Tokens", LetterTokens)
    return made


@pytest.fixture
def backend(engines: Engines, tmp_path: Path) -> VllmBackend:
    (tmp_path / "config.json").write_text(json.dumps({"timestamp_segment_time": 80}))
    return VllmBackend(tmp_path, tmp_path, recogniser_share=0.5, aligner_share=0.1)


def test_vllm_knows_the_recogniser_and_the_aligner() -> None:
    assert {"Qwen3ASRForConditionalGeneration", vllm_backend._ALIGNER} <= set(ModelRegistry.get_supported_archs())


def test_each_engine_has_its_share_and_what_its_kind_of_work_needs(engines: Engines, backend: VllmBackend) -> None:
    recogniser, aligner = engines.arguments
    assert (recogniser.gpu_memory_utilization, aligner.gpu_memory_utilization) == (0.5, 0.1)
    assert recogniser.limit_mm_per_prompt["audio"] >= 9
    assert (recogniser.runner, aligner.runner) == ("auto", "pooling")


def test_an_answer_begins_as_asked_and_ends_before_its_end_token(engines: Engines, backend: VllmBackend) -> None:
    question = Question([SECOND, SECOND], language="Chinese", begun=(7, 8), most_tokens=20)
    answer = asyncio.run(backend.answer(question))
    assert (answer.ids, answer.logprobs) == ((ord("好"),), (-0.5,))
    ((prompt, parameters),) = engines.asked
    assert prompt["prompt_token_ids"][-2:] == [7, 8]
    assert prompt["prompt_token_ids"].count(PAD) == len(prompt["multi_modal_data"]["audio"]) == 2
    assert prompt["multi_modal_data"]["audio"][0].max() == 0.5
    assert isinstance(parameters, SamplingParams)
    assert (parameters.temperature, parameters.max_tokens, parameters.stop_token_ids) == (0.0, 20, [END])
    assert parameters.output_kind is RequestOutputKind.FINAL_ONLY


def test_timestamps_are_read_where_the_prompt_asks_for_them(engines: Engines, backend: VllmBackend) -> None:
    found = asyncio.run(backend.timestamps(SECOND, ["你", "好"]))
    ((prompt, parameters),) = engines.asked
    assert (parameters.task, parameters.use_activation) == ("token_classify", False)
    ids = prompt["prompt_token_ids"]
    assert found == [at + 12 for at, token in enumerate(ids) if token == MARK]
    assert len(found) == 4


def test_a_caller_that_goes_away_ends_its_request(engines: Engines, backend: VllmBackend) -> None:
    async def ask_and_leave() -> None:
        engines.stuck = True
        asking = asyncio.create_task(backend.answer(Question([SECOND])))
        await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(ask_and_leave())
    assert engines.given_up


@pytest.mark.parametrize("failure", [EngineDeadError(), EngineGenerateError()])
def test_a_failed_engine_is_an_error_that_the_runner_answers_with(
    engines: Engines, backend: VllmBackend, failure: Exception
) -> None:
    engines.failure = failure
    with pytest.raises(RuntimeError, match="vLLM's engine failed"):
        asyncio.run(backend.answer(Question([SECOND])))


def test_a_dead_engine_is_told(engines: Engines, backend: VllmBackend) -> None:
    assert asyncio.run(backend.is_healthy())
    engines.started[1].check_health.side_effect = EngineDeadError()
    assert not asyncio.run(backend.is_healthy())


def test_closing_ends_every_engine(engines: Engines, backend: VllmBackend) -> None:
    backend.close()
    for engine in engines.started:
        engine.shutdown.assert_called_once_with()
