"""What `reliability.json` says of a trained model, from its predictions for clips that did not train it."""

import numpy as np
from scipy.special import softmax
from sklearn.metrics import confusion_matrix

from emolake.evaluation.results import Predictions
from emolake.models.reliability import CoveragePoint, HeldOutAnswers, Reliability, Split

_STEP = 0.05
_WANTED_ACCURACY = 0.5
_LEAST_COVERAGE = 0.2


def measured_reliability(predictions: Predictions, split: Split) -> Reliability:
    """Return the record of a model, with the threshold that it recommends.

    Args:
        predictions: calibrated, for clips that did not train the networks that predicted them.
        split: what these clips were left out by.
    """
    coverage = _coverage(predictions)
    return Reliability(
        labels=predictions.labels,
        abstain_below=recommended(coverage),
        coverage=coverage,
        held_out=tuple(
            _answers(predictions.subset(own), corpus, split) for corpus, own in _corpora(predictions).items()
        ),
    )


def recommended(coverage: tuple[CoveragePoint, ...]) -> float:
    """Return the lowest threshold above which a label is rather right than wrong, with a fifth of the clips left.

    Where there is none it is the one with the highest accuracy of those that leave so many.
    """
    left = [point for point in coverage if point.coverage >= _LEAST_COVERAGE]
    enough = [point for point in left if point.accuracy >= _WANTED_ACCURACY]
    chosen = enough[0] if enough else max(left, key=lambda point: (point.accuracy, -point.threshold))
    return chosen.threshold


def _coverage(predictions: Predictions) -> tuple[CoveragePoint, ...]:
    """Return coverage and accuracy for thresholds 0, 0.05, ... 0.95; each corpus counts alike."""
    best = softmax(predictions.logits, axis=1).max(axis=1)
    right = predictions.predicted == predictions.targets
    groups = list(_corpora(predictions).values())
    points = []
    for threshold in np.arange(0, 1, _STEP).round(2).tolist():
        kept = best >= threshold
        share = np.array([kept[own].mean() for own in groups])
        hits = np.array([(kept & right)[own].mean() for own in groups])
        accuracy = hits.sum() / share.sum() if share.sum() else 0.0
        points.append(
            CoveragePoint(threshold=threshold, coverage=float(share.mean()), accuracy=float(accuracy))
        )
    return tuple(points)


def _answers(predictions: Predictions, corpus: str, split: Split) -> HeldOutAnswers:
    size = len(predictions.labels)
    probabilities = softmax(predictions.logits, axis=1)
    rows = [predictions.targets == label for label in range(size)]
    mean = [probabilities[own].mean(axis=0) if own.any() else np.zeros(size) for own in rows]
    counts = confusion_matrix(predictions.targets, predictions.predicted, labels=np.arange(size))
    return HeldOutAnswers(
        group=corpus,
        split=split,
        clips=tuple(int(own.sum()) for own in rows),
        predicted=tuple(tuple(row) for row in counts.tolist()),
        probability=tuple(tuple(row.round(6).tolist()) for row in mean),
    )


def _corpora(predictions: Predictions) -> dict[str, np.ndarray]:
    """Return the clips of each corpus, [N] bool."""
    names = np.array([clip.corpus for clip in predictions.clips])
    return {name: names == name for name in sorted(set(names.tolist()))}
