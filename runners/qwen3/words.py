"""Splits punctuated text of any script into words and the forced aligner's units, and finds the times of both.

The units are those of qwen-asr's aligner (and of transformers' processor), which its checkpoint was trained with.
"""

from __future__ import annotations

import functools
import importlib.util
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runners.kit.bare import import_bare

# An aligner's steps are of 80 ms: a few short words may begin and end within one.
_MOST_AT_AN_INSTANT = 4


@dataclass(frozen=True)
class TextWord:
    """Holds a word with the punctuation after it.

    Attributes:
        text: The word, with an opening bracket or quotation mark before it.
        mark: The punctuation after it; "" for none.
        first: The place of its first letter in the text.
        last: The place of its last letter.
    """

    text: str
    mark: str
    first: int
    last: int


def split_words(text: str) -> list[TextWord]:
    """Splits CJK characters one by one, everything else at spaces; joined again they are the text.

    Punctuation belongs to the word before it, an opening bracket or quotation mark to the one after it. Text of
    nothing but punctuation has no words.
    """
    words: list[TextWord] = []
    opening, run_start, spaced = "", -1, True

    def close(end: int) -> None:
        nonlocal run_start, opening
        if run_start >= 0:
            words.append(TextWord(opening + text[run_start:end], "", run_start, end - 1))
            run_start, opening = -1, ""

    for i, char in enumerate(text):
        if char.isspace():
            close(i)
        elif _is_cjk(char):
            close(i)
            words.append(TextWord(opening + char, "", i, i))
            opening = ""
        elif _is_letter(char):
            run_start = i if run_start < 0 else run_start
        elif run_start >= 0 and i + 1 < len(text) and _is_letter(text[i + 1]) and not _is_cjk(text[i + 1]):
            pass  # 3.5, e-mail
        else:
            close(i)
            if not words or spaced or unicodedata.category(char) in ("Ps", "Pi"):
                opening += char
            else:
                word = words[-1]
                words[-1] = TextWord(word.text, word.mark + char, word.first, word.last)
        spaced = char.isspace()
    close(len(text))
    if opening and words:
        word = words[-1]
        words[-1] = TextWord(word.text, word.mark + opening, word.first, word.last)
    return words


def alignment_units(text: str, language: str) -> list[str]:
    """Splits a text into what the aligner gives times to; text without letters has none.

    ``language`` is its English name.
    """
    if language == "Japanese":
        import nagisa

        found: Iterable[str] = nagisa.tagging(text).words
    elif language == "Korean":
        found = _korean().tokenize(text)
    else:
        found = (part for word in text.split() for part in _parts("".join(filter(_is_aligned, word))))
    units = ("".join(filter(_is_aligned, unit)) for unit in found)
    return [unit for unit in units if unit]


def character_times(
    text: str, units: Sequence[str], times_ms: Sequence[tuple[int, int]]
) -> dict[int, tuple[float, float]]:
    """Finds (start, end) in ms of each letter of ``text``, by its place.

    The letters of a unit share its time evenly.
    """
    places = [i for i, char in enumerate(text) if _is_aligned(char)]
    found: dict[int, tuple[float, float]] = {}
    at = 0
    for unit, (start_ms, end_ms) in zip(units, times_ms, strict=True):
        share = (end_ms - start_ms) / len(unit)
        for k in range(len(unit)):
            if at < len(places):
                found[places[at]] = (start_ms + k * share, start_ms + (k + 1) * share)
                at += 1
    return found


def repaired(times: Sequence[int]) -> list[int]:
    """Repairs times that go back: what is outside of the longest rising row is put between its neighbours.

    After qwen-asr's ``fix_timestamp``; there a few wrong ones take a neighbour's time, here all lie evenly between.
    """
    if not times:
        return []
    longest, before = [1] * len(times), [-1] * len(times)
    for i in range(len(times)):
        for j in range(i):
            if times[j] <= times[i] and longest[j] + 1 > longest[i]:
                longest[i], before[i] = longest[j] + 1, j
    at = longest.index(max(longest))
    kept: list[int] = []
    while at >= 0:
        kept.append(at)
        at = before[at]
    kept.reverse()
    fixed = list(times)
    for left, right in zip([-1, *kept], [*kept, len(times)], strict=True):
        low = times[left] if left >= 0 else times[right]
        high = times[right] if right < len(times) else times[left]
        for i in range(left + 1, right):
            fixed[i] = round(low + (high - low) * (i - left) / (right - left))
    return fixed


def true_times(times: Sequence[int]) -> list[int] | None:
    """Repairs an aligner's times, two a unit; None where they can't be true: it has not found the words in the audio.

    Then most of them go back, or many units lie at one instant.
    """
    units = len(times) // 2
    fixed = repaired(times)
    moved = sum(was != now for was, now in zip(times, fixed, strict=True))
    instants = Counter(start for start, end in zip(fixed[::2], fixed[1::2], strict=True) if start == end)
    crowd = max(instants.values(), default=0)
    if moved > units or crowd > max(_MOST_AT_AN_INSTANT, units // 10) or crowd == units > 1:
        return None
    return fixed


def _is_letter(char: str) -> bool:
    return char == "'" or unicodedata.category(char)[0] in "LNM"


def _is_aligned(char: str) -> bool:
    return char == "'" or unicodedata.category(char)[0] in "LN"


def _is_cjk(char: str) -> bool:
    """Says whether it is an ideograph or kana, which are written without spaces."""
    return _is_ideograph(char) or "\u3040" <= char <= "\u30ff"


def _is_ideograph(char: str) -> bool:
    return (
        "\u3400" <= char <= "\u4dbf"
        or "\u4e00" <= char <= "\u9fff"
        or "\uf900" <= char <= "\ufaff"
        or char >= "\U00020000"
    )


def _parts(word: str) -> list[str]:
    """Splits a word so that each ideograph in it is alone."""
    parts: list[str] = []
    joins = False
    for char in word:
        alone = _is_ideograph(char)
        if joins and not alone:
            parts[-1] += char
        else:
            parts.append(char)
        joins = not alone
    return parts


@functools.cache
def _korean() -> Any:
    """qwen-asr brings a dictionary; transformers' processor does without, and so is it without qwen-asr."""
    import_bare("soynlp")
    from soynlp.tokenizer import LTokenizer

    package = importlib.util.find_spec("qwen_asr")
    scores: dict[str, float] = {}
    for folder in (package.submodule_search_locations or []) if package else []:
        lines = (Path(folder) / "inference/assets/korean_dict_jieba.dict").read_text(encoding="utf-8").splitlines()
        scores = {line.split()[0]: 1.0 for line in lines if line.strip()}
    return LTokenizer(scores=scores)
