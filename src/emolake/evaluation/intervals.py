"""Intervals of a classifier's figures that do not vanish: where 21 of 21 clips are right, the 22nd may be wrong.

Each figure is a share, or a mean of shares, and has Wilson's score interval (Wilson 1927, J. Am. Stat. Assoc. 22,
209-212) of as many clips as tell as much, which is how surveys are treated whose answers are weighted and come in
clusters (Korn & Graubard 1998, Survey Methodology 24, 193-201; Franco, Little, Louis & Slud 2019, J. Survey Statistics
and Methodology 7, 334-364):

- of a mean over classes that is K² / Σ 1/n, n the clips of each class (for F1 half the true and predicted ones);
- it is divided by the design effect, the variance of the figure over that of a share of so many clips, at least 1. The
  variance is that between speakers where they are known, since clips of one voice are not independent, or that of
  independent clips where it is larger;
- where speakers are known the quantile is Student's, with one degree of freedom less than speakers: of four it is 3.2
  instead of 2.0.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95

Interval = tuple[float, float]


@dataclass(frozen=True)
class FigureIntervals:
    """The interval of each figure; None of the recall of a class without clips."""

    accuracy: Interval
    uar: Interval
    macro_f1: Interval
    recall: tuple[Interval | None, ...]


def figure_intervals(confusions: np.ndarray, *, by_speaker: bool) -> FigureIntervals:
    """Return the intervals of the figures of confusions [groups, labels, labels], rows the truth, added up.

    Args:
        confusions: of each speaker, two or more; or of all clips at once.
        by_speaker: whether the groups are speakers; else clips are independent.
    """
    total = confusions.sum(axis=0).astype(float)
    critical = _critical(len(confusions) - 1 if by_speaker else None)

    def interval(value: float, count: float, of_clip: np.ndarray) -> Interval:
        """`of_clip` [labels, labels]: by how much a clip more in that cell moves the figure, linearised."""
        variance = float((total * of_clip**2).sum())
        if by_speaker:
            groups = len(confusions)
            sums = (confusions * of_clip).sum(axis=(1, 2))
            variance = max(variance, float(np.square(sums).sum()) * groups / (groups - 1))
        of_share = value * (1 - value) / count
        effect = max(1.0, variance / of_share) if of_share > 0 else 1.0
        return wilson(value, count / effect, critical)

    right, clips = np.eye(len(total)), total.sum()
    true, predicted, hits = total.sum(axis=1), total.sum(axis=0), np.diagonal(total)
    accuracy = float(hits.sum() / clips)

    known = true > 0
    recall = np.divide(hits, true, out=np.zeros_like(hits), where=known)
    each = np.divide(1, true, out=np.zeros_like(hits), where=known)[:, None] * (right - recall[:, None])
    size = known.sum()

    seen, half = true + predicted > 0, (true + predicted) / 2
    part = np.divide(1, half, out=np.zeros_like(hits), where=seen)
    f1 = hits * part
    of_f1 = right * part - (f1 * part / 2)[:, None] - (f1 * part / 2)[None, :]
    return FigureIntervals(
        accuracy=interval(accuracy, clips, (right - accuracy) / clips),
        uar=interval(float(recall[known].mean()), size**2 / (1 / true[known]).sum(), each / size),
        macro_f1=interval(float(f1[seen].mean()), seen.sum() ** 2 / part.sum(), of_f1 / seen.sum()),
        recall=tuple(
            interval(float(recall[k]), true[k], np.where(right[k][:, None] > 0, each, 0))
            if known[k]
            else None
            for k in range(len(total))
        ),
    )


def wilson(share: float, count: float, critical: float) -> Interval:
    """Return the score interval of a share of `count` trials; `critical` is the distribution's quantile.

    >>> low, high = wilson(1.0, 21, 1.96)
    >>> f"{low:.3f} {high:.3f}"
    '0.845 1.000'
    """
    squared = critical**2 / count
    centre = (share + squared / 2) / (1 + squared)
    half = critical * np.sqrt(share * (1 - share) / count + squared / (4 * count)) / (1 + squared)
    # A share of 0 or 1 is an end itself; rounding must not say otherwise.
    return float(max(min(centre - half, share), 0)), float(min(max(centre + half, share), 1))


def _critical(degrees: int | None) -> float:
    """Return the two-sided quantile: Student's with these degrees of freedom, or the normal distribution's."""
    distribution = stats.norm if degrees is None else stats.t(degrees)
    return float(distribution.ppf((1 + LEVEL) / 2))
