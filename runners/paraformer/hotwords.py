"""Turns hotwords into tokens, and into a context graph that rewards them in a search over tokens.

The reward of a word grows with its length: ``reward_per_token(weight)`` for each token, in natural log.
A weight of 10 is worth 2.5 a token; k2/icefall's ContextGraph (``context_score``) gives 1.5 to 2, FunASR's runtime
2 (``fst-inc-wts`` 20 at an acoustic scale of 10). The reward grows with the cube root of the weight, from 1.2 at 1
to 5.4 at 100: in proportion it would reach 25, and from about 6 on the demo pack hears hotwords in any sound.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Tokens = tuple[int, ...]
_CONTINUED = "@@"
# Letters; nobody says a longer word, and looking for its pieces grows with the square of its length.
_LONGEST_WORD = 200
_PIECES = re.compile(r"[a-z']+|[^a-z'\s]")


def reward_per_token(weight: float) -> float:
    """Returns what a hotword of this weight (1 to 100) adds to the log-probability of each of its tokens."""
    return float(2.5 * (weight / 10) ** (1 / 3))


class Spelling:
    """Spells words as a recogniser does: a token for each CJK character, pieces (``hel@@ lo``) for a Latin word."""

    def __init__(self, tokens: Sequence[str], special: Iterable[int], directory: Path | None = None) -> None:
        """Takes the vocabulary, of which ``special`` ids are no text.

        ``directory`` may hold ``seg_dict``: the pieces that the recogniser was trained with, a word a line.
        """
        left_out = set(special)
        self._ids = {token: i for i, token in enumerate(tokens) if i not in left_out and not token.startswith("<")}
        self._longest_piece = max(map(len, self._ids), default=0)
        self._known: dict[str, list[str]] = {}
        if directory is not None and (directory / "seg_dict").is_file():
            with (directory / "seg_dict").open(encoding="utf-8") as lines:
                entries = (line.split() for line in lines)
                self._known = {entry[0]: entry[1:] for entry in entries if len(entry) > 1 and entry[0].isascii()}

    def tokens(self, word: str) -> Tokens | None:
        """Returns the word's tokens; None where it holds what the vocabulary doesn't."""
        found: list[int] = []
        for piece in _PIECES.findall(unicodedata.normalize("NFKC", word).lower()):
            spelled = self._known.get(piece) or self._pieces(piece)
            if spelled is None or any(p not in self._ids for p in spelled):
                return None
            found += [self._ids[p] for p in spelled]
        return tuple(found) or None

    def _pieces(self, word: str) -> list[str] | None:
        """Finds the longest pieces from the left that leave a remainder which can be spelled too.

        From the right, each place keeps where the piece that begins there ends: no remainder is looked at twice.
        """
        if len(word) > _LONGEST_WORD:
            return None
        ends: dict[int, int] = {len(word): 0}  # by the place where a remainder begins that can be spelled
        for start in range(len(word) - 1, -1, -1):
            for end in range(min(len(word), start + self._longest_piece), start, -1):
                if end in ends and self._piece(word, start, end) in self._ids:
                    ends[start] = end
                    break
        if 0 not in ends:
            return None
        pieces = []
        start = 0
        while start < len(word):
            pieces.append(self._piece(word, start, ends[start]))
            start = ends[start]
        return pieces

    @staticmethod
    def _piece(word: str, start: int, end: int) -> str:
        return word[start:end] if end == len(word) else word[start:end] + _CONTINUED


@dataclass(frozen=True)
class Hotwords:
    """Holds a request's hotwords as the search needs them.

    Attributes:
        rewards: What each earns, by its tokens, in natural log.
        unknown: Those that the vocabulary can't spell.
        columns: Every token that is in a hotword, sorted.
    """

    rewards: Mapping[Tokens, float]
    unknown: tuple[str, ...]
    columns: NDArray[np.int64]  # every token that is in a hotword
    _by_length: tuple[tuple[tuple[Tokens, ...], NDArray[np.int64], NDArray[np.float32]], ...]

    @classmethod
    def of(cls, weights: Mapping[str, int], spelling: Spelling) -> Hotwords:
        """Spells hotwords, given with weights from 1 to 100."""
        rewards: dict[Tokens, float] = {}
        unknown = []
        for word, weight in weights.items():
            tokens = spelling.tokens(word)
            if tokens is None:
                unknown.append(word)
            else:
                rewards[tokens] = max(rewards.get(tokens, 0.0), len(tokens) * reward_per_token(weight))
        columns = np.array(sorted({t for tokens in rewards for t in tokens}), np.int64)
        by_length = []
        for length in sorted({len(tokens) for tokens in rewards}):
            words = tuple(tokens for tokens in rewards if len(tokens) == length)
            places = np.searchsorted(columns, np.array(words, np.int64))
            by_length.append((words, places, np.array([rewards[w] for w in words], np.float32)))
        return cls(rewards, tuple(unknown), columns, tuple(by_length))

    def plausible(self, shortfall: NDArray[np.float32], slack: float) -> list[tuple[int, Tokens]]:
        """Finds (position, tokens) wherever a hotword's reward, and ``slack``, could make up for its improbability.

        ``shortfall`` is (positions, len(columns)): how far below the best each hotword token's log-probability is.
        """
        found = []
        for words, places, rewards in self._by_length:
            length = places.shape[1]
            starts = len(shortfall) - length + 1
            if starts < 1:
                continue
            missing = sum(shortfall[j : j + starts, places[:, j]] for j in range(length))
            for start, word in zip(*np.nonzero(missing <= rewards + slack), strict=True):
                found.append((int(start), words[word]))
        return found


class ContextGraph:
    """Scores hotwords on the way and as they complete, as an Aho-Corasick automaton over token ids.

    A word's beginning is credited in advance, so that a beam keeps it, and the credit is taken back as soon as
    the word fails: the credit is a potential of the state, so nothing of it remains at the end. A word that
    completes earns its reward for good, also inside a longer one and overlapping another.
    """

    ROOT = 0

    def __init__(self, rewards: Mapping[Tokens, float]) -> None:
        self._children: list[dict[int, int]] = [{}]
        self._credit = [0.0]
        self._earned = [0.0]
        self._fallback = [self.ROOT]
        for tokens, reward in rewards.items():
            node = self.ROOT
            for depth, token in enumerate(tokens, 1):
                node = self._child(node, token)
                if depth < len(tokens):
                    self._credit[node] = max(self._credit[node], reward * depth / len(tokens))
            self._earned[node] += reward
        self._link()

    def _child(self, node: int, token: int) -> int:
        child = self._children[node].get(token)
        if child is None:
            child = self._children[node][token] = len(self._children)
            self._children.append({})
            self._credit.append(0.0)
            self._earned.append(0.0)
            self._fallback.append(self.ROOT)
        return child

    def _link(self) -> None:
        """Falls back from each node to its longest suffix that begins a word, and earns what ends there too."""
        queue = deque(self._children[self.ROOT].values())
        while queue:
            node = queue.popleft()
            for token, child in self._children[node].items():
                self._fallback[child] = self._walk(self._fallback[node], token)
                queue.append(child)
            self._earned[node] += self._earned[self._fallback[node]]
            self._credit[node] = max(self._credit[node], self._credit[self._fallback[node]])

    def _walk(self, node: int, token: int) -> int:
        while node != self.ROOT and token not in self._children[node]:
            node = self._fallback[node]
        return self._children[node].get(token, self.ROOT)

    def step(self, node: int, token: int) -> tuple[int, float]:
        """Returns (next node, what the token adds to the score)."""
        reached = self._walk(node, token)
        return reached, self._earned[reached] + self._credit[reached] - self._credit[node]

    def finish(self, node: int) -> float:
        """Returns what the end of the text adds: the credit of an unfinished word is taken back."""
        return -self._credit[node]
