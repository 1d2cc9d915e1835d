"""Qwen3-ASR's engine and its transformers backend, on a network of the real class with random weights.

Texts mean nothing here; what counts is that the way of computing them makes no difference.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runners.interface import RecognitionItem, StreamingItem, StreamingResult
from runners.qwen3 import network as qwen3_network
from runners.qwen3.engine import WINDOW_SAMPLES, Question, Qwen3Engine
from runners.qwen3.transformers_backend import TransformersBackend, continuation
from runners.qwen3.whisper_features import encoded_length, features, log_energies
from scripts.demo import qwen3_checkpoint
from tests.speech import RECORDINGS, Pcm

pytestmark = pytest.mark.asyncio
SPEECH = np.concatenate([RECORDINGS["weather"].pcm, RECORDINGS["long-pause"].pcm])


def written(directory: Path, *, aligner: bool) -> Path:
    tokenizer = qwen3_checkpoint.write_tokenizer(directory)
    config = qwen3_checkpoint.configuration(tokenizer, aligner=aligner)
    qwen3_checkpoint.write_config(directory, config)
    torch.manual_seed(5)
    network = qwen3_network.build(config)
    qwen3_checkpoint.initialise(network)
    qwen3_checkpoint.write_weights(directory, network)
    return directory


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> TransformersBackend:
    folder = tmp_path_factory.mktemp("qwen3")
    return TransformersBackend(
        written(folder / "asr", aligner=False), written(folder / "aligner", aligner=True), batch_size=4
    )


@pytest.fixture
def engine(backend: TransformersBackend) -> Qwen3Engine:
    return Qwen3Engine(backend, ["Chinese"])


def question(pcm: Pcm, **fields: Any) -> Question:
    return Question([pcm], most_tokens=12, **fields)


async def test_energies_are_those_of_the_whisper_feature_extractor() -> None:
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=128)
    pcm = SPEECH[:50_000]
    expected = extractor(pcm.astype(np.float32) / 32768, sampling_rate=16_000, padding=True, truncation=False)
    assert np.allclose(features(pcm).numpy(), expected["input_features"][0], atol=1e-5)


@pytest.mark.parametrize("frames", [1, 8, 99, 100, 101, 799, 800, 1234])
async def test_audio_tokens_are_counted_as_the_network_makes_them(backend: TransformersBackend, frames: int) -> None:
    made = backend._thinker.audio_tower(torch.zeros(128, frames), feature_lens=torch.tensor([frames]))
    assert len(made.last_hidden_state) == encoded_length(frames)


async def test_an_utterance_in_a_batch_is_answered_as_it_is_alone(backend: TransformersBackend) -> None:
    asked = [question(SPEECH[:n], context=c) for n, c in ((900, ""), (30_000, "北京"), (140_000, ""), (33_000, "好"))]
    together = await asyncio.gather(*map(backend.answer, asked))
    assert max(g.batch_size for g in together) > 1
    for q, answer in zip(asked, together, strict=True):
        alone = await backend.answer(q)
        assert answer.ids == alone.ids
        assert np.allclose(answer.logprobs, alone.logprobs, atol=1e-3)


@pytest.mark.parametrize("live", [False, True])
async def test_no_draft_changes_an_answer(backend: TransformersBackend, live: bool) -> None:
    asked = Question([SPEECH[:90_000]], most_tokens=40)
    ids = (await backend.answer(asked)).ids
    assert len(ids) > 10
    drafts = [ids, ids[3:], ids[:5] + ids[7:], (*ids[:4], 9, 9, *ids[4:]), ids * 3, (9,) * 50, ids[::-1], ids[:1]]
    for draft in drafts:
        memory = dict[str, Any]() if live else None
        answer = await backend.answer(dataclasses.replace(asked, draft=draft, memory=memory))
        assert answer.ids == ids
        assert len(answer.logprobs) == len(ids)


async def test_what_a_draft_knows_takes_few_steps(
    backend: TransformersBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Question([SPEECH[:90_000]], most_tokens=40)
    ids = (await backend.answer(asked)).ids
    steps: list[int] = []
    decode = backend._decode
    monkeypatch.setattr(backend, "_decode", lambda *given: steps.append(1) or decode(*given))
    await backend.answer(dataclasses.replace(asked, draft=ids))
    assert len(steps) <= 4
    steps.clear()
    await backend.answer(dataclasses.replace(asked, draft=(*ids[:9], 9, *ids[10:])))
    assert len(steps) <= 8


async def test_a_draft_goes_on_after_what_was_said_last() -> None:
    assert continuation([1, 2, 3, 4, 5], [2, 3]) == [4, 5]
    assert continuation([1, 2, 7, 0, 0, 0, 1, 2, 8], [9, 9, 9, 9, 9, 1, 2]) == [8]
    assert continuation([1, 2, 3], [3, 1]) == []
    assert continuation(range(100), [0]) == list(range(1, 33))
    assert continuation([], [1, 2]) == []


async def test_a_full_window_is_encoded_alone_as_within_the_whole(backend: TransformersBackend) -> None:
    energies = log_energies(SPEECH[: 3 * WINDOW_SAMPLES // 2].astype(np.float32) / np.float32(32768))
    tower = backend._thinker.audio_tower
    whole = tower(energies, feature_lens=torch.tensor([energies.shape[1]])).last_hidden_state
    first = tower(energies[:, :800], feature_lens=torch.tensor([800])).last_hidden_state
    assert torch.allclose(whole[:104], first, atol=1e-4)


async def test_a_live_sentence_is_answered_as_its_windows_are_at_once(backend: TransformersBackend) -> None:
    memory: dict[str, Any] = {}
    for samples in range(32_000, len(SPEECH), 32_000):
        pieces = [SPEECH[a : min(a + WINDOW_SAMPLES, samples)] for a in range(0, samples, WINDOW_SAMPLES)]
        live = await backend.answer(Question(pieces, language="Chinese", most_tokens=10, memory=memory))
        at_once = await backend.answer(Question(pieces, language="Chinese", most_tokens=10))
        assert live.ids == at_once.ids


async def test_live_audio_is_encoded_once_but_for_the_open_window(backend: TransformersBackend) -> None:
    before, memory = backend.encoded_s, dict[str, Any]()
    audio = np.zeros(60 * 16_000, np.int16)
    for samples in range(32_000, len(audio) + 1, 32_000):
        pieces = [audio[a : min(a + WINDOW_SAMPLES, samples)] for a in range(0, samples, WINDOW_SAMPLES)]
        await backend.answer(Question(pieces, most_tokens=1, memory=memory))
    assert backend.encoded_s - before <= 150


@pytest.fixture
def aligned(backend: TransformersBackend, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The times that the aligner finds, where a test says them: those of random weights cannot be true."""
    said: list[int] = []
    found = backend.timestamps

    async def timestamps(pcm: Pcm, units: Sequence[str]) -> list[int]:
        times = await found(pcm, units)
        assert len(times) == 2 * len(units)
        return [said[i * len(said) // len(times)] for i in range(len(times))]

    monkeypatch.setattr(backend, "timestamps", timestamps)
    return said


async def test_words_have_times_if_asked_for_in_languages_that_have_them(
    engine: Qwen3Engine, aligned: list[int]
) -> None:
    aligned.extend(range(5, 30))
    item = RecognitionItem(model="m", pcm=SPEECH[:48_000], hotwords={}, language="Chinese", word_times=True)
    timed = await engine.recognise(item)
    assert timed.timed
    assert (timed.starts_ms[0], timed.ends_ms[-1]) == (400, 2320)
    item = item.model_copy(update={"word_times": False})
    assert not (await engine.recognise(item)).timed
    item = item.model_copy(update={"word_times": True, "language": "Hindi"})
    assert not (await engine.recognise(item)).timed


@pytest.mark.parametrize("times", [[0], [20], [10_000], range(1000, 0, -1)], ids=["zero", "one", "beyond", "back"])
async def test_words_whose_times_cannot_be_true_are_spread_over_the_utterance(
    engine: Qwen3Engine, aligned: list[int], times: Sequence[int]
) -> None:
    aligned.extend(times)
    item = RecognitionItem(model="m", pcm=SPEECH[:48_000], hotwords={}, language="Chinese", word_times=True)
    found, spread = await engine.recognise(item), await engine.recognise(item.model_copy(update={"word_times": False}))
    assert not found.timed
    assert len(found.tokens) > 20
    assert (found.starts_ms, found.ends_ms) == (spread.starts_ms, spread.ends_ms)
    assert max(e - s for s, e in zip(found.starts_ms, found.ends_ms, strict=True)) < 3000 / 15


async def test_audio_without_samples_is_no_error(engine: Qwen3Engine) -> None:
    item = RecognitionItem(model="m", pcm=SPEECH[:0], hotwords={}, word_times=True)
    assert (await engine.recognise(item)).error is None


def step(sentence: str, pcm: Pcm, **fields: Any) -> StreamingItem:
    return StreamingItem(model="m", sentence=sentence, pcm=pcm, language="Chinese", **fields)


async def heard(engine: Qwen3Engine, session: str, steps: list[Pcm]) -> list[StreamingResult]:
    return [
        await engine.step(step(session, pcm, is_first=i == 0, is_last=i == len(steps) - 1))
        for i, pcm in enumerate(steps)
    ]


async def test_sentences_heard_at_the_same_time_do_not_mix(engine: Qwen3Engine) -> None:
    one, two = np.array_split(SPEECH[:160_000], 5), np.array_split(SPEECH[:100_000][::-1].copy(), 4)
    alone = [await heard(engine, "one", one), await heard(engine, "two", two)]
    together = await asyncio.gather(heard(engine, "a", one), heard(engine, "b", two))
    assert [[r.tokens for r in rs] for rs in together] == [[r.tokens for r in rs] for rs in alone]
    assert len(engine) == 0


async def test_a_sentence_that_is_not_known_is_lost(engine: Qwen3Engine) -> None:
    assert (await engine.step(step("nobody", SPEECH[:1600]))).lost
    await engine.step(step("freed", SPEECH[:1600], is_first=True))
    engine.close(["freed", "never begun"])
    assert (await engine.step(step("freed", SPEECH[:1600]))).lost


async def test_a_recognition_that_is_given_up_while_it_waits_is_not_computed(backend: TransformersBackend) -> None:
    before = backend.encoded_s
    running = asyncio.create_task(backend.answer(question(SPEECH)))
    while backend.encoded_s == before:  # noqa: ASYNC110 - another thread counts
        await asyncio.sleep(0.001)
    waiting = asyncio.create_task(backend.answer(question(SPEECH)))
    await asyncio.sleep(0)
    waiting.cancel()
    await running
    await backend.answer(question(SPEECH[:16_000]))
    assert backend.encoded_s - before < 2 * len(SPEECH) / 16_000
