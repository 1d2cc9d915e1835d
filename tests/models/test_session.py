"""A live session over the real runners in one process: events, their times and texts, bounds, failures."""

import asyncio
import dataclasses
import itertools
import logging
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from runners.interface import VadBlock
from scripts.demo import scenes
from scripts.demo.speech import rms
from service.audio import recording as recordings
from service.domain import AudioSource, RecognitionOptions, join_words
from service.errors import InvalidRequest, NotReady, RecognitionFailed, SentenceLost, ServiceError
from service.inference import Runners
from service.live.events import Event, PartialChanged, SentenceBegan, SentenceEnded, SessionFailed
from service.live.nearfield import NearFieldGate, frame_levels
from service.live.sentence_finder import Closed, SentenceFinder
from service.live.session import NearFieldFilter, Session, SessionOptions
from service.live.tape import Tape
from service.recordings.transcribe import Limits, Transcriber
from tests.engines import DEMO, DEMO_MODEL, AsyncProxy, in_process_runners, runner_instances
from tests.speech import RECORDINGS, Pcm, Recording, characters, error_rate, noise, silence

pytestmark = pytest.mark.asyncio

NO_FILTER = NearFieldFilter(enabled=False)
FILTER = NearFieldFilter()
FINALS = SessionOptions(RecognitionOptions(DEMO_MODEL), partials=False)
PARTIALS = SessionOptions(RecognitionOptions(DEMO_MODEL))
STREAMED = SessionOptions(RecognitionOptions(DEMO_MODEL), finals=False)
SPOKEN = RecognitionOptions(DEMO_MODEL, inverse_text_normalization=False)


def runners_with(*, vad: Any = None, paraformer: Any = None, streaming: Any = None) -> Runners:
    instances = [AsyncProxy(r) for r in runner_instances()]
    return Runners(
        vad=vad or instances[0],
        paraformer=paraformer or instances[1],
        campplus=instances[2],
        streaming=streaming or instances[3],
    )


def start(
    options: SessionOptions = FINALS, near_field: NearFieldFilter = FILTER, runners: Runners | None = None
) -> Session:
    return Session(runners or in_process_runners(), options, near_field)


def pieces(pcm: Pcm, sizes: Iterable[int]) -> Iterable[Pcm]:
    """``pcm`` cut to pieces of ``sizes``, again and again."""
    position = 0
    for size in itertools.cycle(sizes):
        if position >= len(pcm):
            return
        yield pcm[position : position + size]
        position += size


async def push_all(session: Session, pcm: Pcm, sizes: Iterable[int] = (16_000,)) -> None:
    for piece in pieces(pcm, sizes):
        await session.push(piece)
    await session.finish()


async def hear(
    pcm: Pcm,
    options: SessionOptions = FINALS,
    near_field: NearFieldFilter = FILTER,
    sizes: Iterable[int] = (16_000,),
    runners: Runners | None = None,
) -> list[Event]:
    session = start(options, near_field, runners)
    pushing = asyncio.create_task(push_all(session, pcm, sizes))
    events = [event async for event in session]
    await pushing
    await session.close()
    return events


def ended(events: list[Event]) -> list[SentenceEnded]:
    return [e for e in events if isinstance(e, SentenceEnded)]


def said(events: list[Event]) -> str:
    return "".join(e.text for e in ended(events))


def scaled(pcm: Pcm, factor: float) -> Pcm:
    return np.round(pcm * factor).astype(np.int16)


def without_pauses(recordings: Iterable[Recording]) -> tuple[Pcm, str]:
    """Every sentence right after the one before, and what is said."""
    sentences = [(r, s) for r in recordings for s in r.sentences]
    speech = [r.pcm[int(s.start_s * 16_000) : int(s.end_s * 16_000)] for r, s in sentences]
    return np.concatenate(speech), "".join(s.text for _, s in sentences)


# --- order and completeness ---------------------------------------------------------------------------


@pytest.mark.parametrize("options", [FINALS, PARTIALS, STREAMED], ids=["finals", "partials", "streamed"])
async def test_a_sentence_begins_changes_and_ends_before_the_next_one_begins(options: SessionOptions) -> None:
    events = await hear(RECORDINGS["dialogue"].pcm, options, sizes=(1, 777, 3201))
    sentences = [list(group) for _, group in itertools.groupby(events, key=lambda e: e.index)]
    assert [s[0].index for s in sentences] == list(range(1, len(sentences) + 1))
    for began, *partials, end in sentences:
        assert isinstance(began, SentenceBegan)
        assert all(isinstance(p, PartialChanged) for p in partials)
        assert isinstance(end, SentenceEnded)
        assert began.begin_ms == end.begin_ms < end.end_ms
    assert all(a.end_ms <= b.begin_ms for a, b in itertools.pairwise(ended(events)))


