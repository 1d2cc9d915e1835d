"""Finds words that hold a numeral and keep it in characters: those of kept_words.txt, and a request's hotwords."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

NUMERALS = "零〇幺一二两三四五六七八九十百千万亿"
_NUMERALS = frozenset(NUMERALS)
_POWERS = "十百千万亿"
_ANY_NUMBER = f"[{NUMERALS}]+"
_LONGEST_BEFORE = 6  # characters of such a phrase before the word
_LIST = Path(__file__).with_suffix(".txt")


class Place(NamedTuple):
    """Says where such a word stands, in characters of a text."""

    start: int
    end: int


class WordList:
    """Finds entries by the two characters they begin with, the longest first; in an entry * stands for any number."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._by_beginning: dict[str, list[tuple[str, re.Pattern[str] | None]]] = {}
        for entry in sorted(set(entries), key=len, reverse=True):
            pattern = re.compile(_ANY_NUMBER.join(map(re.escape, entry.split("*")))) if "*" in entry else None
            # what begins with a number is found where the number begins
            beginning = "*" if entry[0] == "*" else entry[: 2 if entry[1] != "*" else 1]
            self._by_beginning.setdefault(beginning, []).append((entry, pattern))

    def at(self, text: str, start: int) -> Iterator[Place]:
        """Yields the entries that stand at ``start``, the longest first."""
        for beginning in _beginnings(text, start):
            for entry, pattern in self._by_beginning.get(beginning, ()):
                if pattern is None:
                    if text.startswith(entry, start):
                        yield Place(start, start + len(entry))
                elif match := pattern.match(text, start):
                    yield Place(*match.span())

    def starts(self, text: str) -> list[int]:
        """Returns where entries may stand."""
        known = self._by_beginning
        return [
            start
            for start, char in enumerate(text)
            if char in _NUMERALS or char in known or text[start : start + 2] in known
        ]

    def begun_at(self, text: str, start: int) -> bool:
        """Says whether an entry begins with all the text from ``start`` on, and says more."""
        rest = text[start:]
        starred = re.sub(_ANY_NUMBER, "*", rest)
        return len(rest) > 1 and any(
            len(entry) > len(said) and entry.startswith(said)
            for beginning in _beginnings(text, start)
            for entry, pattern in self._by_beginning.get(beginning, ())
            for said in (starred if pattern else rest,)
        )


def _beginnings(text: str, start: int) -> tuple[str, ...]:
    first = text[start]
    if first in NUMERALS and (start == 0 or text[start - 1] not in NUMERALS):
        return text[start : start + 2], first, "*"
    return text[start : start + 2], first


@cache
def _lists() -> tuple[WordList, WordList]:
    """What is kept, and the phrases in which it is not."""
    lines = _LIST.read_text(encoding="utf-8").splitlines()
    entries = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return WordList(e for e in entries if e[0] != "-"), WordList(e[1:] for e in entries if e[0] == "-")


def kept(text: str) -> list[Place]:
    """Yields the listed words of a text, from left to right."""
    words, _ = _lists()
    found: list[Place] = []
    for start in words.starts(text):
        done = found[-1].end if found else 0
        if start < done:
            continue
        for place in words.at(text, start):
            if not _is_torn(text, place, done) and not _is_not_meant(text, place):
                found.append(place)
                break
    return found


def begun(text: str) -> int:
    """Finds where a listed word begins of which the text's end is only the beginning; its length where none does."""
    words, _ = _lists()
    return next((start for start in words.starts(text) if words.begun_at(text, start)), len(text))


def places_of(hotwords: Sequence[str], text: str) -> list[Place]:
    """Finds where hotwords that hold a numeral stand, in any letter case; ``text`` has no spaces."""
    wanted = {"".join(word.split()) for word in hotwords if not _NUMERALS.isdisjoint(word)}
    found = (Place(*m.span()) for word in wanted for m in re.finditer(re.escape(word), text, re.IGNORECASE))
    return [place for place in found if not _is_torn(text, place)]


def _is_torn(text: str, place: Place, kept_to: int = 0) -> bool:
    """Whether the word's numerals are part of a longer number (二十大 in 一百二十大卡)."""
    word = text[place.start : place.end]
    before = text[place.start - 1] if place.start > kept_to else ""
    after = text[place.end : place.end + 1]
    if before and word[0] in NUMERALS:
        is_number = word[1:2] in NUMERALS  # else one numeral, as in 一起
        if before in NUMERALS and (is_number or before not in "百千万亿"):
            return True
        if is_number and before.isascii() and before.isalnum():
            return True
        if is_number and before == "点" and text[place.start - 2 : place.start - 1] in NUMERALS:
            return True
    if after and word[-1] in NUMERALS:
        if after in _POWERS or (word[-1] in _POWERS and after in NUMERALS):
            return True
        if word[-2:-1] in _NUMERALS and (after in NUMERALS or (after.isascii() and after.isalnum())):
            return True
    return False


def _is_not_meant(text: str, place: Place) -> bool:
    """Whether the word is within a phrase in which it is not meant."""
    _, phrases = _lists()
    starts = range(max(0, place.start - _LONGEST_BEFORE), place.start + 1)
    return any(phrase.end >= place.end for start in starts for phrase in phrases.at(text, start))
