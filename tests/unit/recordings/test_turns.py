"""Words given to speakers, and turns made segments."""

from itertools import pairwise

import pytest

from service.audio.spans import Span
from service.domain import Segment, Speaker, Word
from service.recordings.turns import SpokenUtterance, Window, regroup, utterances_of

LIMITS = {"longest_ms": 90_000, "longest_pause_ms": 3_000}


def utterance(start_s: float, end_s: float, text: str) -> SpokenUtterance:
    """A character each, evenly spread; a mark in ``text`` belongs to the character before it."""
    letters: list[list[str]] = []
    for char in text:
        if char in "，。？":
            letters[-1][1] = char
        else:
            letters.append([char, ""])
    step_s = (end_s - start_s) / len(letters)
    words = tuple(
        Word(char, start_s + i * step_s, start_s + (i + 0.8) * step_s, mark) for i, (char, mark) in enumerate(letters)
    )
    return SpokenUtterance(Span(round(start_s * 1000), round(end_s * 1000)), words)


def window(start_s: float, speaker: int, length_s: float = 1.5) -> Window:
    return Window(Span(round(start_s * 1000), round((start_s + length_s) * 1000)), speaker)


def told(segments: list[Segment]) -> list[tuple[str | None, str]]:
    return [(segment.speaker and segment.speaker.label, segment.text) for segment in segments]


def test_speakers_are_labelled_in_order_of_appearance() -> None:
    dialogue = [utterance(0, 2, "你好。"), utterance(3, 5, "再见。"), utterance(6, 8, "谢谢。")]
    segments = regroup(dialogue, [window(0, 7), window(3, 2), window(6, 7)], {}, **LIMITS)
    assert told(segments) == [("说话人1", "你好。"), ("说话人2", "再见。"), ("说话人1", "谢谢。")]
    assert [segment.index for segment in segments] == [0, 1, 2]


def test_without_any_voice_long_enough_there_is_one_speaker() -> None:
    assert told(regroup([utterance(0, 0.3, "好。")], [], {}, **LIMITS)) == [("说话人1", "好。")]


def test_an_utterance_too_short_for_a_window_goes_with_the_nearest() -> None:
    dialogue = [utterance(0, 2, "你好。"), utterance(2.2, 2.5, "对。"), utterance(8, 10, "再见。")]
    segments = regroup(dialogue, [window(0, 0), window(8, 1)], {}, **LIMITS)
    assert told(segments) == [("说话人1", "你好。对。"), ("说话人2", "再见。")]


def test_known_speakers_have_their_names_and_the_others_are_counted_without_them() -> None:
    dialogue = [utterance(0, 2, "你好。"), utterance(3, 5, "再见。")]
    segments = regroup(dialogue, [window(0, 4), window(3, 5)], {4: "小明"}, **LIMITS)
    assert [segment.speaker for segment in segments] == [Speaker("小明"), Speaker("说话人1", 1)]


def test_a_change_of_speaker_inside_an_utterance_lies_at_the_end_of_a_sentence() -> None:
    # by the windows' middles the change would come a character too early
    talk = utterance(0, 6, "一二三四五。六七八九十甲乙。")
    segments = regroup([talk], [window(0.3, 0), window(2.1, 1), window(4.0, 1)], {}, **LIMITS)
    assert told(segments) == [("说话人1", "一二三四五。"), ("说话人2", "六七八九十甲乙。")]
    assert segments[0].end_s == segments[1].start_s == pytest.approx(talk.words[5].start_s, abs=0.1)


def test_one_speakers_short_pieces_accumulate() -> None:
    talk = [utterance(2.0 * i, 2.0 * i + 1.5, "你好。") for i in range(4)]
    (segment,) = regroup(talk, [window(2.0 * i, 0) for i in range(4)], {}, **LIMITS)
    assert segment.text == "你好。" * 4
    assert (segment.start_s, segment.end_s) == (0.0, 7.5)


def test_a_monologue_is_split_at_a_minute_or_at_the_longest_segment_if_that_is_less() -> None:
    talk = [utterance(8.0 * i, 8.0 * i + 7.5, "你好。") for i in range(20)]
    windows = [window(8.0 * i, 0) for i in range(20)]
    for longest_ms, expected_s in ((90_000, 60), (30_000, 30)):
        segments = regroup(talk, windows, {}, longest_ms=longest_ms, longest_pause_ms=3_000)
        assert all(segment.end_s - segment.start_s <= expected_s for segment in segments)
        assert all(a.end_s - a.start_s > expected_s / 2 for a in segments[:-1])
        assert "".join(segment.text for segment in segments) == "你好。" * 20


def test_a_long_pause_parts_segments_of_one_speaker() -> None:
    talk = [utterance(0, 2, "你好。"), utterance(5.1, 7, "再见。")]
    assert len(regroup(talk, [window(0, 0), window(5.1, 0)], {}, **LIMITS)) == 2


def test_no_word_is_lost_and_none_changes_its_place() -> None:
    talk = [utterance(5.0 * i, 5.0 * i + 4, "一二三，四五六。") for i in range(12)]
    windows = [window(0.75 * i, (i * 7) % 3) for i in range(80)]
    segments = regroup(talk, windows, {}, **LIMITS)
    said = [word for segment in segments for word in segment.words]
    assert said == [word for utterance in talk for word in utterance.words]
    assert all(a.end_s <= b.start_s for a, b in pairwise(segments))
    assert all(a.speaker != b.speaker or b.end_s - a.start_s > 10 for a, b in pairwise(segments))


def test_finished_words_find_their_utterances_again() -> None:
    first, second = utterance(0, 2, "你好。"), utterance(3, 5, "再见。")
    assert utterances_of([*first.words, *second.words], [first.span, second.span]) == [first, second]
    assert utterances_of(second.words, [first.span, second.span]) == [second]
