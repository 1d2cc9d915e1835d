"""Finishes recognised words as readers expect them: punctuated, numbers as figures."""

from __future__ import annotations

from collections.abc import Sequence

from service.domain import RecognitionOptions, Word
from service.inference import Runners
from service.text import itn
from service.text.words import ends_sentence, with_marks


async def finished(
    runners: Runners, options: RecognitionOptions, words: Sequence[Word], language: str = "zh"
) -> list[Word]:
    """Returns words, to which no more come, with what ``options`` asks of their text.

    Raises:
        RecognitionFailed, NotReady: they could not be punctuated.
    """
    return _written(options, await _marked(runners, options, words), language)


async def settled(
    runners: Runners, options: RecognitionOptions, words: Sequence[Word], language: str
) -> tuple[list[Word], list[Word]]:
    """Finishes the sentences that have ended, of words to which more may come.

    Returns the finished words of those sentences, and the words after them as they were given. Where no marks are
    wanted, no sentence ends.

    Raises:
        RecognitionFailed, NotReady: they could not be punctuated.
    """
    if not options.punctuation:
        return [], list(words)
    marked = await _marked(runners, options, words)
    # a mark after the last word is there because nothing follows yet, unless the recogniser heard it
    last = len(marked) if options.model.punctuation is None else len(marked) - 1
    end = next((i for i in range(last, 0, -1) if ends_sentence(marked[i - 1])), 0)
    return _written(options, marked[:end], language), list(words[end:])


def so_far(
    options: RecognitionOptions, words: Sequence[Word], language: str
) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """Writes the numbers of a sentence that is still being spoken, where ``options`` ask for it.

    Returns its words in two parts: what more speech leaves as it is written, and the end, of which a number may grow.
    """
    if not _writes_figures(options, language):
        return tuple(words), ()
    return itn.normalise_open(words, _hotwords(options))


async def _marked(runners: Runners, options: RecognitionOptions, words: Sequence[Word]) -> list[Word]:
    if not options.punctuation:
        return with_marks(words, [""] * len(words))
    if options.model.punctuation is None or not words:  # it has said its own marks
        return list(words)
    return with_marks(words, await runners.punctuate(options.model, [w.text for w in words]))


def _written(options: RecognitionOptions, words: Sequence[Word], language: str) -> list[Word]:
    return list(itn.normalise(words, _hotwords(options)) if _writes_figures(options, language) else words)


def _writes_figures(options: RecognitionOptions, language: str) -> bool:
    return options.inverse_text_normalization and language in itn.LANGUAGES


def _hotwords(options: RecognitionOptions) -> list[str]:
    return [hotword.text for hotword in options.hotwords]
