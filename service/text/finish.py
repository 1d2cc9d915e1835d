"""Recognised words as readers expect them: punctuated, numbers as figures."""

from __future__ import annotations

from collections.abc import Sequence

from service.domain import RecognitionOptions, Word
from service.inference import Runners
from service.text import itn
from service.text.words import with_marks


async def finished(
    runners: Runners, options: RecognitionOptions, words: Sequence[Word], language: str = "zh"
) -> list[Word]:
    """The words of a segment with what ``options`` asks of their text. Raises RecognitionFailed or NotReady."""
    done = list(words)
    if options.model.punctuation is None:  # it has said its own marks
        done = done if options.punctuation else with_marks(done, [""] * len(done))
    elif done and options.punctuation:
        done = with_marks(done, await runners.punctuate(options.model, [w.text for w in done]))
    if options.inverse_text_normalization and language in itn.LANGUAGES:
        done = list(itn.normalise(done))
    return done
