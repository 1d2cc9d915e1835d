"""FlashRecognizer's query and its answer: channels, sentences, words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.domain import Segment, Transcript, Word
from service.errors import InvalidRequest
from service.protocols.aliyun.flash_request import FlashQuery, FlashRequest, resolve
from service.protocols.aliyun.flash_response import FlashTask, flash_body


def understood(**query: str) -> FlashRequest:
    return resolve(FlashQuery.from_items(query.items()), query.keys(), ["paraformer-demo"])


def said(start_s: float, *sentences: str) -> Transcript:
    """A second a word, in one segment; a mark belongs to the character before it."""
    words: list[Word] = []
    for char in "".join(sentences):
        if char.isalnum():
            begin_s = start_s + len(words)
            words.append(Word(char, begin_s, begin_s + 0.5))
        else:
            words[-1] = Word(words[-1].text, words[-1].start_s, words[-1].end_s, words[-1].punctuation + char)
    segment = Segment(0, start_s, start_s + len(words), "".join(sentences), tuple(words))
    return Transcript(60.0, "zh", "m", (segment,))


def told(*channels: Transcript, with_words: bool = False, sentence_max_length: int | None = None) -> dict[str, Any]:
    task = FlashTask("0" * 32, 0.1234, with_words, sentence_max_length, warnings=())
    body: dict[str, Any] = json.loads(flash_body(channels, task).model_dump_json())
    return body


def test_an_empty_query_asks_for_what_the_cloud_gives() -> None:
    request = understood(appkey="any", token="any")
    assert not request.options.inverse_text_normalization
    assert request.options.punctuation
    assert request.options.word_timestamps  # sentences have times
    assert (request.with_words, request.first_channel_only, request.sentence_max_length) == (False, False, None)
    assert request.warnings == ()


def test_every_channel_is_heard_on_its_own_unless_the_first_alone_is_wanted() -> None:
    assert tuple(understood().channels(2)) == (0, 1)
    assert tuple(understood(first_channel_only="true").channels(2)) == (0,)
    assert tuple(understood(first_channel_only="true").channels(1)) == tuple(understood().channels(1)) == (None,)


def test_a_length_out_of_bounds_is_the_nearest_with_a_warning() -> None:
    request = understood(sentence_max_length="3")
    assert request.sentence_max_length == 4
    assert "sentence_max_length" in request.warnings[0]
    with pytest.raises(InvalidRequest) as raised:
        understood(sentence_max_length="short")
    assert raised.value.param == "sentence_max_length"


def test_an_answer_has_the_contracts_shape() -> None:
    assert told(said(1.0, "你好。", "再见！"), with_words=True) == {
        "task_id": "0" * 32,
        "status": 20000000,
        "message": "SUCCESS",
        "flash_result": {
            "duration": 60000,
            "completed": True,
            "latency": 123,
            "sentences": [
                {
                    "text": "你好。",
                    "begin_time": 1000,
                    "end_time": 2500,
                    "channel_id": 0,
                    "words": [
                        {"text": "你", "begin_time": 1000, "end_time": 1500, "punc": ""},
                        {"text": "好", "begin_time": 2000, "end_time": 2500, "punc": "。"},
                    ],
                },
                {
                    "text": "再见！",
                    "begin_time": 3000,
                    "end_time": 4500,
                    "channel_id": 0,
                    "words": [
                        {"text": "再", "begin_time": 3000, "end_time": 3500, "punc": ""},
                        {"text": "见", "begin_time": 4000, "end_time": 4500, "punc": "！"},
                    ],
                },
            ],
        },
    }


def test_words_are_left_out_where_they_are_not_asked_for() -> None:
    (sentence,) = told(said(0, "你好"))["flash_result"]["sentences"]
    assert set(sentence) == {"text", "begin_time", "end_time", "channel_id"}


def test_sentences_of_all_channels_are_in_the_order_of_their_times() -> None:
    sentences = told(said(0, "一。", "二。"), said(0.5, "三。"))["flash_result"]["sentences"]
    assert [(s["text"], s["channel_id"]) for s in sentences] == [("一。", 0), ("三。", 1), ("二。", 0)]


def test_what_is_noticed_of_a_file_is_told_once() -> None:
    transcript = Transcript(1.0, "zh", "m", (), ("cut off",))
    assert told(transcript, transcript)["warnings"] == ["cut off"]
    assert told(transcript, transcript)["flash_result"]["sentences"] == []


def test_subtitles_are_cut_to_their_length() -> None:
    transcript = said(0, "今天天气怎么样，明天呢，后天再说吧谢谢您。")
    sentences = told(transcript, sentence_max_length=12)["flash_result"]["sentences"]
    assert [s["text"] for s in sentences] == ["今天天气怎么样，明天呢，", "后天再说吧谢谢您。"]
    assert [s["begin_time"] for s in sentences] == [0, 10_000]
