"""Reads client values leniently, for every protocol alike: what a value fails to change is a warning, not an error.

Letter case, numbers as text, lists in all spellings and words for "not chosen" are understood. What has no effect, or
only the nearest one to be had, is noted among the warnings of the :class:`ClientValues` that were read.
"""

from __future__ import annotations

import base64
import json
import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
)
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema, PydanticUseDefault, core_schema

from runners.languages import dialect_of, language_code, language_name
from service.protocols.shared.fields import invalid_field

# What clients send where nothing was chosen. In free text these are words like any other.
NOT_CHOSEN = frozenset({"", "auto", "none", "null", "undefined", "und", "mul", "multi"})
# A prompt says no more beyond; its words are looked at one by one.
LONGEST_PROMPT = 10_000
LONGEST_NAME = 100
# What clients call audio beside the names that the protocols have for it.
FORMAT_NAMES = {"opu": "opus", "spx": "speex", "wave": "wav", "pcm16": "pcm", "pcm_s16le": "pcm", "raw": "pcm"}
COMMAS = r"\s*[,，]\s*"

# Zero-width characters and marks of writing direction, which come along when text is copied.
_UNSEEN = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_FLAGS = dict.fromkeys(("true", "1", "yes", "y", "on", "t"), True)
_FLAGS |= dict.fromkeys(("false", "0", "no", "n", "off", "f"), False)
_LONGEST_NUMBER = 40
_MOST_ITEMS = 1000
_MOST_NAMED = 10


_ValuesT = TypeVar("_ValuesT", bound="ClientValues")


class ClientValues(BaseModel):
    """Holds what a client says; None counts as not said, wherever it stands."""

    model_config = ConfigDict(hide_input_in_errors=True, protected_namespaces=())
    _warnings: tuple[str, ...] = PrivateAttr(default=())

    @classmethod
    def read(cls: type[_ValuesT], given: Mapping[str, Any], *, within: str = "") -> _ValuesT:
        """Reads values by their names; those that have no field are not looked at.

        ``within`` is where they stand in the client's message; "" at its top.

        Raises:
            InvalidRequest: a value can't be understood, or what it asks for can't be had; ``param`` names it.
        """
        warnings: dict[str, None] = {}
        try:
            values = cls.model_validate({k: v for k, v in given.items() if v is not None}, context=warnings)
        except ValidationError as error:
            raise invalid_field(error, within) from None
        values._warnings = tuple(warnings)
        return values

    @property
    def warnings(self) -> tuple[str, ...]:
        """Says what of the values had no effect, or not the one that was asked for; for people."""
        return self._warnings


def warn(info: ValidationInfo, what: str) -> None:
    """Notes among the warnings ``what`` became of the field that is being read; once, however often it is said."""
    if isinstance(info.context, dict):
        info.context[f"{info.field_name}: {what}"] = None


def unknown_fields(names: Iterable[str], known: Collection[str]) -> tuple[str, ...]:
    """Returns a warning that names the first few of ``names`` that nobody ``known`` has, or none."""
    unknown = sorted(set(names) - set(known))
    named = ", ".join(cleaned(name)[:50] for name in unknown[:_MOST_NAMED])
    others = f" and {len(unknown) - _MOST_NAMED} others" if len(unknown) > _MOST_NAMED else ""
    return (f"Unknown fields had no effect: {named}{others}.",) if unknown else ()


def cleaned(text: str) -> str:
    """Returns text without zero-width characters and direction marks."""
    return _UNSEEN.sub("", text)


def is_chosen(value: object) -> bool:
    """Says whether a value is anything but a word for "not chosen"."""
    return not (isinstance(value, str) and cleaned(value).strip().lower() in NOT_CHOSEN)


def number(value: object) -> float | None:
    """Returns the number that a value is or says; None for anything else."""
    if isinstance(value, str):
        value = unicodedata.normalize("NFKC", cleaned(value[:_LONGEST_NUMBER]))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return None if math.isnan(found) else found


def listed(value: object, between: str = "") -> object:
    """Returns the entries of a list in any spelling: a list, a JSON array in text, text that ``between`` separates.

    A list's entries may be such texts too; ``between`` is a regular expression, "" where text is one entry as it is.
    What is neither list nor text is returned as it is.

    Raises:
        ValueError: there are more than 1000 entries.
    """
    if isinstance(value, str):
        value = cleaned(value).strip()
        if value.startswith("["):
            try:
                return listed(json.loads(value), between)
            except (ValueError, RecursionError):
                value = value.strip("[]") if between else value
        entries: list[object] = [*re.split(between, value, maxsplit=_MOST_ITEMS)] if between else [value]
    elif isinstance(value, list | tuple):
        entries = []
        for entry in value[: _MOST_ITEMS + 1]:
            found = listed(entry, between) if isinstance(entry, str) else entry
            entries += found if isinstance(found, list) else [found]
            if len(entries) > _MOST_ITEMS:
                break
    else:
        return value
    if len(entries) > _MOST_ITEMS:
        raise ValueError(f"has more than {_MOST_ITEMS} entries")
    return [entry for entry in entries if entry is not None and entry != ""]


def decode_base64(text: str) -> bytes:
    """Decodes base64, also of the alphabet for URLs, without padding, or in lines.

    Raises:
        ValueError: it is none.
    """
    plain = "".join(text.split()).translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)


