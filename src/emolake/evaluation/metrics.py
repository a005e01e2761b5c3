"""What scikit-learn does not have: calibration of many classes, and bootstrap intervals over speakers or clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import confusion_matrix

BOOTSTRAP_DRAWS = 2000
LEVEL = 0.95


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """Return the divisor, 0.1 to 10, of `logits` [N, labels] that makes the truth [N] most likely (Guo et al. 2017)."""

    def loss(log_temperature: float) -> float:
        scores = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-scores[np.arange(len(truth)), truth].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.1), np.log(10)), method="bounded").x))


def expected_calibration_error(logits: np.ndarray, truth: np.ndarray, *, bins: int = 15) -> float:
    """Return the mean distance of confidence and accuracy over equal bins of confidence, weighted by clips."""
    probabilities = softmax(logits, axis=1)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    gaps = np.bincount(place, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / counts.sum())


@dataclass(frozen=True)
class BootstrapFigures:
    """Figures of R draws of the clips: [R], and recalls [R, labels], NaN where a draw has no such clip."""

    accuracy: np.ndarray
    uar: np.ndarray
    macro_f1: np.ndarray
    recall: np.ndarray


def bootstrap(
    truth: np.ndarray,
    predicted: Sequence[np.ndarray],
    groups: Sequence[str] | None,
    *,
    labels: int,
    draws: int = BOOTSTRAP_DRAWS,
    seed: int,
) -> list[BootstrapFigures]:
    """Return the figures of several classifiers' predictions under the same draws of the clips.

    A figure of a draw is a function of its confusion matrix, and that is the sum of its groups'; drawing how often
    each group comes replaces drawing clips one by one, which would copy all of them R times.

    Args:
        truth: label of each clip, [N].
        predicted: for each classifier the label that it predicts for each clip, [N].
        groups: what is drawn as a whole, the speaker of each clip [N]; None draws clips.
        labels: number of labels.
        draws: R, how often as many groups as there are are drawn with replacement.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    if groups is None:
        # Clips with the same truth and predictions are one kind: how often a kind comes is all that counts.
        kinds, sizes = np.unique(np.stack([truth, *predicted], axis=1), axis=0, return_counts=True)
        drawn = generator.multinomial(sizes.sum(), sizes / sizes.sum(), size=draws)
        members = [kinds[kind : kind + 1] for kind in range(len(kinds))]
    else:
        rows, names = np.stack([truth, *predicted], axis=1), np.array(groups)
        members = [rows[names == name] for name in np.unique(names)]
        drawn = generator.multinomial(len(members), np.full(len(members), 1 / len(members)), size=draws)
    figures = []
    for place in range(1, len(predicted) + 1):
        tables = [
            confusion_matrix(own[:, 0], own[:, place], labels=np.arange(labels)).ravel() for own in members
        ]
        figures.append(_figures((drawn @ np.stack(tables)).reshape(draws, labels, labels)))
    return figures


def interval(values: np.ndarray) -> tuple[float, float] | None:
    """Return the interval that holds 95 % of a figure's draws [R]; None if a class has clips in none of them."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _figures(confusions: np.ndarray) -> BootstrapFigures:
    """Return the figures of confusions [R, labels, labels], rows the truth: scikit-learn takes one at a time."""
    hits = np.diagonal(confusions, axis1=1, axis2=2).astype(float)
    predicted, true = confusions.sum(axis=1), confusions.sum(axis=2)
    recall = np.divide(hits, true, out=np.full_like(hits, np.nan), where=true > 0)
    f1 = np.divide(2 * hits, predicted + true, out=np.full_like(hits, np.nan), where=predicted + true > 0)
    return BootstrapFigures(
        accuracy=hits.sum(axis=1) / true.sum(axis=1),
        uar=np.nanmean(recall, axis=1),
        macro_f1=np.nanmean(f1, axis=1),
        recall=recall,
    )
