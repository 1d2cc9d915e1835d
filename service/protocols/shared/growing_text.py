"""Text that only ever grows, from a text that may still change: what clients that append deltas can show."""

from __future__ import annotations

from service.domain import join_texts


class GrowingText:
    """One sentence's deltas. What was sent can't be taken back, so nothing is sent while the text so far
    is not a continuation of it.

    ``after``: what is shown before the sentence, which a space must part from it where both are not CJK.
    """

    def __init__(self, after: str = "") -> None:
        self._before = after[-1:]
        self.sent = ""

    def grow(self, text: str) -> str:
        """What to append so that ``text`` is shown; "" when there is nothing, or it would not fit on what was sent."""
        if not text.startswith(self.sent):
            return ""
        delta = text[len(self.sent) :]
        if not self.sent:
            delta = join_texts([self._before, delta])[len(self._before) :]
        self.sent = text
        return delta

    def end(self, text: str) -> str:
        """As ``grow``, for a client that gets nothing else: where the end differs from what was sent, what is
        longer of it is appended.
        """
        return self.grow(self.sent + text[len(self.sent) :])