def _flag(value: object) -> object:
    if isinstance(value, str):
        word = cleaned(value).strip().lower()
        if word in NOT_CHOSEN:
            raise PydanticUseDefault
        return _FLAGS.get(word, value)
    return bool(value) if isinstance(value, int | float) and value in (0, 1) else value


FLAG = BeforeValidator(_flag)
Flag = Annotated[bool, FLAG]


def _language(value: object, info: ValidationInfo) -> object:
    if value is None or not is_chosen(value):
        return None
    if not isinstance(value, str):
        raise ValueError("must be a language's name or code")
    name = cleaned(value).strip()[:LONGEST_NAME]
    code = language_code(name)
    if code is None:
        raise ValueError(f"{name!r} is no language known here")
    if dialect := dialect_of(name):
        warn(info, f"models are told languages, not dialects; {dialect} is told as {language_name(code)}.")
    return code


# A language's code; None where the client leaves it open. Whether the model knows it: `check_language`.
Language = Annotated[str | SkipJsonSchema[None], BeforeValidator(_language)]


@dataclass(frozen=True, slots=True)
class Text:
    """Takes text without invisible marks, or a number as text.

    Attributes:
        longest: How many characters it may have.
        cut: Whether of more only the first count, with a warning; otherwise more are refused.
        lower: Whether a letter's case means nothing.
    """

    longest: int = LONGEST_NAME
    cut: bool = False
    lower: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Makes the schema that pydantic asks for."""
        return core_schema.with_info_before_validator_function(self._read, handler(source))

    def _read(self, value: object, info: ValidationInfo) -> object:
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            return value
        text = cleaned(value)
        if len(text) > self.longest:
            if not self.cut:
                raise ValueError(f"must have at most {self.longest} characters")
            warn(info, f"only its first {self.longest} characters count.")
            text = text[: self.longest]
        return text.strip().lower() if self.lower else text


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Takes one of a Literal's words in any letter case, or by another name.

    Attributes:
        others: Other names for the words, in lower case.
        needless: Whether a word that there is not has no effect, rather than being refused.
    """

    others: Mapping[str, str] = field(default_factory=dict)
    needless: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Makes the schema that pydantic asks for."""
        words = {word.lower(): word for word in get_args(source)} | dict(self.others)
        return core_schema.with_info_before_validator_function(partial(self._read, words), handler(source))

    def _read(self, words: Mapping[str, str], value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        word = cleaned(value).strip().lower()
        if word in words:
            return words[word]
        if word in NOT_CHOSEN:
            raise PydanticUseDefault
        if self.needless:
            warn(info, "had no effect: there is no such word.")
            raise PydanticUseDefault
        return value


@dataclass(frozen=True, slots=True)
class Nearest:
    """Takes a number, also as text; one that is out of bounds counts as the nearest within, with a warning.

    Attributes:
        least: The lower bound.
        most: The upper bound.
        less_is_none: Whether what is below it means that nothing was chosen.
    """

    least: float
    most: float
    less_is_none: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Makes the schema that pydantic asks for."""
        return core_schema.with_info_before_validator_function(partial(self._read, source is int), handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Documents the bounds."""
        return {**handler(schema), "minimum": self.least, "maximum": self.most}

    def _read(self, whole: bool, value: object, info: ValidationInfo) -> object:
        found = number(value)
        if not is_chosen(value) or (found is not None and found < self.least and self.less_is_none):
            raise PydanticUseDefault
        if found is None:
            raise ValueError(f"must be a number from {self.least:g} to {self.most:g}")
        taken = min(max(found, self.least), self.most)
        if taken != found:
            warn(info, f"{found:g} is out of {self.least:g} to {self.most:g} and counts as {taken:g}.")
        return round(taken) if whole else taken


@dataclass(frozen=True, slots=True)
class PcmRate:
    """Takes the sample rate of headerless PCM, in Hz; a wrong one has no effect where the bytes are something else.

    Attributes:
        format_field: Which field, read before, says what the bytes are.
        pcm: What it says of headerless PCM.
        rates: Which rates there are.
    """

    format_field: str = "format"
    pcm: str = "pcm"
    rates: Collection[int] = range(8000, 96_001)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Makes the schema that pydantic asks for."""
        return core_schema.with_info_before_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Documents the rates."""
        rates = list(self.rates)
        bounds = {"minimum": rates[0], "maximum": rates[-1]} if isinstance(self.rates, range) else {"enum": rates}
        return {**handler(schema), **bounds}

    def _read(self, value: object, info: ValidationInfo) -> object:
        found = number(value)
        if found is not None and found in self.rates:
            return int(found)
        if is_chosen(value):
            if info.data.get(self.format_field) == self.pcm:
                rates = [str(rate) for rate in self.rates]
                known = f"{rates[0]} to {rates[-1]}" if isinstance(self.rates, range) else ", ".join(rates)
                raise ValueError(f"must be {known} (Hz)")
            warn(info, "had no effect: the audio itself says what it was sampled at.")
        raise PydanticUseDefault


@dataclass(frozen=True, slots=True)
class Items:
    """Takes a list in any spelling: see :func:`listed`.

    Attributes:
        between: What separates entries in text; "": text is one entry.
    """

    between: str = COMMAS

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Makes the schema that pydantic asks for."""
        return core_schema.no_info_before_validator_function(partial(listed, between=self.between), handler(source))
