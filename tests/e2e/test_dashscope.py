"""Alibaba Cloud's `dashscope` package as its users have it: files as tasks, and hotword lists."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import dashscope
import httpx
import pytest
from dashscope.audio.asr import Transcription, VocabularyService
from dashscope.audio.asr.vocabulary import VocabularyServiceException
from dashscope.audio.qwen_asr import QwenTranscription

from tests.e2e.conftest import KEY
from tests.e2e.server import Served
from tests.speech import FOLDER, RECORDINGS

WEATHER = RECORDINGS["weather"]


@pytest.fixture(autouse=True)
def _pointed_here(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashscope, "base_http_api_url", f"{server.url}/api/v1")
    monkeypatch.setattr(dashscope, "api_key", KEY)


@pytest.fixture(scope="module")
def files() -> Iterator[str]:
    """The address of a web server on this machine that has the shipped recordings."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(FOLDER)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def opened(url: str) -> Any:
    """What a result's link opens, for anyone who has it."""
    return httpx.get(url, timeout=30).json()


def test_files_are_submitted_waited_for_and_read(files: str) -> None:
    urls = [f"{files}/weather.flac", f"{files}/nothing.flac"]
    task = Transcription.async_call(model="paraformer-v2", file_urls=urls, language_hints=["zh"])
    assert task.status_code == HTTPStatus.OK
    assert task.output.task_status == "PENDING"
    assert Transcription.fetch(task).output.task_status in ("PENDING", "RUNNING", "SUCCEEDED")
    done = Transcription.wait(task)
    assert (done.status_code, done.output.task_status) == (HTTPStatus.OK, "SUCCEEDED")
    good, bad = done.output["results"]
    assert opened(good["transcription_url"])["transcripts"][0]["text"] == WEATHER.text
    assert (bad["subtask_status"], bad["code"]) == ("FAILED", "InvalidFile.DownloadFailed")
    assert done.usage["duration"] > 0
    assert done.request_id


def test_one_call_does_it_all_and_speakers_are_numbers(files: str) -> None:
    done = Transcription.call(
        model="paraformer-v2", file_urls=[f"{files}/speakers.flac"], diarization_enabled=True, speaker_count=2
    )
    (channel,) = opened(done.output["results"][0]["transcription_url"])["transcripts"]
    assert {sentence["speaker_id"] for sentence in channel["sentences"]} == {0, 1}


def test_qwens_class_reads_one_result(files: str) -> None:
    task = QwenTranscription.async_call(
        model="qwen3-asr-flash-filetrans", file_url=f"{files}/weather.flac", enable_words=True, language="zh"
    )
    done = QwenTranscription.wait(task)
    assert done.output.task_status == "SUCCEEDED"
    told = opened(done.output["result"]["transcription_url"])
    assert told["transcripts"][0]["sentences"][0]["language"] == "zh"
    assert told["transcripts"][0]["sentences"][0]["words"]


def test_tasks_are_listed_and_cancelled(files: str) -> None:
    task = Transcription.async_call(model="paraformer-v2", file_urls=[f"{files}/dialogue.flac"] * 50)
    listed = Transcription.list(model_name="paraformer-v2", page_no=1, page_size=1)
    assert [one["task_id"] for one in listed.output["data"]] == [task.output.task_id]
    assert Transcription.cancel(task).status_code == HTTPStatus.OK
    assert Transcription.wait(task).output["results"][-1]["subtask_status"] == "CANCELED"
    again = Transcription.cancel(task)
    assert (again.status_code, again.code) == (HTTPStatus.BAD_REQUEST, "UnsupportedOperation")


def test_what_goes_wrong_is_in_the_answer(files: str) -> None:
    url = f"{files}/weather.flac"
    refused = Transcription.async_call(model="cosyvoice-v1", file_urls=[url])
    assert (refused.status_code, refused.code) == (HTTPStatus.NOT_FOUND, "ModelNotFound")
    assert refused.request_id
    refused = Transcription.async_call(model="paraformer-v2", file_urls=[])
    assert (refused.status_code, refused.code) == (HTTPStatus.BAD_REQUEST, "InvalidParameter")
    refused = Transcription.async_call(model="paraformer-v2", file_urls=[url], api_key="wrong")
    assert (refused.status_code, refused.code) == (HTTPStatus.UNAUTHORIZED, "InvalidApiKey")
    assert Transcription.wait("no-such-task").output.task_status == "UNKNOWN"
    task = Transcription.async_call(model="paraformer-v2", file_urls=[url])
    assert Transcription.fetch(task, api_key="another").output.task_status == "UNKNOWN"


def test_hotword_lists_are_kept_and_heard(files: str) -> None:
    lists = VocabularyService()
    words = [{"text": "客厅", "weight": 5}, {"text": "陈书文", "weight": 5, "lang": "zh"}]
    name = lists.create_vocabulary(target_model="paraformer-v2", prefix="names", vocabulary=words)
    assert name.startswith("vocab-names-")
    assert lists.query_vocabulary(name)["vocabulary"] == words
    assert name in [one["vocabulary_id"] for one in lists.list_vocabularies(prefix="names")]
    url = f"{files}/hotword.flac"
    done = Transcription.call(model="paraformer-v2", file_urls=[url], vocabulary_id=name)
    told = opened(done.output["results"][0]["transcription_url"])
    assert told["transcripts"][0]["text"] == RECORDINGS["hotword"].text
    done = Transcription.call(model="paraformer-v2", file_urls=[url], phrase_id=name)
    told = opened(done.output["results"][0]["transcription_url"])
    assert told["transcripts"][0]["text"] == RECORDINGS["hotword"].text
    lists.update_vocabulary(name, [{"text": "百炼"}])
    assert [word["text"] for word in lists.query_vocabulary(name)["vocabulary"]] == ["百炼"]
    lists.delete_vocabulary(name)
    with pytest.raises(VocabularyServiceException, match="no hotword list"):
        lists.query_vocabulary(name)
