"""Walks an n-gram language model, a token-lexicon-grammar graph (TLG.fst), a token at a time.

The layout is that of ``iic/speech_ngram_lm_zh-cn-ai-wesp-fst``: input label = token id + 1, 0 for epsilon, weights
are costs in natural log. Kaldi-decoder can read it too, but it takes no context graph beside it, and a token that
the graph doesn't know would end every path; so the arcs are walked here, in the same search as the hotwords.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import re
import time
from pathlib import Path

import kaldifst
import psutil

log = logging.getLogger(__name__)

FILE = "TLG.fst"
# FunASR's runtime scales the recogniser's scores by 10 (its `am-scale`) and the graph's by 1.
_DEFAULT_SCALE = 0.1
# Before the scale, of a token that no path of the graph has here. Nothing costs more, so that a name which the
# model never saw is not worse than a token it doesn't have.
_UNKNOWN_COST = 12.0
_MOST_REMEMBERED = 200_000
Steps = tuple[tuple[int, float], ...]


class LanguageModel:
    """Says what tokens cost after tokens, in natural log.

    It is not thread-safe: it remembers the steps that it has taken.

    Attributes:
        scale: Weighs the model against the recogniser's log-probabilities.
        start: The state before the first token.
    """

    def __init__(self, fst: kaldifst.StdFst, scale: float = _DEFAULT_SCALE) -> None:
        """Takes a graph; ``scale`` weighs the model against the recogniser's log-probabilities."""
        self.scale = scale
        self._fst = fst
        self._arcs: dict[int, dict[int, list[tuple[int, float]]]] = {}
        self._steps: dict[tuple[int, int], Steps] = {}
        self._finals: dict[int, float] = {}
        self.start = int(fst.start)
        # where a history that the model doesn't know is forgotten
        self._unconditioned = max(self._closure(self.start), key=fst.num_arcs)

    @classmethod
    def read(cls, directory: Path) -> LanguageModel:
        """Loads TLG.fst; a ``lm_scale`` in config.yaml replaces the default.

        Raises:
            ValueError: there is no such graph.
        """
        started, process = time.monotonic(), psutil.Process()
        before = process.memory_info().rss
        fst = _read_compact(directory / FILE)
        config = directory / "config.yaml"
        # The hub's file is a list of its words and no more: too long to parse for one line at the top.
        head = config.read_bytes()[:1000] if config.is_file() else b""
        scale = re.search(rb"^lm_scale: *([0-9.]+)$", head, re.MULTILINE)
        model = cls(fst, float(scale[1]) if scale else _DEFAULT_SCALE)
        grown = max(0, process.memory_info().rss - before) / 2**20
        log.info("%s: read in %.1f s, %.0f MB of memory", directory.name, time.monotonic() - started, grown)
        return model

    def step(self, state: int, token: int) -> Steps:
        """Returns (next state, cost) of every way to read the token in this state; there is always at least one."""
        known = self._steps.get((state, token))
        if known is not None:
            return known
        label = token + 1
        reached: dict[int, float] = {}
        for here, cost in self._closure(state).items():
            for target, weight in self._outgoing(here).get(label, ()):
                if cost + weight < reached.get(target, float("inf")):
                    reached[target] = cost + weight
        if not reached:
            reached[self._unconditioned] = _UNKNOWN_COST
        if len(self._steps) > _MOST_REMEMBERED:  # a large graph; states recur soon enough
            self._steps.clear()
            self._arcs.clear()
        steps = tuple((target, self.scale * min(cost, _UNKNOWN_COST)) for target, cost in reached.items())
        self._steps[state, token] = steps
        return steps

    def end(self, state: int) -> float:
        """Returns the cost of a text's end in this state."""
        if state not in self._finals:
            costs = (cost + self._fst.final(here).value for here, cost in self._closure(state).items())
            self._finals[state] = self.scale * min(min(costs), _UNKNOWN_COST)
        return self._finals[state]

    def _closure(self, state: int) -> dict[int, float]:
        """Finds the states reached without a token (back-off, the end of a lexicon entry) and at what cost."""
        reached, queue = {state: 0.0}, [state]
        while queue:
            here = queue.pop()
            for target, weight in self._outgoing(here).get(0, ()):
                if reached[here] + weight < reached.get(target, float("inf")):
                    reached[target] = reached[here] + weight
                    queue.append(target)
        return reached

    def _outgoing(self, state: int) -> dict[int, list[tuple[int, float]]]:
        """Returns a state's arcs by input label, but for loops.

        A loop stands for a CTC frame that repeats a token, and Paraformer has one position for each token.
        """
        arcs = self._arcs.get(state)
        if arcs is None:
            arcs = {}
            iterator = kaldifst.ArcIterator(self._fst, state)
            while not iterator.done:
                arc = iterator.value
                if arc.nextstate != state:
                    arcs.setdefault(arc.ilabel, []).append((arc.nextstate, float(arc.weight.value)))
                iterator.next()
            self._arcs[state] = arcs
        return arcs


def _read_compact(path: Path) -> kaldifst.StdFst:
    """Reads the graph in its constant form, which takes as much memory as the file.

    As it is read it takes 2.7 times that.
    """
    fst = kaldifst.StdFst.read(str(path))
    if fst is None or fst.start < 0:
        raise ValueError(f"{path} is no decoding graph")
    if fst.type != "const":
        fst = kaldifst.StdConstFst(fst)
        with contextlib.suppress(OSError, AttributeError):  # glibc alone keeps what was freed in small pieces
            ctypes.CDLL(None).malloc_trim(0)
    return fst
