"""Writes what Qwen3-ASR is asked and reads what it answers, the same for every backend.

The forms are the checkpoints' own chat templates (Qwen3-ASR and Qwen3-ForcedAligner); the number of audio tokens
stands in them as the engine puts it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

TEXT_TAG = "<asr_text>"
AUDIO_START, AUDIO_PAD, AUDIO_END = "<|audio_start|>", "<|audio_pad|>", "<|audio_end|>"
TIMESTAMP = "<timestamp>"
# What is longer is no term: it may be cut.
_LONGEST_TERM = 30
_TERM_CUT = re.compile(r"(?<=[\s,，、;；:：.。!！?？])[^\s,，、;；:：.。!！?？]{1,%d}$" % _LONGEST_TERM)

_CONTROL = re.compile(r"<\|[^<>|]*\|>|" + "|".join(map(re.escape, (TEXT_TAG, TIMESTAMP))))
# More than anybody says without a pause: a decoder that runs in circles. As in qwen-asr, one of them is kept. Few
# characters may come twenty times, a sentence five times; between, what counts is how much they are together.
_MOST_REPETITIONS, _LEAST_REPETITIONS, _MOST_REPEATED_CHARACTERS = 20, 5, 240


@dataclass(frozen=True)
class Answer:
    """Holds what the model said.

    Attributes:
        language: The name that the model gave; "" where it gave none.
        text: Punctuated.
    """

    language: str
    text: str


def context_of(prompt: str, hotwords: Mapping[str, int], longest: int) -> str:
    """Joins the client's words about the audio and its hotwords, the heaviest first.

    Of more than ``longest`` characters it is those before the word or term that would be cut. Control tokens are taken
    out until none is left, so that no text can end its part of the prompt.
    """
    words = " ".join(sorted(hotwords, key=lambda word: -hotwords[word]))
    context = without_control_tokens(f"{prompt}\n{words}" if prompt and words else prompt or words)
    if len(context) > longest:
        # one more character tells whether a term ends there
        context = _TERM_CUT.sub("", context[: longest + 1])[:longest].rstrip()
    return without_control_tokens(context)


def without_control_tokens(text: str) -> str:
    """Removes control tokens, also those that appear as others are removed."""
    while (stripped := _CONTROL.sub("", text)) != text:
        text = stripped
    return text


def recognition_prompt(context: str, language: str | None, *, audio_tokens: str = AUDIO_PAD, answer: str = "") -> str:
    """Writes the prompt of a recognition.

    ``language`` is a name such as ``Chinese``; None: the model says which it hears. ``answer`` is how the answer is to
    begin, from its very first token (language included).
    """
    begun = answer or (f"language {language}{TEXT_TAG}" if language else "")
    return (
        f"<|im_start|>system\n{context}<|im_end|>\n"
        f"<|im_start|>user\n{AUDIO_START}{audio_tokens}{AUDIO_END}<|im_end|>\n"
        f"<|im_start|>assistant\n{begun}"
    )


def alignment_prompt(units: list[str], *, audio_tokens: str = AUDIO_PAD) -> str:
    """Writes the prompt of an alignment: two timestamps, start and end, after every unit."""
    return f"{AUDIO_START}{audio_tokens}{AUDIO_END}" + "".join(f"{unit}{TIMESTAMP}{TIMESTAMP}" for unit in units)


def parse_answer(raw: str, language: str | None = None) -> Answer:
    """Reads the answer's language and text; ``language`` is the one that the prompt began with, if any.

    `language None` (nothing is said) and an answer that breaks off within its language have no text.
    """
    raw = without_circles(raw)
    if language:
        return Answer(language, _spoken(raw.rpartition(TEXT_TAG)[2]))
    head, tag, text = raw.partition(TEXT_TAG)
    if not tag:
        return Answer("", "" if raw.lstrip().lower().startswith("language") else _spoken(raw))
    named = re.search(r"language\s+(\S[^\n]*)", head, re.IGNORECASE)
    name = named[1].strip().capitalize() if named else ""
    return Answer("" if name == "None" else name, _spoken(text))


def _spoken(text: str) -> str:
    return without_control_tokens(text).replace("\ufffd", "").strip()


def without_circles(text: str) -> str:
    """Reduces what stands in the text more often in a row than anybody says it to one, however long it is.

    A last one that breaks off goes with the others. Text that doesn't repeat itself costs n log n: of each length,
    only every length-th character is looked at.
    """
    length = 1
    while length * _LEAST_REPETITIONS < len(text):
        most = min(max(_MOST_REPEATED_CHARACTERS // length, _LEAST_REPETITIONS), _MOST_REPETITIONS)
        if re.search(r"(.)\1{%d,}" % most, text[::length], re.DOTALL):
            circle = re.compile(r"(.{%d})\1{%d,}" % (length, most), re.DOTALL)
            while found := circle.search(text):
                rest = text[found.end() :]
                text = text[: found.end(1)] + ("" if found[1].startswith(rest) else rest)
        length += 1
    return text
