"""Reads hotwords as requests bring them: words with or without weights in any spelling, or the words of a prompt."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema

from runners import catalog
from service.domain import Hotword
from service.errors import InvalidRequest
from service.protocols.shared.values import COMMAS, cleaned, is_chosen, listed, number, warn

log = logging.getLogger(__name__)

MOST_HOTWORDS = 1000
_USUAL_WEIGHT = Hotword("").weight
LONGEST_HOTWORD = 200
_LONGEST_TEXT = 100_000
_SEPARATORS = re.compile(r"[\n\r,，;；、]+")
_WEIGHTED = re.compile(r"(.+)[:：]\s*([-+]?\d+(?:\.\d+)?)")
_WEIGHT = re.compile(r"[-+]?\d+(?:\.\d+)?")
# Names under which clients keep a word in an object of its own.
_WORD_KEYS = ("text", "word", "hotword")
# How Alibaba Cloud names vocabularies that it keeps.
_VOCABULARY_ID = re.compile(r"vocab-[\w-]+|[0-9a-f]{24,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_BETWEEN_WORDS = re.compile(r"[\s,，、;；:：.。!！?？…\"'“”‘’()（）\[\]【】《》〈〉「」]+")
_PROMPT_WORD_CHARACTERS = range(2, 11)  # a longer run without a separator is a sentence
_PROMPT_LATIN_CHARACTERS = range(2, 31)

_Entry = tuple[str, object]  # a word and its weight, None where it has none


@dataclass(frozen=True, slots=True)
class ReadHotwords:
    """Holds hotwords, and what of their weights is not as the client wrote it.

    Attributes:
        hotwords: In the client's order.
        warnings: For people; they hold no words.
    """

    hotwords: tuple[Hotword, ...]
    warnings: tuple[str, ...] = ()


def read_hotwords(value: object) -> ReadHotwords:
    """Reads words with their weights: a JSON object or list, also in text, or text in any of its spellings.

    Text is ``词1 20 词2 50``, ``词1:20``, or words alone; commas or lines separate words that may hold blanks, without
    them every blank does. A word without a weight has the usual one; a weight beyond 1 to 100 is the nearest.

    Raises:
        ValueError: it is none of these, or more than is taken.
    """
    if isinstance(value, str):
        if len(value) > _LONGEST_TEXT:
            raise ValueError(f"must have at most {_LONGEST_TEXT} characters")
        value = cleaned(value).strip()
        if _VOCABULARY_ID.fullmatch(value):
            return ReadHotwords(
                (), ("no hotword list of yours has this id; words themselves are sent as `词1 20 词2 50`.",)
            )
    if isinstance(value, Sequence | Mapping) and not isinstance(value, str):
        _refuse_more(len(value))
    hotwords = []
    beyond = unread = 0
    for word, weight in _entries(value):
        if not word:
            continue
        if len(word) > LONGEST_HOTWORD:
            raise ValueError(f"has a word of more than {LONGEST_HOTWORD} characters")
        given = _USUAL_WEIGHT if weight is None or not is_chosen(weight) else number(weight)
        if given is None:
            unread += 1
            given = _USUAL_WEIGHT
        taken = min(max(given, 1), 100)
        beyond += taken != given
        hotwords.append(Hotword(word, round(taken)))
        _refuse_more(len(hotwords))
    warnings = []
    if beyond:
        warnings.append(f"{beyond} weights are beyond 1 to 100 and count as the nearest.")
    if unread:
        warnings.append(f"{unread} weights are no numbers and count as {_USUAL_WEIGHT}.")
    return ReadHotwords(tuple(hotwords), tuple(warnings))


def _read_field(value: object, info: ValidationInfo) -> object:
    read = read_hotwords(value)
    for warning in read.warnings:
        log.info("%s: %s", info.field_name, warning)
        warn(info, warning)
    return read.hotwords


Hotwords = Annotated[tuple[Hotword, ...], BeforeValidator(_read_field), WithJsonSchema({"type": "string"})]


def _keywords(value: object) -> object:
    """Returns words of the usual weight, however they are listed."""
    entries = listed(value)
    if not isinstance(entries, list):
        return entries
    words: list[object] = []
    for entry in entries:
        words += _words(entry) if isinstance(entry, str) else [entry]
    return words


def _words(text: str) -> list[str]:
    text = cleaned(text).strip()
    between = COMMAS if re.search(COMMAS, text) else r"\s+"
    return [word for word in re.split(between, text, maxsplit=MOST_HOTWORDS) if word]


Keywords = Annotated[
    list[Annotated[str, Field(max_length=LONGEST_HOTWORD)]],
    Field(max_length=MOST_HOTWORDS),
    BeforeValidator(_keywords),
]


def refuse_too_many(hotwords: Sequence[Hotword], param: str) -> None:
    """Refuses more hotwords than a request may have.

    Raises:
        InvalidRequest: there are more than MOST_HOTWORDS; it names ``param``.
    """
    try:
        _refuse_more(len(hotwords))
    except ValueError as error:
        raise InvalidRequest(f"`{param}` {error}.", param=param) from None


def prompt_hotwords(prompt: str, model: catalog.Model) -> tuple[tuple[Hotword, ...], tuple[str, ...]]:
    """Returns (the words of a prompt, what of it is no word): sentences and single characters make no hotwords.

    Of a prompt that the model reads as it is, nothing is left to prefer; other models can only prefer its words.

    Raises:
        InvalidRequest: there are too many words.
    """
    if model.family.reads_prompts:
        return (), ()
    parts = dict.fromkeys(part for part in _BETWEEN_WORDS.split(prompt) if part)
    words = [p for p in parts if len(p) in (_PROMPT_LATIN_CHARACTERS if p.isascii() else _PROMPT_WORD_CHARACTERS)]
    hotwords = tuple(Hotword(word) for word in words)
    refuse_too_many(hotwords, "prompt")
    return hotwords, tuple(part for part in parts if part not in set(words))


def unused_warnings(parts: Sequence[str]) -> tuple[str, ...]:
    """Returns what to tell a client of the ``parts`` of its prompt that are no words: one warning, or none."""
    told = f"prompt: {len(parts)} of its parts had no effect: only words of 2 to 10 characters have."
    return (told,) if parts else ()


def _entries(value: object) -> Iterator[_Entry]:
    if isinstance(value, str):
        yield from _text_entries(value)
    elif isinstance(value, Mapping):
        yield from _object_entries(value)
    elif isinstance(value, Sequence):
        yield from _list_entries(value)
    elif value is not None:
        raise ValueError("must be words, or an object of words and weights")


def _text_entries(text: str) -> Iterator[_Entry]:
    if text.startswith(("{", "[")):
        try:
            read = json.loads(text)
        except (ValueError, RecursionError):
            if text.startswith("{"):
                raise ValueError("must be a JSON object of words and weights, or words") from None
            text = text.strip("[]")
        else:
            yield from _entries(read)
            return
    pieces = [piece for piece in _SEPARATORS.split(text) if piece.strip()]
    for piece in pieces:
        yield from _piece_entries(piece.split(), phrases=len(pieces) > 1 or bool(_SEPARATORS.search(text)))


def _piece_entries(tokens: Sequence[str], *, phrases: bool) -> Iterator[_Entry]:
    """Yields words, each with the number after it as its weight; where ``phrases`` are told, a word may hold blanks."""
    words: list[str] = []
    for token in tokens:
        paired = _WEIGHTED.fullmatch(token)
        if paired:
            yield " ".join([*words, paired[1]]), paired[2]
            words = []
        elif words and _WEIGHT.fullmatch(token):
            yield " ".join(words), token
            words = []
        elif words and not phrases:
            yield words[0], None
            words = [token]
        else:
            words.append(token)
    if words:
        yield " ".join(words), None


def _object_entries(value: Mapping[Any, Any]) -> Iterator[_Entry]:
    for key in _WORD_KEYS:
        if isinstance(value.get(key), str) and number(value[key]) is None:
            yield cleaned(value[key]).strip(), value.get("weight")
            return
    for word, weight in value.items():
        yield cleaned(str(word)).strip(), weight


def _list_entries(value: Sequence[Any]) -> Iterator[_Entry]:
    """Yields what the entries are: texts, objects, or pairs of a word and its weight; a single pair needs no list."""
    if len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int | float):
        yield cleaned(value[0]).strip(), value[1]
        return
    for entry in value:
        if isinstance(entry, str):
            tokens = cleaned(entry).split()
            yield from _piece_entries(tokens, phrases=True)
        elif isinstance(entry, Mapping):
            yield from _object_entries(entry)
        elif isinstance(entry, Sequence) and 1 <= len(entry) <= 2 and isinstance(entry[0], str):
            yield cleaned(entry[0]).strip(), entry[1] if len(entry) == 2 else None
        elif entry is not None:
            raise ValueError("must be words, or an object of words and weights")


def _refuse_more(count: int) -> None:
    if count > MOST_HOTWORDS:
        raise ValueError(f"has {count} hotwords; at most {MOST_HOTWORDS} may be sent")
