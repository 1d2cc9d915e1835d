"""Subtitles: readable cues from any transcript, in files that other people's parsers agree on."""

from __future__ import annotations

import html
import re

import pysubs2
import pytest
import srt as srt_parser
import webvtt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.domain import Segment, Speaker, Transcript, Word, is_cjk, join_words
from service.protocols.shared.subtitles import Cue, cues, srt, vtt

LATIN_PER_LINE = 42
LATIN_PER_CJK = 42 / 20


def transcript(*segments: Segment, duration_s: float = 3600.0) -> Transcript:
    return Transcript(duration_s=duration_s, language="zh", model="paraformer-demo", segments=segments)


def spoken(text: str, *, start_s: float = 0.0, per_word_s: float = 0.2, pause_s: float = 0.3) -> Segment:
    """A segment in which every word takes ``per_word_s`` and every mark is followed by a pause."""
    words = []
    now_s = start_s
    for match in re.finditer(r"([A-Za-z0-9]+|[^\W])([^\w\s]*)", text):
        words.append(Word(match[1], now_s, now_s + per_word_s, match[2]))
        now_s += per_word_s + (pause_s if match[2] else 0.0)
    return Segment(0, start_s, words[-1].end_s, join_words(words), tuple(words))


def unspoken(text: str, start_s: float, end_s: float) -> Segment:
    """A segment of a model that gives no word times."""
    return Segment(0, start_s, end_s, text)


def texts(found: list[Cue]) -> list[str]:
    return ["\n".join(cue.lines) for cue in found]


def width(line: str) -> float:
    return sum(LATIN_PER_CJK if is_cjk(char) else 1 for char in line)


def letters(text: str) -> str:
    return re.sub(r"[\s，。、]", "", text)


# A transcript as engines give them: words in order, pauses of any length, some segments without words,
# speakers or not. The marks ，。 and the digits are what trips parsers and shapers most.
_words = st.tuples(
    st.one_of(
        st.sampled_from("的一是不了人我在有他这好"), st.sampled_from(["a", "the", "2026", "speech", "305元", "x" * 30])
    ),
    st.sampled_from(["", "", "", "", "", "，", "。", "？", "、", ",", "."]),
    st.integers(0, 900),
    st.sampled_from([0, 0, 0, 0, 40, 350, 2500]),
)
_segments = st.tuples(
    st.lists(_words, min_size=1, max_size=70),
    st.booleans(),
    st.sampled_from([None, None, Speaker.unnamed(1), Speaker("Zoë")]),
)


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    now_s = draw(st.sampled_from([0.0, 0.0004, 350_000.0]))
    segments = []
    for index, (drawn, timed, speaker) in enumerate(draw(st.lists(_segments, max_size=4))):
        start_s = now_s
        words = []
        for text, punctuation, length_ms, pause_ms in drawn:
            words.append(Word(text, now_s, now_s + length_ms / 997, punctuation))
            now_s += (length_ms + pause_ms) / 997
        segments.append(
            Segment(index, start_s, words[-1].end_s, join_words(words), tuple(words) if timed else (), speaker)
        )
    return transcript(*segments, duration_s=now_s)


many = settings(
    max_examples=80, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)


@many
@given(transcripts())
def test_every_cue_keeps_to_the_limits(given: Transcript) -> None:
    end_s = 0.0
    for cue in cues(given):
        assert cue.start_s >= end_s
        assert 0.001 <= round(cue.end_s - cue.start_s, 3) <= 7.0
        assert 1 <= len(cue.lines) <= 2
        mark = f"[{cue.speaker}] " if cue.speaker else ""
        assert all(
            line.strip() and width(line) <= LATIN_PER_LINE + 1e-9 for line in (mark + cue.lines[0], *cue.lines[1:])
        )
        end_s = cue.end_s


@many
@given(transcripts())
def test_no_letter_is_lost_or_moved(given: Transcript) -> None:
    assert letters("".join(texts(cues(given)))) == letters(given.text)


@many
@given(transcripts())
def test_no_cue_and_no_line_splits_a_word(given: Transcript) -> None:
    shown = [letters(line) for cue in cues(given) for line in cue.lines]
    line_ends = {sum(map(len, shown[:n])) for n in range(1, len(shown) + 1)}
    at = 0
    for segment in given.segments:
        for word in segment.words:
            inside = range(at + 1, at + len(word.text))
            assert line_ends.isdisjoint(inside), word
            at += len(letters(word.text + word.punctuation))
        at += 0 if segment.words else len(letters(segment.text))


