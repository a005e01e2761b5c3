"""Corpora and emotions balanced against each other: which clips are drawn, and which labels their loss is over."""

from collections.abc import Sequence

import numpy as np


def drawing_weights(strata: Sequence[str], balance: float) -> np.ndarray:
    """Return the probability of each clip, [N]: the inverse of its stratum's size to the power of `balance`.

    >>> drawing_weights(["a", "a", "a", "b"], 1.0).round(3).tolist()
    [0.167, 0.167, 0.167, 0.5]
    """
    _, place, counts = np.unique(np.array(strata), return_inverse=True, return_counts=True)
    weights = (1.0 / counts[place]) ** balance
    return np.asarray(weights / weights.sum())


def own_labels(groups: Sequence[str], targets: np.ndarray, labels: int) -> np.ndarray:
    """Return which labels each clip's corpus has, [N, labels] bool.

    Args:
        groups: corpus of every clip, [N].
        targets: label of every clip, [N].
        labels: number of labels.

    >>> own_labels(["a", "a", "b"], np.array([0, 1, 2]), 3).astype(int).tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    """
    _, place = np.unique(np.array(groups), return_inverse=True)
    has = np.zeros((place.max() + 1, labels), dtype=bool)
    has[place, targets] = True
    return has[place]
