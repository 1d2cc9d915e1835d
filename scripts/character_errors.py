"""Measures how far recognised text is from what was said: edit distance and character error rate."""

from __future__ import annotations

from collections.abc import Sequence


def edit_distance(a: str, b: str) -> int:
    """Counts insertions, deletions and substitutions that turn one text into the other, by characters."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> str:
    """Returns the character error rate of all texts together, in percent."""
    errors = sum(edit_distance(r, h) for r, h in zip(references, hypotheses, strict=True))
    return f"{100 * errors / max(1, sum(map(len, references))):.2f} %"
