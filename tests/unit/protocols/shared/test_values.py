"""Values in the many ways that clients write them."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from service.errors import InvalidRequest, UnsupportedSampleRate
from service.protocols.shared.values import (
    NOT_CHOSEN,
    Choice,
    ClientValues,
    Flag,
    Items,
    Language,
    Nearest,
    PcmRate,
    Text,
    cleaned,
    decode_base64,
    number,
    unknown_fields,
)


class Said(ClientValues):
    flag: Flag = True
    format: Annotated[Literal["pcm", "opus", "A"], Choice({"opu": "opus"})] = "pcm"
    needless: Annotated[Literal["pcm"], Choice(needless=True)] | None = None
    sample_rate: Annotated[int, PcmRate(rates=(8000, 16000))] = 16000
    speakers: Annotated[int, Nearest(1, 100, less_is_none=True)] | None = None
    silence: Annotated[int, Nearest(200, 6000)] = 800
    share: Annotated[float, Nearest(0, 1)] = 0.5
    language: Language = None
    languages: Annotated[list[Language], Items()] = Field(default=[])
    names: Annotated[list[Annotated[str, Text(10)]], Items("")] = Field(default=[])
    note: Annotated[str, Text(10)] = ""
    label: Annotated[str, Text(10, cut=True)] = ""


def read(**given: Any) -> Said:
    return Said.read(given)


@pytest.mark.parametrize("yes", [True, 1, 1.0, "true", " True", "TRUE", "1", "yes", "on", "Y"])
@pytest.mark.parametrize("no", [False, 0, "false", "FALSE", "0", "no", "off", "f\u200b"])
def test_flags(yes: object, no: object) -> None:
    assert read(flag=yes).flag is True
    assert read(flag=no).flag is False


@pytest.mark.parametrize("word", sorted(NOT_CHOSEN | {"Auto", " NONE ", "\u200bnull"}))
def test_words_for_not_chosen_leave_the_default(word: str) -> None:
    said = read(flag=word, format=word, sample_rate=word, speakers=word, silence=word, share=word, language=word)
    assert said == Said()
    assert said.warnings == ()
    assert read(note=word).note == cleaned(word)  # in free text they are words


def test_none_is_as_good_as_absent() -> None:
    assert read(flag=None, silence=None, names=None, note=None) == Said()


@pytest.mark.parametrize(("value", "word"), [("PCM", "pcm"), (" Opu", "opus"), ("a", "A"), ("opus\u200b", "opus")])
def test_choices_have_any_case_and_other_names(value: str, word: str) -> None:
    assert read(format=value).format == word


def test_a_choice_that_changes_nothing_is_a_warning() -> None:
    said = read(needless="docx")
    assert said.needless is None
    assert said.warnings == ("needless: had no effect: there is no such word.",)


@pytest.mark.parametrize(
    ("value", "taken", "warned"),
    [("800", 800, False), ("8e2", 800, False), ("８００", 800, False), (800.4, 800, False), (" 800 ", 800, False),
     (100, 200, True), ("6001", 6000, True), (-1, 200, True), (1e300, 6000, True), ("inf", 6000, True)],
)  # fmt: skip
def test_numbers_are_taken_as_text_and_as_the_nearest(value: object, taken: int, warned: bool) -> None:
    said = read(silence=value)
    assert said.silence == taken
    assert bool(said.warnings) == warned
    assert not warned or "silence" in said.warnings[0]


@pytest.mark.parametrize("value", [0, "0", -1, "auto", "0.0"])
def test_no_speakers_mean_that_they_are_to_be_found(value: object) -> None:
    said = read(speakers=value)
    assert said.speakers is None
    assert said.warnings == ()


@pytest.mark.parametrize(
    ("format", "rate", "taken"),
    [("pcm", "8000", 8000), ("pcm", 8000.0, 8000), ("opus", 44100, 16000), ("opus", "fast", 16000)],
)
def test_the_rate_matters_where_the_bytes_do_not_say_it(format: str, rate: object, taken: int) -> None:
    said = read(format=format, sample_rate=rate)
    assert said.sample_rate == taken
    assert bool(said.warnings) == (format == "opus")


@pytest.mark.parametrize("rate", [44100, "many", -8000, [8000]])
def test_pcm_at_a_rate_that_there_is_not_is_refused(rate: object) -> None:
    with pytest.raises(UnsupportedSampleRate) as raised:
        read(sample_rate=rate)
    assert "8000, 16000" in raised.value.message


@pytest.mark.parametrize(
    "value", [["zh", "en"], "zh,en", "zh, en", '["zh", "en"]', ["zh,en"], ["Chinese", "English"], ["zh", "auto", "en"]]
)
def test_lists_have_many_spellings(value: object) -> None:
    assert [code for code in read(languages=value).languages if code] == ["zh", "en"]


def test_names_with_commas_stay_whole() -> None:
    assert read(names="Ann, B").names == ["Ann, B"]
    assert read(names='["Ann", "Bob"]').names == read(names=["Ann", "\u200eBob"]).names == ["Ann", "Bob"]


@pytest.mark.parametrize(
    ("name", "code", "warned"),
    [("zh-CN", "zh", False), ("粤语", "yue", False), ("四川话", "zh", True), ("Sichuan", "zh", True),
     ("zh-sichuan", "zh", True), ("吴语", "zh", True), ("Cantonese (Hong Kong accent)", "yue", True)],
)  # fmt: skip
def test_a_dialect_is_a_language_with_a_warning(name: str, code: str, warned: bool) -> None:
    said = read(language=name)
    assert said.language == code
    assert bool(said.warnings) == warned


def test_text_has_no_invisible_marks_and_its_length() -> None:
    assert read(note="\u200fא\u2066b\ufeff", label=5) == Said(note="אb", label="5")
    said = read(label="x" * 11)
    assert said.label == "x" * 10
    assert "label" in said.warnings[0]
    with pytest.raises(InvalidRequest) as raised:
        read(note="x" * 11)
    assert raised.value.param == "note"


@pytest.mark.parametrize(
    ("field", "value"),
    [("flag", "perhaps"), ("flag", 2), ("format", "tiff"), ("silence", "long"), ("silence", float("nan")),
     ("silence", [800]), ("silence", True), ("language", "Klingon"), ("language", 5), ("languages", ["Klingon"]),
     ("names", 5), ("names", ["x"] * 1001), ("note", ["x"])],
)  # fmt: skip
def test_what_can_not_be_understood_is_refused_by_name_and_not_repeated_at_length(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(**{field: value})
    assert raised.value.param == field
    assert len(raised.value.message) < 300


VALUES = st.text() | st.integers() | st.floats() | st.lists(st.text())


@given(st.dictionaries(st.sampled_from(list(Said.model_fields)), VALUES))
def test_whatever_comes_is_read_or_refused(given: dict[str, Any]) -> None:
    try:
        said = Said.read(given)
    except InvalidRequest:
        return
    assert 200 <= said.silence <= 6000
    assert 0 <= said.share <= 1
    assert said.sample_rate in (8000, 16000)


def test_a_number_is_a_number_in_any_writing() -> None:
    assert [number(v) for v in ("1", "１", "1.5", 2, "x", None, True, [], "9" * 5000, 10**400, "nan")] == [
        1, 1, 1.5, 2, None, None, None, None, float("9" * 40), None, None,
    ]  # fmt: skip


def test_a_thousand_unknown_fields_are_one_short_warning() -> None:
    (warning,) = unknown_fields([f"field{i}" * 100 for i in range(1000)] + ["known"], {"known"})
    assert len(warning) < 700
    assert "and 990 others" in warning
    assert unknown_fields(["known"], {"known"}) == ()


@pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc", bytes(range(256)), b"\xfb\xff\xfe"])
def test_base64_has_several_forms(data: bytes) -> None:
    plain, url_safe = base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()
    for text in (plain, url_safe, plain.rstrip("="), url_safe.rstrip("="), base64.encodebytes(data).decode()):
        assert decode_base64(text) == data


@pytest.mark.parametrize("text", ["*", "你好", "a", "ab=c", "é" * 4])
def test_what_is_no_base64_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        decode_base64(text)