@many
@given(transcripts())
def test_three_parsers_read_back_the_same_cues(drawn: Transcript) -> None:
    goodbye = unspoken("再见。", drawn.duration_s, drawn.duration_s + 1)
    given = transcript(*drawn.segments, goodbye, duration_s=drawn.duration_s + 1)
    expected = [
        (round(cue.start_s * 1000), round(cue.end_s * 1000), (f"[{cue.speaker}] " if cue.speaker else "") + text)
        for cue, text in zip(cues(given), texts(cues(given)), strict=True)
    ]
    as_srt, as_vtt = srt(given), vtt(given)

    parsed = list(srt_parser.parse(as_srt))
    assert [p.index for p in parsed] == list(range(1, len(expected) + 1))
    assert [
        (round(p.start.total_seconds() * 1000), round(p.end.total_seconds() * 1000), p.content) for p in parsed
    ] == expected

    captions = webvtt.from_string(as_vtt).captions
    assert [(round(c.start_in_seconds * 1000) + c.start_time.milliseconds, c.raw_text) for c in captions] == [
        (start_ms, text) for start_ms, _, text in expected
    ]

    for text, format_ in ((as_srt, "srt"), (as_vtt, "vtt")):
        events = pysubs2.SSAFile.from_string(text, format_=format_).events
        assert [(e.start, e.end, e.plaintext) for e in events] == expected


def test_an_empty_transcript_makes_an_empty_file() -> None:
    assert srt(transcript()) == ""
    assert vtt(transcript()) == "WEBVTT\n\n"
    assert webvtt.from_string(vtt(transcript())).captions == []
    assert srt(transcript(unspoken("", 0, 1), unspoken("。", 1, 2), unspoken(" \n", 2, 3))) == ""


def test_the_files_look_as_the_formats_want() -> None:
    one = transcript(unspoken("你好。", 1.0, 2.0))
    assert srt(one) == "1\n00:00:01,000 --> 00:00:02,000\n你好\n\n"
    assert vtt(one) == "WEBVTT\n\n1\n00:00:01.000 --> 00:00:02.000\n你好\n\n"


def test_times_are_rounded_to_milliseconds_not_cut() -> None:
    assert "00:00:01,235 --> 00:00:02,568" in srt(transcript(unspoken("你好", 1.23456, 2.5678)))
    assert "00:00:01,001 --> 00:00:02,300" in srt(transcript(unspoken("你好", 1.001, 2.3)))  # 2.3 is 2.29999…


def test_more_than_ninety_nine_hours_are_written_in_full() -> None:
    long_after = transcript(unspoken("你好", 360_000.0, 360_001.5), duration_s=360_010.0)
    assert "100:00:00,000 --> 100:00:01,500" in srt(long_after)
    assert "100:00:00.000 --> 100:00:01.500" in vtt(long_after)


def test_sentences_get_cues_of_their_own() -> None:
    found = cues(transcript(spoken("大家好，现在开始开会。第一个问题是什么？我没有问题。")))
    assert texts(found) == ["大家好，现在开始开会", "第一个问题是什么？", "我没有问题"]


def test_a_sentence_too_long_for_one_cue_breaks_at_its_comma() -> None:
    first, second = "因为明天北京上海广州和深圳都要下很大的雨并且有雾", "所以我们和张医生还有李经理都不去公园"
    assert [text.replace("\n", "") for text in texts(cues(transcript(spoken(f"{first}，{second}。"))))] == [
        first,
        second,
    ]


def test_without_a_comma_it_breaks_at_the_pause() -> None:
    before, after = spoken("一" * 22), spoken("二" * 18, start_s=22 * 0.2 + 0.4)
    words = before.words + after.words
    found = cues(transcript(Segment(0, 0.0, after.end_s, join_words(words), words)))
    assert [text.replace("\n", "") for text in texts(found)] == ["一" * 22, "二" * 18]


@pytest.mark.parametrize("mark", ["", "，", "。"])
@pytest.mark.parametrize(("pause_s", "count"), [(0.9, 1), (1.0, 2), (2.0, 2)])
def test_a_cue_ends_at_a_long_pause_with_marks_or_without(mark: str, pause_s: float, count: int) -> None:
    before = spoken("今天天气很好")
    after = spoken("我们去公园", start_s=before.end_s + pause_s)
    words = (*before.words[:-1], Word("好", *[before.words[-1].start_s, before.end_s], mark), *after.words)
    found = cues(transcript(Segment(0, 0.0, after.end_s, join_words(words), words)))
    assert len(found) == (count if mark != "。" else 2)
    if len(found) == 2:
        assert (found[0].end_s, found[1].start_s) == (pytest.approx(before.end_s, abs=0.9), after.start_s)


