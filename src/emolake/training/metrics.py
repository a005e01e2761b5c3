"""Figures of a classifier: recalls, confusion, calibration."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax


def confusion_matrix(truth: np.ndarray, guess: np.ndarray, *, labels: int) -> np.ndarray:
    """Counts [labels, labels]: rows are the truth, columns what was answered; both given as indices [N]."""
    counts = np.zeros((labels, labels), dtype=np.int64)
    np.add.at(counts, (truth, guess), 1)
    return counts


def recalls(confusion: np.ndarray) -> np.ndarray:
    """Share of each true class that was found, [labels]; NaN for a class without clips."""
    totals = confusion.sum(axis=1)
    return np.asarray(
        np.divide(np.diag(confusion), totals, out=np.full(len(totals), np.nan), where=totals > 0)
    )


def unweighted_average_recall(confusion: np.ndarray) -> float:
    """Mean of the recalls of the classes that have clips: every class counts the same, however rare.

    >>> unweighted_average_recall(np.array([[9, 1], [1, 1]]))
    0.7
    """
    return float(np.nanmean(recalls(confusion)))


def accuracy(confusion: np.ndarray) -> float:
    """Share of all clips that was answered right."""
    return float(np.trace(confusion) / confusion.sum())


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The divisor of `logits` [N, labels] that makes the truth [N] most likely (Guo et al. 2017), in 0.1 to
    10."""

    def loss(log_temperature: float) -> float:
        scores = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-scores[np.arange(len(truth)), truth].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.1), np.log(10)), method="bounded").x))


def expected_calibration_error(logits: np.ndarray, truth: np.ndarray, *, bins: int = 15) -> float:
    """Mean distance between confidence and accuracy over equal bins of confidence, weighted by their
    clips."""
    probabilities = softmax(logits, axis=1)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    gaps = np.bincount(place, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / counts.sum())


def per_group(
    truth: np.ndarray, guess: np.ndarray, groups: Sequence[str], *, labels: int
) -> dict[str, dict[str, float | int]]:
    """Clips, accuracy and unweighted average recall of each group (a corpus, a speaker), in order of name."""
    names = np.array(groups)
    figures: dict[str, dict[str, float | int]] = {}
    for name in sorted(set(groups)):
        own = confusion_matrix(truth[names == name], guess[names == name], labels=labels)
        figures[name] = {
            "clips": int(own.sum()),
            "accuracy": accuracy(own),
            "uar": unweighted_average_recall(own),
        }
    return figures
