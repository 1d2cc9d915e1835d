"""Who said what, through both APIs: labels, names, formats, and no work where nobody asked."""

from __future__ import annotations

import base64
import io
from typing import Any

import prometheus_client
import pytest
import soundfile
import srt as srt_parser
import webvtt
from openai.types.audio.transcription_diarized import TranscriptionDiarized
from openai.types.audio.transcription_text_segment_event import TranscriptionTextSegmentEvent
from starlette.testclient import TestClient

from tests.service.test_openai_api import assert_failure, events, post
from tests.speech import RECORDINGS, Pcm, error_rate, silence

TALK = RECORDINGS["speakers"]
AUDIO = TALK.path.read_bytes()


def wav(pcm: Pcm) -> bytes:
    target = io.BytesIO()
    soundfile.write(target, pcm, 16_000, format="WAV")
    return target.getvalue()


def excerpt(speaker: str) -> Pcm:
    """What one speaker says first."""
    said = next(sentence for sentence in TALK.sentences if sentence.speaker == speaker)
    return TALK.pcm[int(said.start_s * 16_000) : int(said.end_s * 16_000)]


def data_url(pcm: Pcm) -> str:
    return "data:audio/wav;base64," + base64.b64encode(wav(pcm)).decode()


def turns() -> list[tuple[str, str]]:
    """(speaker, text) with neighbouring sentences of one speaker joined; speakers in order of appearance."""
    order = list(dict.fromkeys(sentence.speaker for sentence in TALK.sentences))
    joined: list[tuple[str, str]] = []
    for sentence in TALK.sentences:
        label = f"说话人{order.index(sentence.speaker) + 1}"
        if joined and joined[-1][0] == label:
            joined[-1] = (label, joined[-1][1] + sentence.text)
        else:
            joined.append((label, sentence.text))
    return joined


def embedded() -> float:
    name, labels = "asr_stage_seconds_count", {"stage": "embed"}
    return prometheus_client.REGISTRY.get_sample_value(name, labels) or 0.0


def test_every_segment_says_who_speaks(client: TestClient) -> None:
    segments = post(client, AUDIO, enable_inverse_text_normalization="false").json()["segments"]
    assert [segment["speaker"] for segment in segments] == [speaker for speaker, _ in turns()]
    for segment, (_, text) in zip(segments, turns(), strict=True):
        assert error_rate(text, segment["text"]) <= 0.1


def test_the_text_is_as_good_as_without(client: TestClient) -> None:
    apart = post(client, AUDIO).json()
    together = post(client, AUDIO, enable_speaker_diarization="false").json()
    assert apart["text"] == together["text"]
    assert [word["word"] for word in apart["words"]] == [word["word"] for word in together["words"]]
    assert len(apart["segments"]) > len(together["segments"])


def test_both_apis_tell_the_same_speakers(client: TestClient) -> None:
    ours = client.post("/stream/v1/asr", content=AUDIO).json()["segments"]
    theirs = post(client, AUDIO).json()["segments"]
    assert [(s["speaker_id"], s["text"], s["start_time"], s["end_time"]) for s in ours] == [
        (s["speaker"], s["text"], s["start"], s["end"]) for s in theirs
    ]


def test_diarized_json_is_what_the_sdk_expects(client: TestClient) -> None:
    body = TranscriptionDiarized.model_validate(post(client, AUDIO, response_format="diarized_json").json())
    letters = {f"说话人{n + 1}": "ABC"[n] for n in range(3)}
    assert [segment.speaker for segment in body.segments] == [letters[speaker] for speaker, _ in turns()]
    assert "".join(segment.text for segment in body.segments) == body.text


def test_a_diarized_stream_tells_text_first_and_speakers_when_all_were_heard(client: TestClient) -> None:
    told = events(post(client, AUDIO, response_format="diarized_json", stream="true").text)
    kinds = list(dict.fromkeys(event["type"] for event in told))
    assert kinds == ["transcript.text.delta", "transcript.text.segment", "transcript.text.done"]
    segments = [TranscriptionTextSegmentEvent.model_validate(e) for e in told if e["type"] == kinds[1]]
    assert "".join(segment.text for segment in segments) == told[-1]["text"]
    assert "".join(event["delta"] for event in told if event["type"] == kinds[0]) == told[-1]["text"]


