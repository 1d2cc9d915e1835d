"""The served API, as its users meet it: the official SDK, many at once, a runner that dies, true subtitles."""

from __future__ import annotations

import concurrent.futures
import itertools
import signal
import time
from pathlib import Path

import httpx
import openai
import psutil
import pysubs2
import pytest
import soundfile
import srt
import webvtt

from tests.e2e.conftest import KEY
from tests.e2e.server import Served
from tests.speech import RECORDINGS, error_rate


@pytest.fixture(scope="module")
def sdk(server: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0)


@pytest.fixture(scope="module")
def meeting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two minutes of dialogue."""
    import numpy as np

    path = tmp_path_factory.mktemp("audio") / "meeting.wav"
    soundfile.write(path, np.tile(RECORDINGS["dialogue"].pcm, 4), 16_000)
    return path


def test_the_sdk_gets_text_segments_and_words(sdk: openai.OpenAI) -> None:
    with RECORDINGS["weather"].path.open("rb") as file:
        result = sdk.audio.transcriptions.create(
            model="whisper-1",
            file=file,
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        )
    assert result.text == "今天天气怎么样？"
    assert result.duration == pytest.approx(RECORDINGS["weather"].duration_s, abs=0.01)
    assert result.segments is not None
    assert result.words is not None
    assert [w.word for w in result.words] == list("今天天气怎么样")
    assert result.segments[0].start <= result.words[0].start < result.words[-1].end <= result.segments[0].end


def test_the_sdk_streams_text_as_sentences_settle(sdk: openai.OpenAI) -> None:
    with RECORDINGS["long-pause"].path.open("rb") as file:
        events = list(sdk.audio.transcriptions.create(model="whisper-1", file=file, stream=True))
    deltas = [e.delta for e in events if e.type == "transcript.text.delta"]
    assert len(deltas) == 2
    assert events[-1].type == "transcript.text.done"
    assert "".join(deltas) == events[-1].text


def test_the_sdk_lists_models(sdk: openai.OpenAI) -> None:
    assert [m.id for m in sdk.models.list()] == ["paraformer-demo", "qwen3-asr-demo"]


def test_a_wrong_key_and_an_unknown_model_are_told_apart(server: Served, sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        sdk.with_options(api_key="wrong").models.list()
    with pytest.raises(openai.NotFoundError) as caught, RECORDINGS["weather"].path.open("rb") as file:
        sdk.audio.transcriptions.create(model="no-such-model", file=file)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_subtitles_are_read_by_every_parser(sdk: openai.OpenAI, meeting: Path) -> None:
    texts = {}
    for form in ("srt", "vtt"):
        with meeting.open("rb") as file:
            texts[form] = sdk.audio.transcriptions.create(model="whisper-1", file=file, response_format=form)
    cues = list(srt.parse(texts["srt"]))
    assert len(cues) > 10
    assert all(a.end <= b.start for a, b in itertools.pairwise(cues))
    assert max((c.end - c.start).total_seconds() for c in cues) <= 7
    assert len(webvtt.from_string(texts["vtt"])) == len(cues)
    for form, text in texts.items():
        assert len(pysubs2.SSAFile.from_string(text, format_=form)) == len(cues)


def transcribe(server: Served, path: Path, **fields: str) -> httpx.Response:
    with path.open("rb") as file:
        return httpx.post(
            f"{server.url}/v1/audio/transcriptions",
            files={"file": file},
            data={"response_format": "json", **fields},
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=120,
        )


def test_fifty_clients_get_what_each_gets_alone(server: Served) -> None:
    names = [n for n in RECORDINGS if n.startswith(("sentence", "short"))]
    alone = {name: transcribe(server, RECORDINGS[name].path).json()["text"] for name in names}
    work = (names * 8)[:100]
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda name: transcribe(server, RECORDINGS[name].path), work))
    assert [a.status_code for a in answers] == [200] * len(work)
    assert [a.json()["text"] for a in answers] == [alone[name] for name in work]


def metric(server: Served, name: str) -> float:
    """Sum over its labels."""
    text = httpx.get(f"{server.url}/metrics", timeout=10).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{")))


def test_utterances_of_different_clients_are_batched(server: Served) -> None:
    before = metric(server, "asr_batch_size_count"), metric(server, "asr_batch_size_sum")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: transcribe(server, RECORDINGS["weather"].path), range(48)))
    utterances = metric(server, "asr_batch_size_count") - before[0]
    together = metric(server, "asr_batch_size_sum") - before[1]
    assert utterances == 48
    assert together / utterances > 1.2


def test_a_client_that_leaves_its_stream_is_no_error_in_the_log(server: Served, meeting: Path) -> None:
    before, logged = metric(server, "asr_requests_total"), server.log.stat().st_size
    request = {
        "headers": {"Authorization": f"Bearer {KEY}"},
        "data": {"model": "whisper-1", "stream": "true"},
        "files": {"file": meeting.read_bytes()},
    }
    with httpx.stream("POST", f"{server.url}/v1/audio/transcriptions", timeout=60, **request) as answer:
        assert next(answer.iter_lines()).startswith("data: ")
    while metric(server, "asr_requests_total") == before:
        time.sleep(0.1)
    httpx.get(f"{server.url}/readyz", timeout=60)  # what would be logged comes right after the count
    new = server.log.read_bytes()[logged:].decode()
    assert "Traceback" not in new
    assert "ERROR" not in new


def test_metrics_tell_what_was_done(server: Served) -> None:
    audio_s = metric(server, "asr_audio_seconds_total")
    transcribe(server, RECORDINGS["weather"].path)
    assert metric(server, "asr_audio_seconds_total") - audio_s == pytest.approx(
        RECORDINGS["weather"].duration_s, abs=0.1
    )
    assert metric(server, "asr_queue_requests") == 0
    text = httpx.get(f"{server.url}/metrics", timeout=10).text
    for stage in ("decode", "vad", "recognise", "punctuate"):
        assert f'asr_stage_seconds_count{{stage="{stage}"}}' in text


def test_documentation_needs_no_key_and_no_network(server: Served) -> None:
    for page in ("/docs", "/redoc"):
        html = httpx.get(f"{server.url}{page}", timeout=10).text
        assert "http://" not in html.replace(server.url, "")
        assert "https://" not in html
    assert "/v1/audio/transcriptions" in httpx.get(f"{server.url}/openapi.json", timeout=10).json()["paths"]


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_killed_runner_costs_no_request(server: Served, meeting: Path, when: str) -> None:
    expected = transcribe(server, meeting).json()["text"]
    runner = server.process_of("ParaformerRunner")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        if when == "before":
            runner.send_signal(signal.SIGKILL)
            psutil.wait_procs([runner], timeout=5)
        answer = pool.submit(transcribe, server, meeting)
        if when == "during":
            time.sleep(0.3)
            runner.send_signal(signal.SIGKILL)
        response = answer.result()
    assert response.status_code == 200, response.text
    assert response.json()["text"] == expected


def test_a_long_recording_is_complete(server: Served, meeting: Path) -> None:
    text = transcribe(server, meeting, enable_inverse_text_normalization="false").json()["text"]
    assert error_rate(RECORDINGS["dialogue"].text * 4, text) <= 0.05


def test_nothing_is_left_on_disk_and_no_text_is_logged(server: Served) -> None:
    assert list(server.log.parent.glob("asr-audio-*")) == []
    assert "天气" not in server.log.read_text()
