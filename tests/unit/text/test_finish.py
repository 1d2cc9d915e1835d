"""Sentences settle while more words come, the same wherever the words are parted."""

import asyncio
import itertools
from collections.abc import Sequence

from runners import catalog
from runners.catalog import Model
from service.domain import RecognitionOptions, Word, join_words
from service.inference import Runners
from service.text.finish import finished, settled

PARAFORMER = RecognitionOptions(catalog.models()["paraformer-demo"])
QWEN3 = RecognitionOptions(catalog.models()["qwen3-asr-demo"])
SPOKEN = "我有三百零五元了你要二十六个吗一共百分之二十了好"
WRITTEN = "我有305元了。你要26个吗？一共20%了。好。"


class Marker(Runners):
    """Marks as the punctuation model does: what ends no sentence by itself ends one because nothing follows."""

    async def punctuate(self, model: Model, tokens: Sequence[str]) -> list[str]:
        marks = [{"了": "。", "吗": "？"}.get(token, "") for token in tokens]
        return [*marks[:-1], marks[-1] or "。"]


def words(text: str, marks: str = "") -> list[Word]:
    return [
        Word(c, i, i + 1, m) for i, (c, m) in enumerate(itertools.zip_longest(text, marks.split("|"), fillvalue=""))
    ]


def told(options: RecognitionOptions, *utterances: Sequence[Word]) -> list[str]:
    """What each utterance settles, the last one as it ends."""

    async def run() -> list[str]:
        texts, rest = [], []
        for utterance in utterances[:-1]:
            done, rest = await settled(Marker(), options, [*rest, *utterance], "zh")
            texts.append(join_words(done))
        return [*texts, join_words(await finished(Marker(), options, [*rest, *utterances[-1]], "zh"))]

    return asyncio.run(run())


def test_the_text_is_the_same_wherever_utterances_part() -> None:
    spoken = words(SPOKEN)
    for first, second in itertools.combinations(range(1, len(spoken)), 2):
        assert "".join(told(PARAFORMER, spoken[:first], spoken[first:second], spoken[second:])) == WRITTEN


def test_a_sentence_settles_once_something_is_said_after_it() -> None:
    assert told(PARAFORMER, words("好了"), words("是吗好"), words("了")) == ["", "好了。是吗？", "好了。"]


def test_marks_that_the_recogniser_heard_settle_at_once() -> None:
    assert told(QWEN3, words("好了二", "|。"), words("十六个", "||。"), words("对", "。")) == [
        "好了。",
        "26个。",
        "对。",
    ]


def test_without_marks_nothing_settles_before_the_end() -> None:
    for options in (PARAFORMER, QWEN3):
        spoken = RecognitionOptions(options.model, punctuation=False)
        assert told(spoken, words("好了二", "|。"), words("十六个")) == ["", "好了26个"]


def test_no_words_settle_nothing() -> None:
    assert told(PARAFORMER, [], words("二十"), [], words("六个")) == ["", "", "", "26个。"]
