"""The pipeline over the real runners in one process: times, order, overlap, cleaning up."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile

from service.admission import AdmissionQueue
from service.audio.recording import Recording
from service.domain import AudioSource, RecognitionOptions, Segment, Transcript
from service.errors import RecognitionFailed, UndecodableAudio
from service.inference import Runners
from service.recordings.transcribe import Limits, SettledSentence, Transcriber
from tests.engines import DEMO_MODEL, AsyncProxy, in_process_runners, runner_instances
from tests.speech import RECORDINGS, error_rate, noise, silence

pytestmark = pytest.mark.asyncio
OPTIONS = RecognitionOptions(DEMO_MODEL)


def transcriber(max_segment_s: float = 90.0, runners: Runners | None = None) -> Transcriber:
    return Transcriber(runners or in_process_runners(), Limits(max_segment_s, 3600.0))


async def transcribe(path: Path, options: RecognitionOptions = OPTIONS, max_segment_s: float = 90.0) -> Transcript:
    return await transcriber(max_segment_s).start(Recording(AudioSource(str(path))), options).finish()


def write(path: Path, *parts: np.ndarray) -> Path:
    soundfile.write(path, np.concatenate(parts), 16_000)
    return path


async def test_speech_becomes_punctuated_text() -> None:
    transcript = await transcribe(RECORDINGS["weather"].path)
    assert transcript.text == "今天天气怎么样？"
    assert transcript.language == "zh"
    assert transcript.duration_s == pytest.approx(RECORDINGS["weather"].duration_s, abs=0.01)


async def test_numbers_are_written_as_figures_unless_told_otherwise() -> None:
    recording = RECORDINGS["numbers"]
    assert (await transcribe(recording.path)).text == "一共305元。"
    spoken = RecognitionOptions(DEMO_MODEL, inverse_text_normalization=False)
    assert (await transcribe(recording.path, spoken)).text == "一共三百零五元。"


async def test_punctuation_can_be_left_out() -> None:
    options = RecognitionOptions(DEMO_MODEL, punctuation=False)
    assert (await transcribe(RECORDINGS["service"].path, options)).text == "好的请稍等"


@pytest.mark.parametrize("name", [f"short-{i}" for i in range(5)])
async def test_short_answers_survive(name: str) -> None:
    recording = RECORDINGS[name]
    assert (await transcribe(recording.path)).text == recording.text


async def test_a_dialogue_is_understood() -> None:
    recording = RECORDINGS["dialogue"]
    options = RecognitionOptions(DEMO_MODEL, inverse_text_normalization=False)
    assert error_rate(recording.text, (await transcribe(recording.path, options)).text) <= 0.05


async def test_times_count_from_the_start_of_the_file(tmp_path: Path) -> None:
    speech = RECORDINGS["weather"]
    path = write(tmp_path / "late.wav", silence(30), speech.pcm, silence(20), speech.pcm)
    first, second = (await transcribe(path)).segments
    truth = speech.sentences[0]
    for segment, offset_s in ((first, 30.0), (second, 50.0 + speech.duration_s)):
        assert segment.start_s == pytest.approx(offset_s + truth.start_s, abs=0.3)
        assert segment.end_s == pytest.approx(offset_s + truth.end_s, abs=0.3)
        assert segment.words[0].start_s == pytest.approx(offset_s + truth.start_s, abs=0.15)
        assert all(segment.start_s <= w.start_s <= w.end_s <= segment.end_s for w in segment.words)
        assert all(a.end_s <= b.start_s for a, b in zip(segment.words, segment.words[1:], strict=False))


async def test_a_pause_over_three_seconds_ends_a_segment() -> None:
    assert len((await transcribe(RECORDINGS["long-pause"].path)).segments) == 2


async def test_shorter_pauses_do_not() -> None:
    assert len((await transcribe(RECORDINGS["dialogue"].path)).segments) == 1


async def test_segments_are_at_most_max_segment_sec_long() -> None:
    transcript = await transcribe(RECORDINGS["dialogue"].path, max_segment_s=10.0)
    assert len(transcript.segments) > 3
    assert all(s.end_s - s.start_s <= 10.0 for s in transcript.segments)
    assert [s.index for s in transcript.segments] == list(range(len(transcript.segments)))


async def test_segments_lose_nothing() -> None:
    whole = await transcribe(RECORDINGS["dialogue"].path)
    pieces = await transcribe(RECORDINGS["dialogue"].path, max_segment_s=10.0)
    assert error_rate(whole.text, pieces.text) <= 0.05


@pytest.mark.parametrize(
    "audio", [silence(3), noise(3), silence(0.05), silence(0.001)], ids=["silence", "noise", "50ms", "1ms"]
)
async def test_without_speech_the_transcript_is_empty_and_its_duration_true(tmp_path: Path, audio: np.ndarray) -> None:
    transcript = await transcribe(write(tmp_path / "quiet.wav", audio))
    assert (transcript.text, transcript.segments) == ("", ())
    assert transcript.duration_s == len(audio) / 16_000


async def test_segments_arrive_before_the_file_is_read_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "long.wav", RECORDINGS["weather"].pcm, silence(600))
    transcription = transcriber().start(Recording(AudioSource(str(path))), OPTIONS)
    async for _ in transcription:
        assert transcription.transcript.duration_s < 300
    assert transcription.transcript.duration_s > 600


class HeldRecogniser(AsyncProxy):
    """The real runner, except that all utterances but the first ``free`` wait for ``go_on``."""

    def __init__(self, free: int) -> None:
        super().__init__(runner_instances()[1])
        self.free = free
        self.go_on = asyncio.Event()

    async def recognise(self, items: list) -> list:
        self.free -= 1
        if self.free < 0:
            await self.go_on.wait()
        return await asyncio.to_thread(self._runner.recognise, items)


async def test_sentences_are_told_while_their_segment_goes_on() -> None:
    recogniser = HeldRecogniser(3)
    runners = Runners(vad=AsyncProxy(runner_instances()[0]), paraformer=recogniser)
    transcription = transcriber(runners=runners).start(
        Recording(AudioSource(str(RECORDINGS["dialogue"].path))), OPTIONS
    )
    events = aiter(transcription)
    first = await asyncio.wait_for(anext(events), 60)
    recogniser.go_on.set()
    *sentences, segment = [first, *[event async for event in events]]
    assert isinstance(segment, Segment)
    assert len(sentences) > 5
    assert all(isinstance(sentence, SettledSentence) for sentence in sentences)
    assert tuple(word for sentence in sentences for word in sentence.words) == segment.words
    assert transcription.transcript.segments == (segment,)


async def test_a_place_in_the_queue_becomes_what_the_recording_is(tmp_path: Path) -> None:
    path = write(tmp_path / "long.wav", RECORDINGS["weather"].pcm, silence(60))
    queue = AdmissionQueue(100)
    with queue.admit(5) as place:
        await transcriber().start(Recording(AudioSource(str(path))), OPTIONS, place).finish()
        assert queue.audio_s == pytest.approx(60 + RECORDINGS["weather"].duration_s, abs=0.01)
    with queue.admit(50) as place:
        await transcriber().start(Recording(AudioSource(str(RECORDINGS["weather"].path))), OPTIONS, place).finish()
        assert queue.audio_s == pytest.approx(RECORDINGS["weather"].duration_s, abs=0.01)


async def test_many_at_once_get_what_each_gets_alone() -> None:
    names = [n for n in RECORDINGS if n.startswith(("sentence", "short"))]
    alone = {name: await transcribe(RECORDINGS[name].path) for name in names}
    together = await asyncio.gather(*(transcribe(RECORDINGS[name].path) for name in names * 4))
    assert list(together) == [alone[name] for name in names * 4]


async def test_what_is_no_audio_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "letter.wav"
    path.write_bytes(b"Dear sir, this is not audio at all. " * 1000)
    with pytest.raises(UndecodableAudio):
        await transcribe(path)


class FailingRecogniser(AsyncProxy):
    """The real runner, except that the first ``failures`` utterances come back as failed."""

    def __init__(self, failures: int) -> None:
        super().__init__(runner_instances()[1])
        self.failures = failures

    async def recognise(self, items: list) -> list:
        results = await asyncio.to_thread(self._runner.recognise, items)
        if self.failures:
            self.failures -= 1
            results[0].error = "RuntimeError: out of luck"
        return results


async def test_an_utterance_that_fails_once_is_recognised_the_second_time() -> None:
    runners = Runners(vad=AsyncProxy(runner_instances()[0]), paraformer=FailingRecogniser(1))
    transcript = (
        await transcriber(runners=runners)
        .start(Recording(AudioSource(str(RECORDINGS["weather"].path))), OPTIONS)
        .finish()
    )
    assert transcript.text == "今天天气怎么样？"


async def test_an_utterance_that_fails_twice_fails_the_request() -> None:
    runners = Runners(vad=AsyncProxy(runner_instances()[0]), paraformer=FailingRecogniser(1000))
    recording = Recording(AudioSource(str(RECORDINGS["dialogue"].path)))
    transcription = transcriber(runners=runners).start(recording, OPTIONS)
    with pytest.raises(RecognitionFailed):
        await transcription.finish()


async def test_a_client_that_leaves_stops_the_work(tmp_path: Path) -> None:
    path = write(tmp_path / "long.wav", *[RECORDINGS["dialogue"].pcm] * 20)
    before = asyncio.all_tasks()
    segments = aiter(transcriber(max_segment_s=10.0).start(Recording(AudioSource(str(path))), OPTIONS))
    await anext(segments)
    await segments.aclose()
    in_hand = asyncio.all_tasks() - before
    assert len(in_hand) <= 2  # what the recogniser has already: two batches
    await asyncio.wait(in_hand, timeout=60)
    assert asyncio.all_tasks() == before
