"""Makes the demo pack's n-gram language model from the domain's sentences, as a TLG.fst.

    python -m scripts.demo.train_language_model --out models/demo/language_model

A character n-gram with interpolated Kneser-Ney smoothing (Chen and Goodman 1999), pruned by relative entropy
(Stolcke 1998, arXiv:cs/0006025), of sentences that are not kept out. The files are those of
``iic/speech_ngram_lm_zh-cn-ai-wesp-fst``: ``TLG.fst`` (input label = token id + 1), ``config.yaml`` with the output
labels, ``lexicon.txt``. Every token can be read in every state: what was never seen, at a price.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections import Counter, defaultdict
from pathlib import Path

import kaldifst

from runners.paraformer.language_model import FILE
from scripts.demo.sentences import draw_sentence, draw_word_salad, is_held_out, strip_punctuation

START, END = "<s>", "</s>"
Gram = tuple[str, ...]
_SALAD = 0.05  # the share of words in any order, so that what no pattern has is not priced out
_UNSEEN = 1e-6


def draw_stream(rng: random.Random) -> list[str]:
    """Draws the characters of one utterance: mostly a sentence, sometimes several, as the recogniser hears them."""
    count = 1 if rng.random() < 0.75 else rng.randint(2, 4)
    spoken = ""
    while count:
        text = (draw_word_salad if rng.random() < _SALAD else draw_sentence)(rng)
        if not is_held_out(text):
            spoken += strip_punctuation(text)
            count -= 1
    return [START, *spoken, END]


class BackoffModel:
    """Estimates n-gram probabilities, and what a history's others are worth relative to a shorter history.

    Attributes:
        order: The length of the longest n-grams.
        probabilities: Of n-grams that are kept.
        backoffs: By history, the factor of those that are not.
    """

    def __init__(self, counts: list[Counter[Gram]], vocabulary: list[str]) -> None:
        """Estimates from counts, of which ``counts[n]`` are those of n+1-grams."""
        self.order = len(counts)
        self.probabilities: dict[Gram, float] = {}
        self.backoffs: dict[Gram, float] = {}
        self._estimate(_continuation_counts(counts), vocabulary)

    def _estimate(self, counts: list[Counter[Gram]], vocabulary: list[str]) -> None:
        total = sum(counts[0].values())
        for word in [*vocabulary, END]:
            self.probabilities[word,] = (1 - _UNSEEN * len(vocabulary)) * counts[0][word,] / total + _UNSEEN
        for grams in counts[1:]:
            ones, twos = (sum(c == n for c in grams.values()) for n in (1, 2))
            discount = ones / (ones + 2 * twos) if ones else 0.5
            totals: Counter[Gram] = Counter()
            kinds: Counter[Gram] = Counter()
            for gram, count in grams.items():
                totals[gram[:-1]] += count
                kinds[gram[:-1]] += 1
            for gram, count in grams.items():
                history = gram[:-1]
                lower = self.probability(gram[1:])
                own = max(0.0, count - discount) / totals[history]
                self.probabilities[gram] = own + discount * kinds[history] / totals[history] * lower
        self._rescale()

    def probability(self, gram: Gram) -> float:
        """Returns the probability of an n-gram's last character after the others."""
        found = self.probabilities.get(gram)
        if found is not None:
            return found
        return self.backoffs.get(gram[:-1], 1.0) * self.probability(gram[1:])

    def _rescale(self) -> None:
        """Makes each history's probabilities sum to one."""
        self.backoffs.clear()
        explicit: dict[Gram, list[Gram]] = defaultdict(list)
        for gram in self.probabilities:
            explicit[gram[:-1]].append(gram)
        for history in sorted(explicit, key=len):
            if history:
                left = 1 - sum(self.probabilities[g] for g in explicit[history])
                shorter = 1 - sum(self.probability(g[1:]) for g in explicit[history])
                self.backoffs[history] = max(left, 1e-9) / max(shorter, 1e-9)

    def prune(self, threshold: float) -> None:
        """Drops n-grams whose loss changes the model's relative entropy by less than ``threshold``."""
        for length in range(self.order, 1, -1):
            needed = {gram[:-1] for gram in self.probabilities if len(gram) == length + 1}
            for gram in [g for g in self.probabilities if len(g) == length and g not in needed]:
                history, own = gram[:-1], self.probabilities[gram]
                other = self.backoffs[history] * self.probability(gram[1:])
                if self._frequency(history) * own * math.log(own / other) < threshold:
                    del self.probabilities[gram]
        self._rescale()

    def _frequency(self, history: Gram) -> float:
        return math.prod(self.probability(history[: i + 1]) for i in range(len(history)) if history[i] != START)