@pytest.mark.parametrize("sizes", [(160,), (1, 2, 3, 999), (9_600,), (10**9,)], ids=["10ms", "odd", "600ms", "whole"])
async def test_events_do_not_depend_on_how_the_audio_comes(sizes: tuple[int, ...]) -> None:
    pcm = RECORDINGS["long-pause"].pcm
    assert await hear(pcm, sizes=sizes) == await hear(pcm)


async def test_each_sentence_is_what_the_offline_pipeline_makes_of_it(tmp_path: Path) -> None:
    pcm = RECORDINGS["dialogue"].pcm
    transcriber = Transcriber(in_process_runners(), Limits(90.0, 3600.0))
    for sentence in ended(await hear(pcm)):
        path = tmp_path / "sentence.wav"
        soundfile.write(path, pcm[(sentence.begin_ms - 150) * 16 : (sentence.end_ms + 100) * 16], 16_000)
        recording = recordings.Recording(AudioSource(str(path)))
        transcript = await transcriber.start(recording, RecognitionOptions(DEMO_MODEL)).finish()
        assert sentence.text == transcript.text


async def test_what_is_said_in_a_dialogue_is_understood() -> None:
    recording = RECORDINGS["dialogue"]
    options = dataclasses.replace(FINALS, recognition=SPOKEN)
    assert characters(said(await hear(recording.pcm, options))) == characters(recording.text)


async def test_the_text_is_that_of_the_words() -> None:
    for event in ended(await hear(RECORDINGS["dialogue"].pcm)):
        assert event.text == join_words(event.words)


async def test_words_lie_within_their_sentence_in_order() -> None:
    for event in ended(await hear(RECORDINGS["dialogue"].pcm)):
        times = [t for w in event.words for t in (w.start_s, w.end_s)]
        assert times == sorted(times)
        assert event.begin_ms / 1000 <= times[0] <= times[-1] <= event.end_ms / 1000


async def test_punctuation_and_figures_can_be_left_out() -> None:
    recognition = RecognitionOptions(DEMO_MODEL, punctuation=False, inverse_text_normalization=False)
    options = dataclasses.replace(FINALS, recognition=recognition)
    assert said(await hear(RECORDINGS["numbers"].pcm, options)) == "一共三百零五元"


async def test_finish_flushes_what_was_said_last() -> None:
    recording = RECORDINGS["weather"]
    assert said(await hear(recording.pcm[: int(recording.sentences[0].end_s * 16_000)])) == "今天天气怎么样？"


async def test_a_repeated_word_is_told_twice() -> None:
    pcm = np.concatenate([RECORDINGS["short-0"].pcm, silence(1.5)] * 2)
    assert [e.text for e in ended(await hear(pcm))] == ["好。", "好。"]


@pytest.mark.parametrize("name", [f"short-{i}" for i in range(5)])
@pytest.mark.parametrize("options", [FINALS, PARTIALS, STREAMED], ids=["finals", "partials", "streamed"])
async def test_short_answers_survive(name: str, options: SessionOptions) -> None:
    events = await hear(RECORDINGS[name].pcm, options)
    assert said(events) == RECORDINGS[name].text
    assert [type(e) for e in events if not isinstance(e, PartialChanged)] == [SentenceBegan, SentenceEnded]


@pytest.mark.parametrize("seconds", [0, 1 / 16_000, 0.02, 0.05, 3])
async def test_without_speech_there_are_no_events(seconds: float) -> None:
    assert await hear(silence(seconds), PARTIALS) == []


async def test_many_sessions_at_once_hear_what_each_hears_alone() -> None:
    names = [n for n in RECORDINGS if n.startswith("sentence")]
    alone = {name: await hear(RECORDINGS[name].pcm) for name in names}
    together = await asyncio.gather(*(hear(RECORDINGS[name].pcm) for name in names * 2))
    assert list(together) == [alone[name] for name in names * 2]


