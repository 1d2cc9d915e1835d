"""DashScope's tasks: what a request comes down to, and how jobs and transcripts are shown."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from runners import catalog
from service.domain import AudioFormat, RecognitionOptions, Segment, Speaker, Transcript, Word
from service.errors import InvalidRequest, ModelNotFound, NotReady, QueueFull, ServiceError, UndecodableAudio
from service.jobs.job import Failure, Job, JobRequest, Status
from service.protocols.dashscope.envelope import error_response
from service.protocols.dashscope.tasks_request import moment, named_vocabulary, resolve
from service.protocols.dashscope.tasks_response import task_body, task_list, transcription_body

URL = "http://a.example/b.wav"
ENABLED = ["paraformer-demo", "qwen3-asr-demo"]
NUMBERS = itertools.count(1)


def understood(model: str = "paraformer-v2", **parameters: Any) -> JobRequest:
    """What a request of one file makes, once it has been written down and read again."""
    body = {"model": model, "input": {"file_urls": [URL]}, "parameters": parameters}
    (request,) = resolve(body, named_vocabulary(body), ENABLED)
    return JobRequest.from_json(request.to_json())


def single(**parameters: Any) -> JobRequest:
    body = {"model": "qwen3-asr-flash-filetrans", "input": {"file_url": URL}, "parameters": parameters}
    (request,) = resolve(body, None, ENABLED)
    return JobRequest.from_json(request.to_json())


def job(status: Status, request: JobRequest | None = None, failure: Failure | None = None, task: str = "") -> Job:
    number = next(NUMBERS)
    begun = status not in ("queued", "cancelled")
    return Job(
        id=f"job_{number}",
        number=number,
        key="",
        task=task,
        status=status,
        request=request or understood(),
        created_at=1795831200.0,
        started_at=1795831201.5 if begun else None,
        finished_at=1795831210.25 if status not in ("queued", "running") else None,
        expires_at=None,
        audio_bytes=1,
        duration_s=3.2 if begun else None,
        progress=0.0,
        segments=0,
        cpu_s=0.0,
        failure=failure,
    )


def shown(*jobs: Job) -> Any:
    return json.loads(task_body("task", jobs, lambda job: f"http://here/{job.id}").model_dump_json())


def segment(index: int, text: str, start_s: float, **more: Any) -> Segment:
    words = tuple(Word(char, start_s + n, start_s + n + 0.5) for n, char in enumerate(text.rstrip("。")))
    words = (*words[:-1], Word(words[-1].text, words[-1].start_s, words[-1].end_s, "。"))
    return Segment(index, start_s, start_s + len(words), text, words, **more)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("paraformer-v1", "paraformer-demo"),
        ("paraformer-v2", "paraformer-demo"),
        ("paraformer-8k-v2", "paraformer-demo"),
        ("paraformer-mtl-v1", "paraformer-demo"),
        ("fun-asr", "paraformer-demo"),
        ("fun-asr-mtl-2025-08-25", "paraformer-demo"),
        ("qwen3-asr-flash-filetrans", "qwen3-asr-demo"),
        ("qwen3-asr-flash-filetrans-2025-11-17", "qwen3-asr-demo"),
        ("qwen3-asr-demo", "qwen3-asr-demo"),
        ("", "paraformer-demo"),
    ],
)
def test_the_clouds_names_mean_the_loaded_models(name: str, model: str) -> None:
    assert understood(name).options.model.id == model


def test_the_names_of_what_is_no_recogniser_mean_none() -> None:
    with pytest.raises(ModelNotFound, match="paraformer-demo, qwen3-asr-demo"):
        understood("cosyvoice-v2")


def test_without_parameters_it_is_what_the_cloud_gives() -> None:
    request = understood()
    assert request.channels == (0,)
    assert request.options == RecognitionOptions(catalog.models()["paraformer-demo"])
    assert request.warnings == ()
    assert (single().options.inverse_text_normalization, single().channels) == (False, (0,))


def test_parameters_are_read_in_any_spelling() -> None:
    assert understood(channel_id=1).channels == (1,)
    assert understood(channel_id="[1, 0, 1]").channels == (1, 0)
    assert understood(channel_id=[]).channels == (0,)
    assert understood(language_hints=["zh"]).options.language == "zh"
    assert understood(language_hints=["zh", "en"]).options.language is None
    assert single(language="Chinese", enable_itn="true").options.language == "zh"
    options = understood(diarization_enabled=True, speaker_count=3).options
    assert options.diarization is not None
    assert options.diarization.speaker_count == 3
    (hotword,) = understood(vocabulary_id="灵积 20").options.hotwords
    assert (hotword.text, hotword.weight) == ("灵积", 20)


@pytest.mark.parametrize(
    ("parameters", "warning"),
    [
        ({"diarization_enabled": True, "channel_id": [0, 1]}, "one channel"),
        ({"special_word_filter": '{"a": 1}'}, "special_word_filter"),
        ({"language_hints": ["xx-nothing"]}, "xx-nothing"),
        ({"vocabulary_id": "vocab-a-" + "0" * 32}, "no hotword list"),
    ],
)
def test_what_has_no_effect_is_a_warning(parameters: dict[str, Any], warning: str) -> None:
    (told,) = understood(**parameters).warnings
    assert warning in told


def test_what_is_switched_off_anyway_is_worth_no_word() -> None:
    assert understood(disfluency_removal_enabled=False, timestamp_alignment_enabled=True).warnings == ()


def test_a_hotword_list_may_be_named_as_a_resource() -> None:
    resources = [{"resource_id": "vocab-a-1", "resource_type": "asr_phrase"}]
    assert named_vocabulary({"resources": resources}) == "vocab-a-1"
    assert named_vocabulary({"parameters": {"vocabulary_id": "b"}, "resources": resources}) == "b"
    assert named_vocabulary({}) is None


def test_times_are_beijings() -> None:
    assert moment("20261128100000", "start_time") == 1795831200.0
    assert moment("", "start_time") is None
    for wrong in ("2026-11-28", "20261328100000", "now"):
        with pytest.raises(InvalidRequest, match="start_time"):
            moment(wrong, "start_time")


def test_a_task_waits_runs_and_ends_with_its_jobs() -> None:
    waiting = shown(job("queued"), job("queued"))
    assert waiting["output"] == {
        "task_id": "task",
        "task_status": "PENDING",
        "submit_time": "2026-11-28 10:00:00.000",
        "task_metrics": {"TOTAL": 2, "SUCCEEDED": 0, "FAILED": 0},
    }
    running = shown(job("completed"), job("queued"))["output"]
    assert (running["task_status"], running["scheduled_time"]) == ("RUNNING", "2026-11-28 10:00:01.500")
    assert [result["subtask_status"] for result in running["results"]] == ["SUCCEEDED", "PENDING"]
    assert "end_time" not in running
    done = shown(job("completed"), job("completed"))
    assert (done["output"]["task_status"], done["output"]["end_time"]) == ("SUCCEEDED", "2026-11-28 10:00:10.250")
    assert done["usage"] == {"duration": 8}


def test_a_task_ends_as_the_best_of_its_jobs() -> None:
    failure = Failure.of(UndecodableAudio("no audio"))
    failed = job("failed", failure=failure)
    assert shown(failed, job("completed"))["output"]["task_status"] == "SUCCEEDED"
    assert shown(failed, job("cancelled"))["output"]["task_status"] == "CANCELED"
    output = shown(failed)["output"]
    assert (output["task_status"], output["code"], output["message"]) == ("FAILED", "InvalidFile.Format", "no audio")


def test_qwens_form_has_one_result() -> None:
    done = job("completed", single())
    body = shown(done)
    assert body["output"]["result"] == {"transcription_url": f"http://here/{done.id}"}
    assert body["usage"] == {"seconds": 4}
    assert "results" not in body["output"]


def test_a_list_counts_pages() -> None:
    body = task_list(
        [[job("completed", task="task_1"), job("failed", task="task_1")]], page_no=3, page_size=10, total=21
    )
    assert (body.total_page, body.data[0].task_id, body.data[0].status) == (3, "task_1", "SUCCEEDED")
    assert (body.data[0].gmt_create, body.data[0].end_time) == (1795831200000, 1795831210250)


def test_a_transcript_is_told_channel_by_channel_and_sentence_by_sentence() -> None:
    segments = (
        segment(0, "你好。", 0.0, channel=0, speaker=Speaker("王老师")),
        segment(1, "好。", 0.5, channel=1),
        segment(2, "再见。", 4.0, channel=0, speaker=Speaker("说话人1", 1)),
    )
    transcript = Transcript(9.0, "zh", "m", segments, ("one",), audio=AudioFormat("pcm_s16le", 8000, 2))
    body = json.loads(transcription_body(job("completed", understood(channel_id=[0, 1])), transcript).model_dump_json())
    assert body["properties"] == {
        "audio_format": "pcm_s16le",
        "channels": [0, 1],
        "original_sampling_rate": 8000,
        "original_duration_in_milliseconds": 9000,
    }
    assert body["warnings"] == ["one"]
    left, right = body["transcripts"]
    assert (left["text"], left["content_duration_in_milliseconds"], right["text"]) == ("你好。再见。", 4000, "好。")
    assert [(s["sentence_id"], s["speaker_id"], s["begin_time"]) for s in left["sentences"]] == [
        (1, 0, 0),
        (2, 1, 4000),
    ]
    assert right["sentences"] == [
        {
            "sentence_id": 1,
            "begin_time": 500,
            "end_time": 1000,
            "text": "好。",
            "words": [{"begin_time": 500, "end_time": 1000, "text": "好", "punctuation": "。"}],
        }
    ]


def test_qwens_form_tells_the_language_and_words_when_asked_for() -> None:
    transcript = Transcript(9.0, "zh", "m", (segment(0, "好。", 0.0),))
    for request, has_words in ((single(), False), (single(enable_words=True), True)):
        (told,) = transcription_body(job("completed", request), transcript).transcripts[0].sentences
        assert (told.language, told.words is not None) == ("zh", has_words)


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (QueueFull("x"), 429, "Throttling"),
        (NotReady("x"), 503, "ServiceUnavailable"),
        (InvalidRequest("x", param="a"), 400, "InvalidParameter"),
        (ServiceError("x"), 500, "InternalError"),
        (ServiceError("x", status=404, code="UNKNOWN_TASK"), 404, "UNKNOWN_TASK"),
    ],
)
def test_failures_have_the_clouds_codes_and_their_true_status(failure: ServiceError, status: int, code: str) -> None:
    response = error_response(failure)
    told = json.loads(bytes(response.body))
    assert (response.status_code, told["code"], told["message"]) == (status, code, "x")


@pytest.mark.parametrize("channels", [[{}], [[[0]]], "[[[0]]]"])
def test_channels_that_are_no_numbers_are_refused(channels: object) -> None:
    with pytest.raises(InvalidRequest, match="channel_id"):
        understood(channel_id=channels)