def _continuation_counts(counts: list[Counter[Gram]]) -> list[Counter[Gram]]:
    """Counts as Kneser-Ney does: a shorter n-gram once for each character before it, not for each occurrence."""
    result = [Counter[Gram](gram[1:] for gram in longer) for longer in counts[1:]]
    for lower, seen in zip(result, counts, strict=False):
        lower.update({gram: count for gram, count in seen.items() if gram[0] == START and len(gram) > 1})
    return [*result, counts[-1]]


def graph(model: BackoffModel, labels: dict[str, int], words: dict[str, int]) -> kaldifst.StdVectorFst:
    """Makes the model a graph: a state for each history, an epsilon arc to the next shorter one."""
    fst = kaldifst.StdVectorFst()
    histories = sorted(model.backoffs, key=lambda h: (len(h), h))
    states = {(): fst.add_state()} | {history: fst.add_state() for history in histories}
    fst.start = states[START,]

    def longest(gram: Gram) -> int:
        while gram not in states:
            gram = gram[1:]
        return states[gram]

    for history, state in states.items():
        if history:
            cost = -math.log(model.backoffs[history])
            fst.add_arc(state, kaldifst.StdArc(0, 0, cost, longest(history[1:])))
    for gram, probability in sorted(model.probabilities.items()):
        state, cost = states[gram[:-1]], -math.log(probability)
        if gram[-1] == END:
            fst.set_final(state, cost)
        else:
            arc = kaldifst.StdArc(labels[gram[-1]], words[gram[-1]], cost, longest(gram))
            fst.add_arc(state, arc)
    kaldifst.arcsort(fst)
    return fst


def write(out: Path, model: BackoffModel, tokens: list[str], scale: float) -> float:
    """Writes the directory, and returns its size in MB."""
    characters = [t for t in tokens if not t.startswith("<")]
    names = ["<eps>", *characters, "#0", START, END]
    labels = {t: i + 1 for i, t in enumerate(tokens)}
    out.mkdir(parents=True, exist_ok=True)
    graph(model, labels, {name: i for i, name in enumerate(names)}).write(str(out / FILE))
    listed = "".join(f'- "{name}"\n' for name in names)
    (out / "config.yaml").write_text(f"lm_scale: {scale}\ntoken_list:\n{listed}", encoding="utf-8")
    (out / "lexicon.txt").write_text("".join(f"{c}\t{c}\n" for c in characters), encoding="utf-8")
    return sum(f.stat().st_size for f in out.iterdir()) / 1e6


def main() -> None:
    """Counts, prunes and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("models/demo/language_model"))
    parser.add_argument("--recogniser", type=Path, default=Path("models/demo/paraformer"))
    parser.add_argument("--order", type=int, default=4)
    parser.add_argument("--utterances", type=int, default=400_000)
    parser.add_argument("--threshold", type=float, default=2.5e-5, help="n-grams that change less are dropped")
    parser.add_argument("--scale", type=float, default=0.2, help="weight against the recogniser's log-probabilities")
    arguments = parser.parse_args()
    rng = random.Random("language model")
    counts = [Counter[Gram]() for _ in range(arguments.order)]
    for _ in range(arguments.utterances):
        stream = draw_stream(rng)
        for length, counter in enumerate(counts, 1):
            counter.update(tuple(stream[i : i + length]) for i in range(len(stream) - length + 1))
    del counts[0][START,]
    tokens = json.loads((arguments.recogniser / "tokens.json").read_text(encoding="utf-8"))
    model = BackoffModel(counts, [t for t in tokens if not t.startswith("<")])
    whole = len(model.probabilities)
    model.prune(arguments.threshold)
    size_mb = write(arguments.out, model, tokens, arguments.scale)
    rng = random.Random("perplexity")
    streams = [draw_stream(rng) for _ in range(2000)]
    bits = [
        -math.log(model.probability(tuple(stream[max(0, i - arguments.order + 1) : i + 1])))
        for stream in streams
        for i in range(1, len(stream))
    ]
    perplexity = math.exp(sum(bits) / len(bits))
    print(f"{len(model.probabilities)} of {whole} n-grams, {size_mb:.2f} MB, perplexity {perplexity:.2f}")


if __name__ == "__main__":
    main()