# --- endpointing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_silence_ms", [200, 800, 2000])
async def test_sentences_are_what_lies_between_the_pauses(max_silence_ms: int) -> None:
    for name in ("dialogue", "long-pause"):
        truth = [(round(1000 * s.start_s), round(1000 * s.end_s)) for s in RECORDINGS[name].sentences]
        pauses = [b[0] - a[1] for a, b in itertools.pairwise(truth)]
        options = dataclasses.replace(FINALS, max_sentence_silence_ms=max_silence_ms, longest_sentence_ms=60_000)
        found = [(e.begin_ms, e.end_ms) for e in ended(await hear(RECORDINGS[name].pcm, options))]
        for begin_ms, end_ms in found:
            assert min(abs(begin_ms - start) for start, _ in truth) <= 150
            assert min(abs(end_ms - end) for _, end in truth) <= 150
        sure = sum(p > max_silence_ms + 150 for p in pauses)
        possible = sum(p > max_silence_ms - 150 for p in pauses)
        if max_silence_ms > 200:  # else there are pauses within sentences, too
            assert sure <= len(found) - 1 <= possible


@pytest.mark.parametrize("max_silence_ms", [200, 800, 2000])
@pytest.mark.parametrize("name", ["weather", "numbers", "date", "home", "service", "short-1", "sentence-4"])
async def test_a_sentence_ends_when_max_sentence_silence_has_passed(name: str, max_silence_ms: int) -> None:
    """Told within 150 ms of that much audio after the end of speech: not later …"""
    recording = RECORDINGS[name]
    end_ms = int(1000 * recording.sentences[-1].end_s) + max_silence_ms
    pcm = np.concatenate([recording.pcm, silence(3)])
    session = start(dataclasses.replace(FINALS, max_sentence_silence_ms=max_silence_ms), NO_FILTER)
    for piece in pieces(pcm[: (end_ms + 150) * 16], (320,)):
        await session.push(piece)
    events = aiter(session)
    began, end = [await asyncio.wait_for(anext(events), 30) for _ in range(2)]
    assert isinstance(began, SentenceBegan)
    assert isinstance(end, SentenceEnded)
    await session.close()
    # … and not before.
    assert heard_until_closed(pcm, max_silence_ms) >= end_ms - 150


def heard_until_closed(pcm: Pcm, max_silence_ms: int) -> int:
    """How many ms of ``pcm`` a finder needs to close the first sentence."""
    vad = runner_instances()[0]
    block = VadBlock(model=DEMO, pcm=pcm, context_frames=0, is_last=True)
    scores, levels = vad.score([block])[0], frame_levels(pcm)
    tape = Tape()
    tape.append(pcm)
    finder = SentenceFinder(vad.options()[DEMO], NearFieldGate(NO_FILTER), tape, max_silence_ms)
    for i in range(len(scores)):
        if any(isinstance(c, Closed) for c in finder.accept(scores[i : i + 1], levels[i : i + 1])):
            return 10 * (i + 1)
    raise AssertionError("never closed")


@pytest.mark.parametrize("longest_s", [30, 60])
async def test_a_sentence_without_a_pause_is_cut_and_loses_no_word(longest_s: int) -> None:
    pcm, text = without_pauses(RECORDINGS.values())
    assert len(pcm) > 70 * 16_000
    options = dataclasses.replace(PARTIALS, recognition=SPOKEN, longest_sentence_ms=1000 * longest_s)
    events = await hear(pcm, options)
    sentences = ended(events)
    assert len(sentences) == {30: 4, 60: 2}[longest_s]
    assert 1000 * longest_s - 6_000 < sentences[0].end_ms - sentences[0].begin_ms <= 1000 * longest_s
    assert abs(sentences[1].begin_ms - sentences[0].end_ms) < 200
    assert len(characters(said(events))) == len(characters(text))
    assert error_rate(text, said(events)) <= 0.01
    # the streaming text starts anew with the audio after the cut
    partials = [e for e in events if isinstance(e, PartialChanged) and e.index == 2]
    assert error_rate(sentences[1].text[:4], partials[0].text[:4]) <= 0.5


