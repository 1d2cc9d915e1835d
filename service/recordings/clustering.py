"""Clusters speaker vectors: how many speakers there are, and which of them speaks in each window.

Agglomerative clustering by average cosine similarity, cut where clusters are no more alike than two voices.
What is too little to be a speaker joins the voice it is most like.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from runners.interface import DiarizationOptions

# Memory grows with the square of the vectors: 4,000 (50 minutes of speech) take 64 MB, and seconds.
_MOST_CLUSTERED = 4000
# Fewer windows than that, or a smaller share of all, are a speaker only if nobody sounds alike at all.
_FEW_WINDOWS = 2
_LEAST_SHARE = 0.01


def cluster(vectors: NDArray[np.float32], options: DiarizationOptions, *, count: int | None = None) -> NDArray[np.int_]:
    """Tells the speaker, 0, 1, … in order of appearance, of each of (n, size) speaker vectors in order of time.

    ``count`` is how many speakers there are said to be; it is followed where there are as many different vectors.
    """
    if len(vectors) < 2:
        return np.zeros(len(vectors), np.int_)
    unit = _unit(vectors.astype(np.float32))
    sample = unit
    if len(unit) > _MOST_CLUSTERED:
        sample = unit[np.linspace(0, len(unit) - 1, _MOST_CLUSTERED).astype(np.int_)]
    labels = _agglomerate(sample, options, count)
    if len(sample) < len(unit):
        labels = (unit @ _centres(sample, labels).T).argmax(1)
    return _in_order_of_appearance(labels)


def _agglomerate(unit: NDArray[np.float32], options: DiarizationOptions, count: int | None) -> NDArray[np.int_]:
    upper = np.triu_indices(len(unit), 1)
    distances = np.clip(1 - (unit @ unit.T)[upper], 0, 2)
    tree = linkage(distances, "average")
    labels = _relabel(fcluster(tree, 1 - options.same_speaker, "distance"))
    labels = _absorb_few(unit, labels, options.different_speaker)
    found = int(labels.max()) + 1
    wanted = min(found, options.most_speakers) if count is None else count
    return labels if found == wanted else _keep_largest(unit, tree, wanted)


def _absorb_few(unit: NDArray[np.float32], labels: NDArray[np.int_], different: float) -> NDArray[np.int_]:
    """Gives clusters that are too small to the most similar of the others."""
    sizes = np.bincount(labels)
    centres = _centres(unit, labels)
    least = min(max(_LEAST_SHARE * len(labels), 1), sizes.max())
    large = np.flatnonzero(sizes >= min(max(least, _FEW_WINDOWS), sizes.max()))
    target = np.arange(len(sizes))
    for small in np.setdiff1d(target, large):
        likeness = centres[large] @ centres[small]
        if sizes[small] < least or likeness.max() >= different:
            target[small] = large[likeness.argmax()]
    return _relabel(target[labels])


def _keep_largest(unit: NDArray[np.float32], tree: NDArray[np.float64], count: int) -> NDArray[np.int_]:
    """Cuts the tree where ``count`` clusters are large enough to be speakers; the rest join the most similar."""
    least = _LEAST_SHARE * len(unit)
    labels = _relabel(fcluster(tree, count, "maxclust"))
    for wanted in range(count, min(len(unit), 4 * count) + 1):
        cut = _relabel(fcluster(tree, wanted, "maxclust"))
        if (np.bincount(cut) >= least).sum() >= count:
            labels = cut
            break
    largest = np.argsort(-np.bincount(labels), kind="stable")[:count]
    nearest = largest[(unit @ _centres(unit, labels)[largest].T).argmax(1)]
    return _relabel(np.where(np.isin(labels, largest), labels, nearest))


def _centres(unit: NDArray[np.float32], labels: NDArray[np.int_]) -> NDArray[np.float32]:
    """Returns the direction of the mean of each cluster 0, 1, …."""
    return _unit(np.stack([unit[labels == label].mean(0) for label in range(labels.max() + 1)]))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, np.float32(1e-9))  # type: ignore[no-any-return]


def _relabel(labels: NDArray[np.integer[Any]]) -> NDArray[np.int_]:
    relabelled: NDArray[np.int_] = np.unique(labels, return_inverse=True)[1].reshape(-1)
    return relabelled


def _in_order_of_appearance(labels: NDArray[np.int_]) -> NDArray[np.int_]:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int_)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.reshape(-1)]
