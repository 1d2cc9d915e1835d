"""Results as FunASR's clients read them."""

import json

from service.domain import Word
from service.errors import UndecodableAudio
from service.protocols.funasr.live_response import End, failed_end, offline_result, online_result

WORDS = (Word("今", 0.1, 0.2), Word("天", 0.2, 0.3, "，"), Word("good", 0.5, 0.9), Word("2024年", 1.0, 2.0, "。"))


def test_online_text_says_only_what_is_new() -> None:
    assert online_result("2pass", "天气", "demo").model_dump() == {
        "mode": "2pass-online",
        "text": "天气",
        "wav_name": "demo",
        "is_final": False,
    }
    assert online_result("online", "天气", "demo").mode == "online"


def test_every_character_and_latin_word_has_its_time() -> None:
    result = offline_result("2pass", "今天，good2024年。", WORDS, "demo")
    assert result.mode == "2pass-offline"
    assert result.timestamp is not None
    assert json.loads(result.timestamp) == [
        [100, 200],
        [200, 300],
        [500, 900],
        [1000, 1200],
        [1200, 1400],
        [1400, 1600],
        [1600, 1800],
        [1800, 2000],
    ]


def test_sentences_end_at_their_marks() -> None:
    result = offline_result("offline", "今天，good2024年。", WORDS, "demo")
    assert result.stamp_sents is not None
    assert [s.model_dump() for s in result.stamp_sents] == [
        {"text_seg": "今 天", "punc": "，", "start": 100, "end": 300, "ts_list": [(100, 200), (200, 300)]},
        {
            "text_seg": "good 2 0 2 4 年",
            "punc": "。",
            "start": 500,
            "end": 2000,
            "ts_list": [(500, 900), (1000, 1200), (1200, 1400), (1400, 1600), (1600, 1800), (1800, 2000)],
        },
    ]


def test_the_last_sentence_may_lack_its_mark() -> None:
    result = offline_result("2pass", "今天", (Word("今", 0, 0.1), Word("天", 0.1, 0.2)), "demo")
    assert result.stamp_sents is not None
    assert [(s.text_seg, s.punc) for s in result.stamp_sents] == [("今 天", "")]


def test_a_decimal_point_belongs_to_what_it_follows() -> None:
    result = offline_result("2pass", "3.5", (Word("3.5", 0, 0.3),), "demo")
    assert result.stamp_sents is not None
    assert result.stamp_sents[0].text_seg == "3. 5"


def test_nothing_said_has_no_times() -> None:
    assert offline_result("offline", "", (), "demo").model_dump() == {
        "mode": "offline",
        "text": "",
        "wav_name": "demo",
        "is_final": False,
    }


def test_the_end_is_final_and_has_a_text_for_clients_that_read_one_of_every_message() -> None:
    assert End(mode="2pass", wav_name="demo").model_dump() == {
        "mode": "2pass",
        "wav_name": "demo",
        "text": "",
        "is_final": True,
        "is_end": True,
    }


def test_an_end_by_failure_is_no_success() -> None:
    end = failed_end("online", "demo", UndecodableAudio("no audio"), ["Most was quiet."])
    assert (end.is_end, end.is_final, end.error) == (True, False, "no audio")
    assert end.warnings == ["Most was quiet."]