@pytest.mark.parametrize("response_format", ["srt", "vtt"])
def test_subtitles_name_the_speaker(client: TestClient, response_format: str) -> None:
    text = post(client, AUDIO, response_format=response_format).text
    if response_format == "srt":
        cues = [cue.content for cue in srt_parser.parse(text)]
    else:
        cues = [cue.text for cue in webvtt.from_string(text)]
    assert cues[0].startswith("[说话人1] ")
    assert {cue[: cue.index("]") + 1] for cue in cues} == {f"[{speaker}]" for speaker, _ in turns()}


def test_known_speakers_have_their_names(client: TestClient) -> None:
    first, second = list(dict.fromkeys(sentence.speaker for sentence in TALK.sentences))[:2]
    references = [data_url(excerpt(second)), data_url(excerpt(first))]
    names = {"known_speaker_names__": ["小红", "小明"], "known_speaker_references__": references}
    expected = {"说话人1": "小明", "说话人2": "小红", "说话人3": "说话人1"}
    verbose = post(client, AUDIO, **names).json()
    assert [s["speaker"] for s in verbose["segments"]] == [expected[speaker] for speaker, _ in turns()]
    diarized = post(client, AUDIO, response_format="diarized_json", **names).json()
    assert {s["speaker"] for s in diarized["segments"]} == {"小明", "小红", "A"}


def test_the_number_of_speakers_may_be_given(client: TestClient) -> None:
    for count in (1, 2):
        segments = post(client, AUDIO, speaker_count=str(count)).json()["segments"]
        assert len({segment["speaker"] for segment in segments}) == count
    segments = client.post("/stream/v1/asr", params={"speaker_count": 1}, content=AUDIO).json()["segments"]
    assert {segment["speaker_id"] for segment in segments} == {"说话人1"}


def test_an_answer_too_short_to_tell_a_voice_is_the_first_speakers(client: TestClient) -> None:
    short = RECORDINGS["short-0"]
    (segment,) = post(client, short.path.read_bytes()).json()["segments"]
    assert (segment["speaker"], segment["text"]) == ("说话人1", short.text)
    assert post(client, wav(silence(1))).json()["segments"] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"enable_speaker_diarization": "false"},
        {"response_format": "json"},
        {"response_format": "text"},
        {"stream": "true"},
    ],
    ids=["switched off", "json", "text", "stream"],
)
def test_voices_are_not_even_looked_at_where_nobody_is_told(client: TestClient, fields: dict[str, Any]) -> None:
    before = embedded()
    answer = post(client, AUDIO, **fields)
    assert answer.status_code == 200
    assert "说话人" not in answer.text
    assert embedded() == before
    post(client, AUDIO)
    assert embedded() > before


def test_speakers_may_be_switched_off_in_the_aliyun_api(client: TestClient) -> None:
    before = embedded()
    answer = client.post("/stream/v1/asr", params={"enable_speaker_diarization": "false"}, content=AUDIO).json()
    assert {segment["speaker_id"] for segment in answer["segments"]} == {""}
    assert embedded() == before


@pytest.mark.parametrize(
    ("references", "names"),
    [
        ([], ["小明"]),
        (["data:audio/wav;base64,AAAA"], ["小明"]),
        (["data:audio/wav;base64,%%%"], ["小明"]),
        (["https://example.com/a.wav"], ["小明"]),
        ([data_url(silence(1))], ["小明"]),
        ([data_url(silence(11))], ["小明"]),
    ],
    ids=["missing", "no audio", "no base64", "an address", "too short", "too long"],
)
def test_a_wrong_reference_is_refused(client: TestClient, references: list[str], names: list[str]) -> None:
    answer = post(client, AUDIO, known_speaker_names__=names, known_speaker_references__=references)
    assert_failure(answer, 400, param="known_speaker_references")


def test_diarized_json_needs_diarization(client: TestClient) -> None:
    answer = post(client, AUDIO, response_format="diarized_json", enable_speaker_diarization="false")
    assert_failure(answer, 400, param="response_format")