def test_without_a_pause_it_breaks_evenly_between_words() -> None:
    found = cues(transcript(spoken("一二三四五六七八九十" * 5)))
    assert [len(letters(text)) for text in texts(found)] == [25, 25]
    assert found[1].start_s == pytest.approx(25 * 0.2)


def test_two_lines_are_balanced_and_break_at_the_comma_if_there_is_one() -> None:
    assert texts(cues(transcript(spoken("因为明天北京会下很大的雨，所以我们都不去公园了。")))) == [
        "因为明天北京会下很大的雨\n所以我们都不去公园了"
    ]
    (cue,) = cues(transcript(spoken("一二三四五六七八九十" * 2 + "一二三四")))
    assert [len(line) for line in cue.lines] == [12, 12]


def test_a_bare_number_is_no_line_of_its_own_at_the_end() -> None:
    # pysubs2 takes a number on a last line for the number of a cue that follows.
    said = transcript(spoken("下面是您的订单的编号 0357210000012345678900"))
    for text, format_ in ((srt(said), "srt"), (vtt(said), "vtt")):
        (event,) = pysubs2.SSAFile.from_string(text, format_=format_).events
        assert letters(event.plaintext) == letters(said.text)


def test_a_full_line_is_not_broken() -> None:
    (chinese,) = cues(transcript(spoken("一二三四五六七八九十" * 2 + "。")))
    assert len(chinese.lines) == 1
    (english,) = cues(transcript(unspoken("x" * 20 + " " + "y" * 21, 0, 5)))
    assert english.lines == ("x" * 20 + " " + "y" * 21,)


def test_questions_exclamations_and_latin_marks_stay_at_the_end_of_a_line() -> None:
    for sentence in ("你叫什么名字？", "太好了！", "Good morning.", "Well,"):
        assert texts(cues(transcript(unspoken(sentence, 0, 2)))) == [sentence]


def test_a_short_cue_stays_on_the_screen_if_there_is_room() -> None:
    yes = Segment(0, 1.0, 1.2, "是。", (Word("是", 1.0, 1.2, "。"),))
    later = Segment(1, 3.0, 4.0, "谢谢。", (Word("谢", 3.0, 3.5), Word("谢", 3.5, 4.0, "。")))
    soon = Segment(1, 1.5, 4.0, "谢谢。", (Word("谢", 1.5, 3.5), Word("谢", 3.5, 4.0, "。")))
    assert cues(transcript(yes, later))[0].end_s == 1.8
    assert cues(transcript(yes, soon))[0].end_s == 1.5
    assert cues(transcript(yes, duration_s=1.5))[0].end_s == 1.5  # not past the end of the recording


def test_cues_whose_words_have_one_time_can_be_read_one_after_the_other_where_there_is_room() -> None:
    words = tuple(Word("一", 2.0, 2.0, "。" if i % 20 == 19 else "") for i in range(80))
    collided = Segment(0, 0.0, 8.0, join_words(words), words)
    found = cues(transcript(collided, unspoken("你好。", 8.0, 9.0), duration_s=9.0))
    assert len(found) == 5
    assert all(cue.end_s - cue.start_s >= 0.5 for cue in found)
    assert found[-1].start_s == 8.0


def test_a_cue_waits_half_a_second_at_most_for_the_one_before_it() -> None:
    said = [unspoken("好。", 1.0, 1.1), unspoken("一" * 30, 1.1, 5.0), unspoken("二" * 30, 5.0, 9.0)]
    assert [(cue.start_s, cue.end_s) for cue in cues(transcript(*said))] == [(1.0, 1.5), (1.5, 5.0), (5.0, 9.0)]


def test_a_short_answer_without_room_joins_its_neighbour() -> None:
    assert texts(cues(transcript(spoken("好。我知道了。", pause_s=0.0)))) == ["好。我知道了"]


def test_a_long_silence_inside_a_segment_leaves_the_screen_empty() -> None:
    words = (Word("你", 0.0, 0.3), Word("好", 0.3, 0.6), Word("吗", 3.6, 3.9), Word("呢", 3.9, 4.2))
    first, second = cues(transcript(Segment(0, 0.0, 4.2, "你好吗呢", words)))
    assert (first.end_s, second.start_s) == (0.8, 3.6)