@pytest.mark.parametrize("partials", [True, False])
async def test_sentences_without_a_pause_end_where_the_marks_say_so_and_lose_no_word(partials: bool) -> None:
    spoken = [r for name, r in RECORDINGS.items() if name.startswith("sentence")]
    pcm, text = without_pauses(spoken)
    options = SessionOptions(SPOKEN, partials=partials, partial_punctuation=False, ends_at_marks=True)
    session = start(options)

    async def speak() -> None:
        for piece in pieces(pcm, (8_000,)):
            await session.push(piece)
            await asyncio.sleep(0.1)  # partial text comes while somebody speaks
        await session.finish()

    speaking = asyncio.create_task(speak())
    events = [event async for event in session]
    await speaking
    sentences = ended(events)
    assert len(sentences) >= len(spoken) // 2
    assert {sentence.reason for sentence in sentences[:-1]} == {"mark"}
    assert all(sentence.end_ms - sentence.begin_ms < 30_000 for sentence in sentences)
    assert error_rate(text, said(events)) <= 0.03
    shown = [e.text for e in events if isinstance(e, PartialChanged)]
    assert bool(shown) == partials
    assert shown == [characters(text) for text in shown]  # no marks where none are asked for


async def test_the_streaming_text_loses_nothing_at_a_cut_either() -> None:
    pcm, text = without_pauses(RECORDINGS.values())
    events = await hear(pcm, dataclasses.replace(STREAMED, recognition=SPOKEN))
    assert len(ended(events)) == 4
    assert abs(len(characters(said(events))) - len(characters(text))) <= 0.02 * len(text)


