"""File transcription: what a Task comes down to, and how jobs are told."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from service.domain import Diarization, Hotword, Level, Segment, Speaker, Transcript, Word
from service.errors import AddressRefused, AudioTooLarge, InvalidRequest, ServiceError, UndecodableAudio
from service.jobs.job import Failure, Job, JobRequest, Status
from service.protocols.aliyun.filetrans_request import read_task, resolve
from service.protocols.aliyun.filetrans_response import result_body

NEEDED = {"appkey": "any", "file_link": "http://a.example/b.wav"}


def understood(**task: Any) -> JobRequest:
    """What a task makes, once it has been written down and read again."""
    request = resolve(read_task({**NEEDED, **task}), [*NEEDED, *task], ["paraformer-demo"])
    return JobRequest.from_json(request.to_json())


def job(status: Status = "completed", failure: Failure | None = None, audio_bytes: int = 0, **task: Any) -> Job:
    finished_at = None if status in ("queued", "running") else 9.5
    return Job(
        id="job_1",
        number=1,
        key="",
        task="",
        status=status,
        request=understood(**task),
        created_at=1.0,
        started_at=None,
        finished_at=finished_at,
        expires_at=None,
        audio_bytes=audio_bytes,
        duration_s=61.5,
        progress=0.5,
        segments=0,
        cpu_s=0.0,
        failure=failure,
    )


def said(*segments: tuple[float, str, int | None], levels: tuple[Level, ...] = ()) -> Transcript:
    """Segments of (start, text, speaker); a word is a character of half a second, a second after the last."""
    made = []
    for start_s, text, speaker in segments:
        words: list[Word] = []
        for char in text:
            if char.isalnum():
                words.append(Word(char, start_s + len(words), start_s + len(words) + 0.5))
            else:
                words[-1] = replace(words[-1], punctuation=char)
        who = Speaker.unnamed(speaker) if speaker else None
        made.append(Segment(len(made), start_s, start_s + len(words), text, tuple(words), who))
    return Transcript(61.5, "zh", "m", tuple(made), levels=levels)


def told(transcript: Transcript, **task: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(result_body(job(**task), transcript).model_dump_json())
    return body["Result"]


def test_a_task_of_nothing_but_an_address_asks_for_what_the_cloud_gives() -> None:
    request = understood()
    options = request.options
    assert (options.punctuation, options.inverse_text_normalization, options.diarization) == (True, False, None)
    assert options.word_timestamps  # sentences have times
    assert (request.audio_address, request.callback_url, request.dialect) == (NEEDED["file_link"], "", "aliyun")
    assert request.warnings == ()


def test_values_are_read_leniently() -> None:
    request = understood(
        version=4.0,
        enable_callback="TRUE",
        callback_url="https://a.example/told",
        enable_punctuation_prediction="no",
        enable_words=None,
        auto_split=1,
        vocabulary_id="热词 20",
        sentence_max_length="99",
    )
    assert request.callback_url == "https://a.example/told"
    assert not request.options.punctuation
    assert request.options.diarization == Diarization()
    assert request.options.hotwords == (Hotword("热词", 20),)
    assert request.details["sentence_max_length"] == 50
    assert len(request.warnings) == 1
    assert understood(callback_url="https://a.example/told").callback_url == ""


@pytest.mark.parametrize(
    ("task", "count"),
    [
        ({"speaker_num": 3}, 3),
        ({"speaker_num": "3", "supervise_type": 1}, 3),
        ({"speaker_num": 3, "supervise_type": 2}, None),
        ({"supervise_type": 1}, None),
        ({"speaker_num": 0}, None),
        ({"speaker_num": 1000}, 100),
    ],
)
def test_the_number_of_speakers_counts_unless_it_is_to_be_found(task: dict[str, Any], count: int | None) -> None:
    assert understood(auto_split=True, **task).options.diarization == Diarization(count)
    assert understood(**task).options.diarization is None


def test_fields_without_effect_are_named() -> None:
    (warning,) = understood(class_vocabulary_id="x", max_end_silence=800, enable_timestamp_alignment=True).warnings
    assert "class_vocabulary_id, max_end_silence" in warning


def test_more_stretches_than_are_taken_are_refused() -> None:
    with pytest.raises(InvalidRequest) as raised:
        understood(valid_times=[{"begin_time": 0, "end_time": 1}] * 1001)
    assert raised.value.param == "valid_times"


def test_a_sentence_has_its_pause_its_rate_and_its_speaker() -> None:
    one, two, three = told(said((1.6, "好的。再见。", 2), (7.0, "嗯", None)))["Sentences"]
    assert (one["Text"], one["BeginTime"], one["EndTime"]) == ("好的。", 1600, 3100)
    assert (one["SilenceDuration"], one["SpeechRate"], one["SpeakerId"]) == (2, 80, "2")
    assert (two["Text"], two["SilenceDuration"]) == ("再见。", 0)
    assert (three["SilenceDuration"], three["SpeechRate"]) == (2, 120)
    assert "SpeakerId" not in three


def test_a_known_speaker_is_told_by_name() -> None:
    transcript = said((0, "好。", None))
    named = replace(transcript, segments=(replace(transcript.segments[0], speaker=Speaker("王老师")),))
    assert told(named)["Sentences"][0]["SpeakerId"] == "王老师"


def test_loudness_is_that_of_the_utterance_within_bounds() -> None:
    transcript = said((0, "一。", None), (10, "二。", None), (20, "三。", None), (30, "四。", None))
    levels = (Level(0, -30.31), Level(9.9, 0.0), Level(19.8, -90.31))
    loud = [s["EmotionValue"] for s in told(replace(transcript, levels=levels))["Sentences"]]
    assert loud == [6.0, 9.0, 1.0, 1.0]
    assert [s["EmotionValue"] for s in told(transcript)["Sentences"]] == [5.0] * 4


def test_words_are_told_where_asked_for_unless_their_times_are_guesses() -> None:
    transcript = said((0, "好的。", None))
    words = (transcript.segments[0].words[0], replace(transcript.segments[0].words[1], timed=False))
    guessed = replace(transcript, segments=(replace(transcript.segments[0], words=words),))
    assert told(guessed, enable_words=True)["Words"] == [{"Word": "好", "BeginTime": 0, "EndTime": 500, "ChannelId": 0}]
    assert "Words" not in told(guessed)


def test_only_valid_times_are_told() -> None:
    transcript = said((0, "一二三四五六七。", None))
    times = [{"begin_time": 1100, "end_time": 2100, "channel_id": 1}, {"begin_time": 6000, "end_time": 9000}]
    result = told(transcript, valid_times=times, enable_words=True)
    assert [sentence["Text"] for sentence in result["Sentences"]] == ["二七。"]
    assert [word["Word"] for word in result["Words"]] == ["二", "七"]
    assert told(transcript, valid_times=[{"begin_time": 50_000, "end_time": 60_000}]) == {"Sentences": []}


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        ("queued", 21050002, "QUEUEING"),
        ("running", 21050001, "RUNNING"),
        ("cancelled", 41050010, "FILE_TRANS_TASK_EXPIRED"),
    ],
)
def test_a_job_without_a_transcript_is_told_by_its_status(status: Status, code: int, text: str) -> None:
    body = result_body(job(status), None)
    assert (body.StatusCode, body.StatusText, body.Result) == (code, text, None)
    assert (body.SolveTime, body.BizDuration) == (9500 if status == "cancelled" else None, 61_500)


def test_silence_is_no_failure() -> None:
    body = result_body(job(), said())
    assert (body.StatusCode, body.StatusText) == (21050003, "SUCCESS_WITH_NO_VALID_FRAGMENT")


@pytest.mark.parametrize(
    ("error", "audio_bytes", "code"),
    [
        (AddressRefused("no", answered=404), 0, 41050024),
        (AddressRefused("no", answered=403), 0, 41050025),
        (AddressRefused("no", answered=500), 0, 41050026),
        (AddressRefused("no", answered=599), 0, 41050026),
        (AddressRefused("no", answered=401), 0, 41050002),
        (AddressRefused("no"), 0, 41050002),
        (AudioTooLarge("no"), 0, 41050004),
        (AudioTooLarge("no"), 1, 41050103),
        (UndecodableAudio("no"), 0, 41050003),
        (ServiceError("no", status=400, code="unsupported_sample_rate"), 0, 41050008),
        (InvalidRequest("no"), 0, 41050006),
        (ServiceError("no", status=507, code="storage_full"), 0, 51050000),
        (ServiceError("no"), 1, 51050000),
    ],
)
def test_every_failure_has_its_code(error: ServiceError, audio_bytes: int, code: int) -> None:
    body = result_body(job("failed", Failure.of(error), audio_bytes), None)
    assert (body.StatusCode, body.Message) == (code, "no")
    assert body.StatusText.isupper()
