"""Punctuation: a mark for every token, sentence marks at the end, long texts in windows."""

import random

import pytest

from runners.catalog import PROJECT_ROOT
from runners.kit.funasr_models import ModelDirectory
from runners.paraformer.punctuation import PunctuationEngine
from scripts.demo.sentences import PUNCTUATION, draw_sentence, strip_punctuation

DEMO = PROJECT_ROOT / "models" / "demo" / "punctuation"


@pytest.fixture(scope="module")
def engine() -> PunctuationEngine:
    return PunctuationEngine(ModelDirectory.read(DEMO), batch_size=8)


def punctuated(engine: PunctuationEngine, text: str) -> str:
    (marks,) = engine.punctuate([list(text)])
    return "".join(c + m for c, m in zip(text, marks, strict=True))


@pytest.mark.parametrize("text", ["今天天气怎么样？", "好的，请稍等。", "密码是三五七九，请不要告诉别人。"])
def test_sentences_get_their_marks(engine: PunctuationEngine, text: str) -> None:
    assert punctuated(engine, strip_punctuation(text)) == text


def test_texts_do_not_depend_on_their_company(engine: PunctuationEngine) -> None:
    rng = random.Random(3)
    texts = [list(strip_punctuation(draw_sentence(rng))) for _ in range(30)]
    assert engine.punctuate(texts) == [engine.punctuate([t])[0] for t in texts]


def test_no_text_has_no_marks(engine: PunctuationEngine) -> None:
    assert engine.punctuate([[], ["好"]]) == [[], ["。"]]


def test_a_text_always_ends_with_a_sentence_mark(engine: PunctuationEngine) -> None:
    assert punctuated(engine, "我要订两张明天去")[-1] in "。？"


def test_a_long_text_is_marked_to_its_end(engine: PunctuationEngine) -> None:
    rng = random.Random(4)
    text = "".join(draw_sentence(rng) for _ in range(120))
    spoken = strip_punctuation(text)
    assert len(spoken) > 1000
    result = punctuated(engine, spoken)
    assert strip_punctuation(result) == spoken
    assert sum(c in PUNCTUATION for c in result[-100:]) > 3


def test_marks_after_latin_words_are_half_width(engine: PunctuationEngine) -> None:
    (marks,) = engine.punctuate([["今", "天", "open"]])
    assert marks[-1] in (".", "?")