def test_a_word_that_lasts_too_long_is_shown_for_seven_seconds() -> None:
    (cue,) = cues(transcript(Segment(0, 1.0, 30.0, "嗯", (Word("嗯", 1.0, 30.0),))))
    assert (cue.start_s, cue.end_s) == (1.0, 8.0)


def test_a_word_wider_than_two_lines_is_the_only_word_that_is_cut() -> None:
    found = cues(transcript(unspoken("前 " + "x" * 100 + " 后", 0, 10)))
    assert letters("".join(texts(found))) == "前" + "x" * 100 + "后"
    assert all(width(line) <= LATIN_PER_LINE for cue in found for line in cue.lines)


def test_times_that_run_backwards_or_collide_still_give_cues_in_order() -> None:
    words = tuple(Word("一", start_s, end_s, "。") for start_s, end_s in [(5, 6), (2, 9), (2, 2), (1, 0), (7, 8)])
    found = cues(transcript(Segment(0, 5.0, 8.0, join_words(words), words), unspoken("二" * 90, 6.0, 6.0)))
    assert letters("".join(texts(found))) == "一" * 5 + "二" * 90
    edges = [edge for cue in found for edge in (cue.start_s, cue.end_s)]
    assert edges == sorted(edges)
    assert all(cue.end_s > cue.start_s for cue in found)


def test_text_without_word_times_is_spread_by_its_characters() -> None:
    first, second = cues(transcript(unspoken("一二三四五六七八九，一二三四五六七八九。", 10.0, 20.0)))
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (10.0, 15.0, 15.0, 20.0)


def test_spaces_of_the_text_survive_where_words_carry_none() -> None:
    words = (Word("用", 0.0, 0.5), Word("Python", 0.5, 1.0), Word("吧", 1.0, 1.5, "。"))
    assert texts(cues(transcript(Segment(0, 0.0, 1.5, "用 Python 吧。", words)))) == ["用 Python 吧"]


def test_words_that_are_not_in_the_text_cost_no_text() -> None:
    words = (Word("two", 0.0, 0.5), Word("three", 0.5, 1.0))
    assert texts(cues(transcript(Segment(0, 0.0, 1.0, "one two 3", words)))) == ["one two 3"]


def test_an_opening_mark_goes_to_the_next_line_with_its_word() -> None:
    (cue,) = cues(transcript(unspoken("我们昨天晚上在图书馆里一起读完了，《红楼梦》的第一卷。", 0, 6)))
    assert cue.lines == ("我们昨天晚上在图书馆里一起读完了", "《红楼梦》的第一卷")


def test_a_speaker_is_marked_on_every_cue_and_counts_towards_the_width() -> None:
    said = spoken("一二三四五六七八九十" * 2 + "。" + "你好。")
    marked = transcript(Segment(0, said.start_s, said.end_s, said.text, said.words, Speaker.unnamed(1)))
    blocks = srt(marked).split("\n\n")[:-1]
    assert [block.split("\n")[2].startswith("[说话人1] ") for block in blocks] == [True, True]
    assert all(width(line) <= LATIN_PER_LINE for block in blocks for line in block.split("\n")[2:])
    assert all(cue.speaker == "说话人1" for cue in cues(marked))


def test_two_speakers_never_share_a_cue() -> None:
    answers = [Segment(n, float(n), n + 0.3, "好。", speaker=Speaker.unnamed(n + 1)) for n in range(2)]
    assert [(cue.speaker, cue.lines) for cue in cues(transcript(*answers))] == [
        ("说话人1", ("好",)),
        ("说话人2", ("好",)),
    ]


def test_markup_in_the_text_is_escaped_in_webvtt() -> None:
    hostile = 'a <b> & c --> d "e"'
    said = transcript(Segment(0, 0.0, 3.0, hostile, speaker=Speaker("<A>")))
    assert '\n[&lt;A&gt;] a &lt;b&gt; &amp; c --&gt; d "e"\n' in vtt(said)
    (caption,) = webvtt.from_string(vtt(said)).captions
    assert html.unescape(caption.raw_text) == "[<A>] " + hostile


def test_a_line_break_in_the_text_or_the_name_never_ends_a_cue_early() -> None:
    said = transcript(Segment(0, 0.0, 3.0, "one\n\n2\u2028three", speaker=Speaker("A\n\nB")))
    assert srt(said) == "1\n00:00:00,000 --> 00:00:03,000\n[A B] one 2 three\n\n"
