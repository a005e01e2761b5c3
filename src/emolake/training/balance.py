"""In which order clips come: corpora and emotions balanced, lengths alike; and which labels their loss is over."""

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


def by_length(
    order: np.ndarray, lengths: np.ndarray, size: int, steps: int, generator: np.random.Generator
) -> np.ndarray:
    """Return a drawn order [n] in which each `size` clips have similar lengths, out of `steps` times as many.

    The steps come in a random order too, so that training does not go from short clips to long ones. The short last
    one stays last.

    >>> by_length(np.arange(6), np.array([1, 9, 2, 8, 3, 7]), 2, 3, np.random.default_rng(0)).tolist()
    [3, 1, 0, 2, 4, 5]
    """
    found = []
    for start in range(0, len(order), size * steps):
        block = order[start : start + size * steps]
        block = block[np.argsort(lengths[block], kind="stable")]
        whole = len(block) // size
        chosen = generator.permutation(whole)
        found += [block[size * step : size * (step + 1)] for step in chosen]
        found.append(block[size * whole :])
    return np.concatenate(found)
