"""Makes text that only ever grows of a text that may still change, for clients that append deltas."""

from __future__ import annotations

from service.domain import join_texts


class GrowingText:
    """Turns the text of one sentence, as it changes, into deltas.

    What was sent can't be taken back, so nothing is sent while the text so far is not a continuation of it.

    Attributes:
        sent: The text that the deltas so far make.
    """

    def __init__(self, after: str = "") -> None:
        """Begins a sentence; a space must part it from ``after``, which is shown before it, where both are not CJK."""
        self._before = after[-1:]
        self.sent = ""

    def grow(self, text: str) -> str:
        """Returns what to append so that ``text`` is shown; "" when it is nothing, or does not fit on what was sent."""
        if not text.startswith(self.sent):
            return ""
        delta = text[len(self.sent) :]
        if not self.sent:
            delta = join_texts([self._before, delta])[len(self._before) :]
        self.sent = text
        return delta

    def end(self, text: str) -> str:
        """Returns what to append at the sentence's end, for a client that gets nothing else.

        Where ``text`` differs from what was sent, what is longer of it is appended.
        """
        return self.grow(self.sent + text[len(self.sent) :])
