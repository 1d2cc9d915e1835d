"""Finishes recognised words as readers expect them: punctuated, numbers as figures."""

from __future__ import annotations

from collections.abc import Sequence

from service.domain import RecognitionOptions, Word
from service.inference import Runners
from service.text import itn
from service.text.words import with_marks


async def finished(
    runners: Runners, options: RecognitionOptions, words: Sequence[Word], language: str = "zh"
) -> list[Word]:
    """Returns the words of a segment with what ``options`` asks of their text.

    Raises:
        RecognitionFailed, NotReady: they could not be punctuated.
    """
    done = list(words)
    if options.model.punctuation is None:  # it has said its own marks
        done = done if options.punctuation else with_marks(done, [""] * len(done))
    elif done and options.punctuation:
        done = with_marks(done, await runners.punctuate(options.model, [w.text for w in done]))
    return list(itn.normalise(done, _hotwords(options))) if _writes_figures(options, language) else done


def so_far(
    options: RecognitionOptions, words: Sequence[Word], language: str
) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """Writes the numbers of a sentence that is still being spoken, where ``options`` ask for it.

    Returns its words in two parts: what more speech leaves as it is written, and the end, of which a number may grow.
    """
    if not _writes_figures(options, language):
        return tuple(words), ()
    return itn.normalise_open(words, _hotwords(options))


def _writes_figures(options: RecognitionOptions, language: str) -> bool:
    return options.inverse_text_normalization and language in itn.LANGUAGES


def _hotwords(options: RecognitionOptions) -> list[str]:
    return [hotword.text for hotword in options.hotwords]
