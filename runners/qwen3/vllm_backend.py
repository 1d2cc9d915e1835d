"""Runs the network in vLLM on a GPU: continuous batching in a process of its own, given up requests aborted.

Runs on vLLM 0.26 to 0.33. A live sentence's full windows keep their hash from step to step, so that vLLM takes their
audio states and the decoder's cache of them from before.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runners.qwen3.engine import Generated, Pcm, Question, lengthened
from runners.qwen3.prompt import AUDIO_PAD, TIMESTAMP, alignment_prompt, recognition_prompt
from runners.qwen3.tokens import Tokens

# Three minutes of audio (2,340 tokens), a context and what is said in it. An audio is encoded in one go, so that
# as many must fit a step.
_LONGEST_TOKENS = 8192
# Windows of 8 s in a live sentence of a minute, and a little more.
_MOST_PIECES = 10
_ALIGNER = "Qwen3ASRForcedAlignerForTokenClassification"


class VllmBackend:
    """Answers with one recogniser, and finds timestamps with an aligner where ``aligner`` is a checkpoint.

    Attributes:
        tokens: The recogniser's tokenizer.
        timestamp_ms: The step of the aligner's timestamps.
    """

    def __init__(
        self,
        recogniser: Path,
        aligner: Path | None,
        *,
        recogniser_share: float,
        aligner_share: float = 0.0,
        dtype: str = "bfloat16",
        load_format: str = "auto",
    ) -> None:
        """Starts the engines; ``recogniser_share`` and ``aligner_share`` are parts of the GPU's memory, from 0 to 1.

        ``load_format`` is vLLM's: "dummy" makes weights up.
        """
        self.tokens = Tokens(recogniser)
        self._recogniser = _engine(
            recogniser,
            gpu_memory_utilization=recogniser_share,
            dtype=dtype,
            load_format=load_format,
            limit_mm_per_prompt={"audio": _MOST_PIECES},
        )
        self._aligner = None
        self.timestamp_ms = 80.0
        if aligner is not None:
            self._aligner_tokens = Tokens(aligner)
            self._timestamp_id = self._aligner_tokens.id_of(TIMESTAMP)
            self.timestamp_ms = float(json.loads((aligner / "config.json").read_text())["timestamp_segment_time"])
            self._aligner = _engine(
                aligner,
                gpu_memory_utilization=aligner_share,
                dtype=dtype,
                limit_mm_per_prompt={"audio": 1},
                runner="pooling",
                hf_overrides={"architectures": [_ALIGNER]},
                # every token has its own output, in one go
                enable_prefix_caching=False,
                enable_chunked_prefill=False,
            )

    async def answer(self, question: Question) -> Generated:
        """Answers a question; vLLM computes it with whatever else was asked.

        Raises:
            RuntimeError: the engine failed; ``is_healthy`` tells whether it can go on.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        prompt = recognition_prompt(question.context, question.language, audio_tokens=AUDIO_PAD * len(question.pieces))
        if question.most_tokens <= 0:
            return Generated((), ())
        parameters = SamplingParams(
            temperature=0.0,
            max_tokens=question.most_tokens,
            logprobs=0,  # that of the chosen token alone
            stop_token_ids=list(self.tokens.end_ids),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        asked = _prompt([*self.tokens.ids(prompt), *question.begun], question.pieces)
        output = await _last(self._recogniser.generate(asked, parameters, uuid.uuid4().hex))
        (completion,) = output.outputs
        ids: list[int] = []
        logprobs: list[float] = []
        for token, at in zip(completion.token_ids, completion.logprobs, strict=True):
            if token not in self.tokens.end_ids:
                ids.append(token)
                logprobs.append(at[token].logprob)
        return Generated(tuple(ids), tuple(logprobs))

    async def timestamps(self, pcm: Pcm, units: Sequence[str]) -> list[int]:
        """Returns two for each unit, its start and end, in steps of ``timestamp_ms``; there must be an aligner.

        Raises:
            RuntimeError: as ``answer``.
        """
        from vllm import PoolingParams

        assert self._aligner is not None
        asked = _prompt(self._aligner_tokens.ids(alignment_prompt(list(units))), [pcm])
        parameters = PoolingParams(task="token_classify", use_activation=False)
        output = await _last(self._aligner.encode(asked, parameters, uuid.uuid4().hex))
        places = [at for at, token in enumerate(output.prompt_token_ids) if token == self._timestamp_id]
        found: list[int] = output.outputs.data[places].argmax(-1).tolist()
        return found

    async def is_healthy(self) -> bool:
        """Says whether both engines' processes still answer."""
        for engine in (self._recogniser, self._aligner):
            if engine is not None:
                try:
                    await engine.check_health()
                except Exception:  # EngineDeadError, or what it died of
                    return False
        return True

    def close(self) -> None:
        """Ends the engines' processes."""
        for engine in (self._recogniser, self._aligner):
            if engine is not None:
                engine.shutdown()
        self._recogniser = self._aligner = None


def _engine(directory: Path, **arguments: Any) -> Any:
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # it calls home otherwise
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(
        AsyncEngineArgs(
            model=str(directory),
            max_model_len=_LONGEST_TOKENS,
            max_num_batched_tokens=_LONGEST_TOKENS,
            disable_log_stats=True,
            **arguments,
        )
    )


def _prompt(ids: list[int], pieces: Sequence[Pcm]) -> Any:
    from vllm.inputs import TokensPrompt

    return TokensPrompt(prompt_token_ids=ids, multi_modal_data={"audio": [_samples(piece) for piece in pieces]})


def _samples(pcm: Pcm) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = lengthened(pcm).astype(np.float32) / np.float32(32768)
    return samples


async def _last(outputs: Any) -> Any:
    """Returns the last of a request's outputs; a caller that is cancelled ends the request.

    Raises:
        RuntimeError: the engine failed; ``is_healthy`` tells whether it can go on.
    """
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    last = None
    try:
        async with contextlib.aclosing(outputs):
            async for output in outputs:
                last = output
    except (EngineDeadError, EngineGenerateError) as error:
        raise RuntimeError(f"vLLM's engine failed: {error}") from error
    if last is None:
        raise RuntimeError("vLLM gave no output")
    return last