def sounds(make: Callable[[random.Random], Any], seed: int) -> Pcm:
    """12 s of quiet with six coughs, clicks or the like, a second apart."""
    rng = random.Random(seed)
    wave = (np.random.default_rng(seed).standard_normal(12 * 16_000) * 1e-3).astype(np.float32)
    for i in range(6):
        sound = make(rng)
        sound = sound * np.float32(10 ** (rng.uniform(-30, -8) / 20) / rms(sound))
        position = (1 + 3 * i // 2) * 16_000
        wave[position : position + len(sound)] += sound
    return scenes.to_pcm(wave)


@pytest.mark.parametrize("make", [scenes._click, scenes._cough, scenes._breath, scenes._knock])
@pytest.mark.parametrize("options", [FINALS, PARTIALS, STREAMED], ids=["finals", "partials", "streamed"])
async def test_a_cough_or_a_click_starts_no_sentence(make: Callable[[random.Random], Any], options: Any) -> None:
    for seed in range(5):
        assert await hear(sounds(make, seed), options, NO_FILTER) == []


async def test_hostile_background_hardly_ever_starts_one() -> None:
    recordings = [scenes.to_pcm(scenes.background(6 * 16_000, random.Random(seed))) for seed in range(60)]
    begun = [pcm for pcm in recordings if await hear(pcm, FINALS, NO_FILTER)]
    assert len(begun) <= 1


async def test_a_sound_that_was_begun_and_has_no_words_ends_empty() -> None:
    class Deaf(AsyncProxy):
        async def recognise(self, items: list[Any]) -> list[Any]:
            return [type(r)() for r in await asyncio.to_thread(self._runner.recognise, items)]

    runners = runners_with(paraformer=Deaf(runner_instances()[1]))
    began, end = await hear(RECORDINGS["weather"].pcm, runners=runners)
    assert isinstance(began, SentenceBegan)
    assert isinstance(end, SentenceEnded)
    assert (end.text, end.words) == ("", ())
    assert await hear(RECORDINGS["short-1"].pcm, runners=runners) == []


@pytest.mark.parametrize("options", [FINALS, PARTIALS, STREAMED], ids=["finals", "partials", "streamed"])
async def test_a_short_sound_needs_a_recogniser_that_is_sure_of_it(options: SessionOptions) -> None:
    class Unsure(AsyncProxy):
        async def recognise(self, items: list[Any]) -> list[Any]:
            results = await asyncio.to_thread(self._runner.recognise, items)
            return [r.model_copy(update={"logprobs": [-1.0] * len(r.tokens)}) for r in results]

    runners = runners_with(paraformer=Unsure(runner_instances()[1]))
    assert await hear(RECORDINGS["short-1"].pcm, options, runners=runners) == []
    assert said(await hear(RECORDINGS["weather"].pcm, runners=runners)) == "今天天气怎么样？"


async def test_speech_noise_threshold_decides_what_is_speech() -> None:
    pcm = RECORDINGS["weather"].pcm
    assert await hear(pcm, dataclasses.replace(FINALS, speech_noise_threshold=1.0)) == []
    eager = dataclasses.replace(FINALS, speech_noise_threshold=-1.0)
    assert ended(await hear(pcm, eager, NO_FILTER))[0].end_ms > 1000 * RECORDINGS["weather"].sentences[0].end_s + 300


# --- near field ---------------------------------------------------------------------------------------


async def test_speech_around_the_threshold_loses_no_word() -> None:
    recording = RECORDINGS["dialogue"]
    speech, _ = without_pauses([recording])
    level = float(np.sqrt(np.mean(np.square(speech / 32_768))))
    options = dataclasses.replace(FINALS, recognition=SPOKEN)
    assert error_rate(recording.text, said(await hear(scaled(recording.pcm, 0.008 / level), options))) == 0


async def test_speech_that_is_filtered_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    session = start()
    with caplog.at_level(logging.INFO, "service.live.session"):
        await push_all(session, scaled(RECORDINGS["weather"].pcm, 0.01))
        assert [e async for e in session] == []
        await session.close()
    assert len(session.warnings) == 1
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "ASR_NEARFIELD_RMS_THRESHOLD" in warning.getMessage()
    assert any("frames of 10 ms filtered" in r.getMessage() for r in caplog.records)


async def test_quiet_speech_is_heard_without_the_filter() -> None:
    assert said(await hear(scaled(RECORDINGS["weather"].pcm, 0.02), FINALS, NO_FILTER)) == "今天天气怎么样？"


async def test_a_distant_speaker_starts_no_sentence_beside_a_near_one() -> None:
    near, far = RECORDINGS["weather"], RECORDINGS["date"]
    pcm = np.concatenate([scaled(far.pcm, 0.01), near.pcm, silence(1), scaled(far.pcm, 0.01)])
    assert said(await hear(pcm)) == "今天天气怎么样？"
    assert len(ended(await hear(pcm, FINALS, NO_FILTER))) == 3


# --- streaming text -----------------------------------------------------------------------------------


class CountingProxy(AsyncProxy):
    """Counts the sessions that are open on the runner's side."""

    def __init__(self) -> None:
        super().__init__(runner_instances()[3])
        self.open: set[str] = set()

    async def step(self, items: list[Any]) -> list[Any]:
        for item in items:
            (self.open.discard if item.is_last else self.open.add)(item.sentence)
        return await self._runner.step(items)

    async def free(self, sessions: list[str]) -> None:
        self.open.difference_update(sessions)
        await asyncio.to_thread(self._runner.free, sessions)


async def test_partials_grow_to_the_sentence() -> None:
    recording = RECORDINGS["weather"]
    session = start(PARTIALS)
    texts: list[str] = []
    heard = int((recording.sentences[0].start_s + 1.2) * 16_000)
    await session.push(recording.pcm[:heard])
    while not texts:
        event = await asyncio.wait_for(anext(aiter(session)), 30)
        texts += [event.text] if isinstance(event, PartialChanged) else []
    await push_all(session, recording.pcm[heard:])
    texts += [e.text async for e in session if isinstance(e, PartialChanged)]
    await session.close()
    assert len(texts) == len(set(texts))
    assert "今天天气怎么样".startswith(characters(texts[0]))


async def test_partials_write_numbers_as_the_final_does() -> None:
    recording = RECORDINGS["date"]
    session = start(PARTIALS)
    heard = int(recording.sentences[0].end_s * 16_000)
    await session.push(recording.pcm[:heard])
    events = aiter(session)
    partials: list[PartialChanged] = []
    while not partials or "2026年" not in partials[-1].text:
        event = await asyncio.wait_for(anext(events), 30)
        partials += [event] if isinstance(event, PartialChanged) else []
    await push_all(session, recording.pcm[heard:])
    final = "".join([e.text async for e in events if isinstance(e, SentenceEnded)])
    await session.close()
    assert final == "今天是2026年11月23日。"
    assert partials[-1].settled_text == "今天是2026年"
    assert all(p.text == join_words(p.words) == p.settled_text + p.open_text for p in partials)


async def test_the_first_partial_comes_within_1200_ms_of_speech() -> None:
    for name in ("weather", "date", "meeting", "sentence-0", "sentence-5"):
        recording = RECORDINGS[name]
        session = start(PARTIALS)
        for piece in pieces(recording.pcm[: int((recording.sentences[0].start_s + 1.2) * 16_000)], (320,)):
            await session.push(piece)
        events = aiter(session)
        assert isinstance(await asyncio.wait_for(anext(events), 30), SentenceBegan)
        assert isinstance(await asyncio.wait_for(anext(events), 30), PartialChanged)
        await session.close()


async def test_partial_words_have_times_of_the_session() -> None:
    pcm = np.concatenate([silence(5), RECORDINGS["date"].pcm])
    for event in await hear(pcm, PARTIALS, sizes=(1600,)):
        if isinstance(event, PartialChanged):
            assert event.text == join_words(event.words)
            assert all(5.2 <= w.start_s <= w.end_s <= event.time_ms / 1000 for w in event.words)


async def test_streaming_text_is_final_without_a_second_pass() -> None:
    recording = RECORDINGS["dialogue"]
    events = await hear(recording.pcm, dataclasses.replace(STREAMED, recognition=SPOKEN))
    assert error_rate(recording.text, said(events)) <= 0.1
    assert "。" in said(events)


@pytest.mark.parametrize("options", [PARTIALS, STREAMED], ids=["partials", "streamed"])
async def test_every_streaming_session_is_freed(options: SessionOptions) -> None:
    streaming = CountingProxy()
    await hear(RECORDINGS["dialogue"].pcm, options, runners=runners_with(streaming=streaming))
    assert streaming.open == set()


async def test_without_a_streaming_model_streaming_text_cannot_be_final() -> None:
    without = RecognitionOptions(DEMO_MODEL.model_copy(update={"streaming": None}))
    with pytest.raises(InvalidRequest):
        start(dataclasses.replace(STREAMED, recognition=without))
    events = await hear(RECORDINGS["weather"].pcm, dataclasses.replace(PARTIALS, recognition=without))
    assert [type(e) for e in events] == [SentenceBegan, SentenceEnded]


# --- bounds, failures, ends ---------------------------------------------------------------------------


class GatedRunners(Runners):
    """The real runners, of which the recogniser works once ``gate`` is set."""

    def __init__(self, runners: Runners) -> None:
        super().__init__(**runners._proxies)
        self.gate, self.eighth_call = asyncio.Event(), asyncio.Event()
        self.calls = 0

    async def recognise(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls == 8:
            self.eighth_call.set()
        await self.gate.wait()
        return await super().recognise(*args, **kwargs)


async def test_push_waits_while_the_session_is_behind() -> None:
    runners = GatedRunners(in_process_runners())
    session = start(runners=runners)
    pushed = 0

    async def push() -> None:
        nonlocal pushed
        for _ in range(200):
            for piece in pieces(RECORDINGS["short-0"].pcm, (1600,)):
                await session.push(piece)
                pushed += len(piece)
            await session.push(silence(1))

    pushing = asyncio.create_task(push())
    await asyncio.wait_for(runners.eighth_call.wait(), 60)
    assert not (await asyncio.wait([pushing], timeout=0.3))[0]
    # eight sentences are not told yet, and a few seconds are not listened to
    assert runners.calls == 8
    assert pushed < 8 * 2.2 * 16_000 + 10 * 16_000
    runners.gate.set()
    pushing.cancel()
    await session.finish()
    texts = [e.text for e in ended([e async for e in session])]
    assert len(texts) >= 8
    assert set(texts) == {"好。"}
    await session.close()


async def test_who_does_not_read_is_not_sent_more() -> None:
    session = start()
    pcm = np.concatenate([RECORDINGS["short-0"].pcm, silence(1)])
    pushing = asyncio.create_task(push_all(session, np.concatenate([pcm] * 100)))
    assert not (await asyncio.wait([pushing], timeout=0.3))[0]
    assert len(ended([e async for e in session])) == 100
    await pushing
    await session.close()


class FailingProxy(AsyncProxy):
    """A runner whose ``method`` raises ``error`` from its ``after``-th call on."""

    def __init__(self, position: int, method: str, error: Exception, after: int = 0) -> None:
        super().__init__(runner_instances()[position])
        self._method, self._error, self._left = method, error, after

    def __getattr__(self, name: str) -> Any:
        real = super().__getattr__(name)
        if name != self._method:
            return real

        async def call(*arguments: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise self._error
            return await real(*arguments)

        return call


FAILURES = {
    "vad": lambda error: runners_with(vad=FailingProxy(0, "networks", error)),
    "second pass": lambda error: runners_with(paraformer=FailingProxy(1, "recognise", error, 1)),
    "punctuation": lambda error: runners_with(paraformer=FailingProxy(1, "punctuate", error, 1)),
    "streaming": lambda error: runners_with(streaming=FailingProxy(3, "step", error, 3)),
}


@pytest.mark.parametrize("stage", FAILURES)
@pytest.mark.parametrize("error", [RecognitionFailed("no"), SentenceLost("gone"), ZeroDivisionError("a bug")], ids=str)
async def test_a_failure_is_the_last_event(stage: str, error: Exception) -> None:
    before = asyncio.all_tasks()
    session = start(PARTIALS, runners=FAILURES[stage](error))
    pushing = asyncio.create_task(push_all(session, np.concatenate([RECORDINGS["dialogue"].pcm] * 3)))
    *events, last = [e async for e in session]
    assert isinstance(last, SessionFailed)
    expected = error if isinstance(error, ServiceError) else None
    assert (last.failure is expected) if expected else (type(last.failure) is ServiceError)
    assert "bug" not in last.failure.message
    assert not any(isinstance(e, SessionFailed) for e in events)
    await asyncio.wait_for(pushing, 5)  # nobody waits for a session that is over
    await session.close()
    assert asyncio.all_tasks() == before


async def test_the_vad_runner_is_needed_only_until_a_first_session_has_begun() -> None:
    vad = FailingProxy(0, "networks", NotReady("away"), after=1)
    runners = runners_with(vad=vad)
    pcm = RECORDINGS["short-0"].pcm
    assert await hear(pcm, runners=runners) == await hear(pcm, runners=runners) != []
    (failed,) = await hear(pcm, runners=runners_with(vad=vad))
    assert isinstance(failed, SessionFailed)
    assert isinstance(failed.failure, NotReady)


async def test_closing_in_the_middle_of_a_sentence_frees_everything() -> None:
    before = asyncio.all_tasks()
    streaming = CountingProxy()
    session = start(PARTIALS, runners=runners_with(streaming=streaming))
    pushing = asyncio.create_task(push_all(session, np.concatenate([RECORDINGS["dialogue"].pcm] * 20)))
    events = aiter(session)
    while not (isinstance(await anext(events), PartialChanged) and streaming.open):
        pass
    await asyncio.gather(session.close(), session.close())
    await session.close()
    assert [e async for e in events] == []
    await asyncio.wait_for(pushing, 5)
    assert streaming.open == set()
    if in_hand := asyncio.all_tasks() - before:  # a recogniser has it, and gives nothing back before it is done
        await asyncio.wait_for(asyncio.gather(*in_hand), 5)
    assert asyncio.all_tasks() == before


async def test_a_session_closed_at_once_has_no_events() -> None:
    session = start()
    await session.close()
    assert [e async for e in session] == []
    await session.push(silence(60))


async def test_no_audio_comes_after_the_end() -> None:
    session = start()
    await session.finish()
    with pytest.raises(RuntimeError):
        await session.push(silence(1))
    await session.close()


async def test_the_audio_is_not_kept() -> None:
    session = start()
    pushing = asyncio.create_task(push_all(session, np.concatenate([RECORDINGS["dialogue"].pcm, noise(60, 0.001)])))
    kept = [session._listener._tape.end - session._listener._tape.start async for _ in session]
    await pushing
    assert max(kept) < 30 * 16_000
    assert session._listener._tape.end - session._listener._tape.start < 2 * 16_000
    await session.close()


@pytest.mark.slow
async def test_half_an_hour_on_one_connection_keeps_memory_flat() -> None:
    dialogue = np.concatenate([RECORDINGS["dialogue"].pcm, silence(1)])
    # One thread for all runners: torch and malloc keep something for each thread, whenever it is first used.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    session = start(PARTIALS)

    async def push() -> None:
        for _ in range(30 * 60 * 16_000 // len(dialogue)):
            for piece in pieces(dialogue, (1600,)):
                await session.push(piece)
        await session.finish()

    pushing = asyncio.create_task(push())
    memory_mb, texts = [], set()
    async for event in session:
        if isinstance(event, SentenceEnded):
            texts.add(event.text)
            memory_mb.append(psutil.Process().memory_info().rss / 2**20)
    await pushing
    await session.close()
    quarter = len(memory_mb) // 4
    print(f"memory after 1/4: {memory_mb[quarter]:.0f} MB, in the end: {memory_mb[-1]:.0f} MB")
    assert len(texts) == 9
    assert memory_mb[-1] - memory_mb[quarter] < 5
