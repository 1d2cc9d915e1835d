"""Renders FunASR's WebSocket messages: results with their times, the acknowledgement of an end, failures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, Field

from service.domain import Word
from service.errors import ServiceError

Mode = Literal["2pass", "online", "offline"]
ResultMode = Literal["2pass-online", "2pass-offline", "online", "offline"]

_T = TypeVar("_T")
_Omissible = Annotated[_T | None, Field(exclude_if=lambda value: value is None)]

# What has times of its own: a Latin word, or any other character; the marks that FunASR's own page
# skips when it counts times belong to what they follow.
_UNIT = re.compile(r"[A-Za-z][A-Za-z'’-]*|[^\s.。？，、,?][.。？，、,?]*")


class StampedSentence(BaseModel):
    """Holds text up to a punctuation mark, with its times.

    Attributes:
        text_seg: Its units (Latin words, or any other characters), separated by spaces.
        punc: The mark; "" where the text ends without.
        start: When it begins, in ms.
        end: When it ends, in ms.
        ts_list: (start, end) of each unit, in ms.
    """

    text_seg: str
    punc: str
    start: int
    end: int
    ts_list: list[tuple[int, int]]


class Result(BaseModel):
    """Tells text.

    Attributes:
        mode: Text of "…online" is to be appended, text of "…offline" replaces what was shown of the sentence.
        text: What was said.
        wav_name: What the client calls the recording.
        is_final: Never: only an ``End`` is.
        timestamp: A JSON string, [start, end] in ms of each character or Latin word; absent where there are none.
        stamp_sents: The same by sentences; absent where there are none.
    """

    mode: ResultMode
    text: str
    wav_name: str
    is_final: bool = False
    timestamp: _Omissible[str] = None
    stamp_sents: _Omissible[list[StampedSentence]] = None


class End(BaseModel):
    """Tells that nothing more comes of what was sent.

    Attributes:
        mode: Which the recording was recognised in.
        wav_name: What the client calls the recording.
        text: Empty: clients read it of every message.
        is_final: Whether all went well, as clients read it.
        is_end: Always.
        error: What failed; absent where nothing did.
        warnings: What had no effect, or may be missing; absent where nothing is to be said.
    """

    mode: Mode
    wav_name: str
    text: str = ""
    is_final: bool = True
    is_end: bool = True
    error: _Omissible[str] = None
    warnings: _Omissible[list[str]] = None


def online_result(mode: Mode, delta: str, wav_name: str) -> Result:
    """Tells what the sentence's text has grown by."""
    return Result(mode="2pass-online" if mode == "2pass" else "online", text=delta, wav_name=wav_name)


def offline_result(mode: Mode, text: str, words: Sequence[Word], wav_name: str) -> Result:
    """Tells the final text of a sentence, or of an offline recording, with the times of its words."""
    units = list(_units(words))
    times = [(unit.start_ms, unit.end_ms) for unit in units]
    return Result(
        mode="2pass-offline" if mode == "2pass" else "offline",
        text=text,
        wav_name=wav_name,
        timestamp=json.dumps(times) if times else None,
        stamp_sents=list(_stamped_sentences(units)) if units else None,
    )


def failed_end(mode: Mode, wav_name: str, failure: ServiceError, warnings: Sequence[str]) -> End:
    """Tells a failure, as an end that is not final."""
    told = list(warnings) or None
    return End(mode=mode, wav_name=wav_name, is_final=False, error=failure.message, warnings=told)


class _Unit(NamedTuple):
    text: str
    start_ms: int
    end_ms: int
    punctuation: str


def _units(words: Iterable[Word]) -> Iterator[_Unit]:
    """Yields the words' units; a word of several, such as a number in digits, shares its time by their length."""
    for word in words:
        parts = _UNIT.findall(word.text) or [word.text]
        length = sum(map(len, parts))
        ms_per_character = 1000 * (word.end_s - word.start_s) / length
        at = 0
        for index, part in enumerate(parts):
            start_ms = 1000 * word.start_s + at * ms_per_character
            at += len(part)
            is_last = index == len(parts) - 1
            end_ms = 1000 * word.start_s + at * ms_per_character
            yield _Unit(part, round(start_ms), round(end_ms), word.punctuation if is_last else "")


def _stamped_sentences(units: Sequence[_Unit]) -> Iterator[StampedSentence]:
    begin = 0
    for index, unit in enumerate(units):
        if unit.punctuation or index == len(units) - 1:
            sentence = units[begin : index + 1]
            begin = index + 1
            yield StampedSentence(
                text_seg=" ".join(u.text for u in sentence),
                punc=unit.punctuation,
                start=sentence[0].start_ms,
                end=unit.end_ms,
                ts_list=[(u.start_ms, u.end_ms) for u in sentence],
            )
