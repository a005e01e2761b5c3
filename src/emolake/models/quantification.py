"""Shares of emotions corrected for what a classifier is known to confuse (quantification), with an interval.

Counting labels is biased: where nine tenths of the speech is neutral, the neutral segments that are taken for something
else outnumber the rest. The correction is expectation-maximisation on calibrated probabilities (Saerens, Latinne &
Decaestecker 2002, Neural Computation 14, 21-41), which starts from the shares of labels that the classifier takes for
granted: its mean probabilities over the clips of its record, each corpus alike. Two things hold it back:

- every step is drawn towards the counted shares, `SHRINKAGE` of the step's weight;
- the counted labels and the record's confusion matrix give a second estimate, by maximum likelihood. Where the two
  differ (total variation distance) the record does not describe this day, and the result moves towards counting.

Both were chosen by trials like `bench/quantification.py`, on speakers and on corpora that were held back. Only answers
for left-out speakers are used: those for left-out corpora describe data so different that correcting by them is worse
than counting.

The interval is the wider one at each end of Wilson's score interval for as many draws as tell as much, and of the
normal one, which reaches 0 where all of a share may be confusion. Both are of the sum of these variances: of the
recordings, linearised at the solution; of the record's few clips; of the corpora, which differ in what they confuse;
and half the squared distances of the two estimates, and of the result from the correction without restraint and from
counting. Nothing is random.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from emolake.models.reliability import Reliability
from emolake.schemas.labels import canonical

SHRINKAGE: Final = 0.2
TOLERATED: Final = 0.3
"""Distance of the two estimates, 0 to 1, at which a correction is cut to 1/e."""

_STEPS = 100
_SETTLED = 1e-9
# What a label has of the prior at least; without it a label that the record lacks would get all of the weight.
_LEAST_PRIOR = 1e-3
# Weight of the pooled rows in the matrix of a corpus, in clips.
_POOLED_CLIPS = 5.0
_LEVEL = 0.95


@dataclass(frozen=True)
class Speech:
    """Labelled segments of one value of the dimensions: probabilities [segments, labels], seconds and recordings."""

    probabilities: np.ndarray
    seconds: np.ndarray
    recordings: np.ndarray


@dataclass(frozen=True)
class AdjustedShare:
    """The corrected share of an emotion; the bounds are None of a single recording, which says nothing of others."""

    share: float
    low: float | None
    high: float | None


def can_adjust(reliability: Reliability) -> bool:
    """Return whether shares are corrected by a record: one of left-out speakers with clips of two labels or more."""
    clips = [own.clips for own in reliability.left_out_by("speaker")]
    return bool(clips) and int(np.count_nonzero(np.sum(clips, axis=0))) > 1


def adjusted_shares(speech: Speech, reliability: Reliability) -> dict[str, AdjustedShare]:
    """Return the corrected share of every emotion that some segment was labelled with; they add up to 1.

    Args:
        speech: columns of its probabilities in the order of the record's labels; some seconds are not 0.
        reliability: the record of the model that gave the probabilities.
    """
    knowledge = _Knowledge.of(reliability)
    given = np.unique(speech.probabilities.argmax(axis=1))
    estimate = _Estimate.of(speech, knowledge, given)
    variance = estimate.of_recordings() + estimate.of_model()
    emotions = [canonical(reliability.labels[label]) for label in given]
    seconds = np.bincount(np.unique(speech.recordings, return_inverse=True)[1], speech.seconds)
    alike = float(seconds.sum() ** 2 / np.square(seconds).sum())
    found = {}
    for emotion in dict.fromkeys(emotions):
        members = np.array([each == emotion for each in emotions])
        share = float(np.clip(estimate.shares[members].sum(), 0, 1))
        own = float(members @ variance @ members)
        bounds = _bounds(share, own, alike) if np.count_nonzero(seconds) > 1 else (None, None)
        found[emotion] = AdjustedShare(share, *bounds)
    return found


@dataclass(frozen=True)
class _Knowledge:
    """A record in the form that estimates need: pooled with every corpus alike, rows the truth."""

    prior: np.ndarray
    confusion: np.ndarray
    probability: np.ndarray
    clips: np.ndarray
    corpora: Sequence[np.ndarray]
    """Mean probabilities of each corpus; rows of labels with few clips are drawn towards the pooled ones."""

    @classmethod
    def of(cls, reliability: Reliability) -> "_Knowledge":
        groups = [
            (np.array(own.clips, float), np.array(own.predicted, float), np.array(own.probability))
            for own in reliability.left_out_by("speaker")
            if sum(own.clips)
        ]
        clips = np.sum([own for own, _, _ in groups], axis=0)
        weight = sum(own / own.sum() for own, _, _ in groups)[:, None]
        identity = np.eye(len(weight))
        known = np.maximum(weight, 1e-12)
        confusion = sum(predicted / own.sum() for own, predicted, _ in groups)
        probability = sum(own[:, None] / own.sum() * mean for own, _, mean in groups)
        confusion = np.where(weight > 0, (confusion + 1e-3 * identity) / (known + 1e-3), identity)
        probability = np.where(weight > 0, probability / known, identity)
        prior = np.maximum(sum(own @ mean / own.sum() for own, _, mean in groups), _LEAST_PRIOR)
        corpora = [
            (own[:, None] * mean + _POOLED_CLIPS * probability) / (own[:, None] + _POOLED_CLIPS)
            for own, _, mean in groups
        ]
        return cls(prior / prior.sum(), confusion, probability, clips, corpora)


@dataclass(frozen=True)
class _Estimate:
    """The estimates of one row of dimensions, over the labels that were given."""

    knowledge: _Knowledge
    given: np.ndarray
    speech: Speech
    weights: np.ndarray
    posterior: np.ndarray
    """Of each segment under the corrected shares, [segments, given]."""
    labels: np.ndarray
    """1 for the label of each segment, [segments, given]."""
    free: np.ndarray
    """The correction without restraint."""
    second: np.ndarray
    corrected: np.ndarray
    trust: float

    @classmethod
    def of(cls, speech: Speech, knowledge: _Knowledge, given: np.ndarray) -> "_Estimate":
        weights = speech.seconds / speech.seconds.sum()
        labels = (speech.probabilities.argmax(axis=1)[:, None] == given).astype(float)
        counted = weights @ labels
        prior = knowledge.prior[given] / knowledge.prior[given].sum()
        ratios = speech.probabilities[:, given] / prior
        free, _ = expectation_maximisation(ratios, weights, prior)
        corrected, posterior = expectation_maximisation(
            ratios, weights, prior, towards=counted, shrinkage=SHRINKAGE
        )
        matrix = knowledge.confusion[np.ix_(given, given)] + 1e-9
        second = _most_likely(counted, matrix / matrix.sum(axis=1, keepdims=True))
        trust = float(np.exp(-((np.abs(free - second).sum() / 2 / TOLERATED) ** 2)))
        return cls(
            knowledge, given, speech, weights, posterior, labels, free, second, corrected, trust
        )  # fmt: skip

    @property
    def counted(self) -> np.ndarray:
        """Share of each label."""
        shares: np.ndarray = self.weights @ self.labels
        return shares

    @property
    def shares(self) -> np.ndarray:
        """The result, [given]."""
        return self.trust * self.corrected + (1 - self.trust) * self.counted

    def of_recordings(self) -> np.ndarray:
        """Return the covariance [given, given] that comes from which recordings there are."""
        size, shrinkage = len(self.given), SHRINKAGE
        score = (self.posterior + shrinkage * self.labels) / (1 + shrinkage) - self.corrected
        weighted = self.weights[:, None] * self.posterior
        slope = np.diag(weighted.sum(axis=0)) - weighted.T @ self.posterior
        slope = slope / np.maximum(self.corrected, 1e-9) / (1 + shrinkage)
        influence = score @ np.linalg.pinv(np.eye(size) - slope).T
        influence = self.trust * influence + (1 - self.trust) * (self.labels - self.counted)
        _, recording = np.unique(self.speech.recordings, return_inverse=True)
        sums = np.zeros((recording.max() + 1, size))
        np.add.at(sums, recording, self.weights[:, None] * influence)
        covariance: np.ndarray = sums.T @ sums * len(sums) / max(len(sums) - 1, 1)
        return covariance

    def of_model(self) -> np.ndarray:
        """Return the covariance [given, given] that comes from how little is known of the model's confusion."""
        known, given, shares = self.knowledge, self.given, self.shares
        mean = known.probability[given]
        clips = np.maximum(known.clips[given], 1)
        spread = np.diag(shares**2 / clips @ mean) - (mean.T * (shares**2 / clips)) @ mean
        number = len(known.corpora)
        for own in known.corpora:
            apart = shares @ (own[given] - mean)
            # Of one corpus nothing is known of how others differ; the day is as one more.
            spread = spread + np.outer(apart, apart) * (1 + 1 / number) / max(number - 1, 1)
        back = np.linalg.solve(mean @ mean.T + 0.1 * np.eye(len(given)), mean) * self.trust
        covariance: np.ndarray = back @ spread @ back.T
        for apart in (self.free - self.second, shares - self.free, shares - self.counted):
            covariance = covariance + np.outer(apart, apart) / 2
        return covariance


def expectation_maximisation(
    ratios: np.ndarray,
    weights: np.ndarray,
    start: np.ndarray,
    *,
    towards: np.ndarray | None = None,
    shrinkage: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return shares [labels] and the posteriors [segments, labels] under them.

    Args:
        ratios: calibrated probabilities over the shares they take for granted, [segments, labels].
        weights: of the segments; they add up to 1.
        start: shares to begin with.
        towards: shares that each step is drawn to.
        shrinkage: weight of `towards`, over that of the step.
    """
    drawn = 0.0 if towards is None else shrinkage * towards
    shares = start
    for _ in range(_STEPS):
        posterior = ratios * shares
        posterior /= np.maximum(posterior.sum(axis=1, keepdims=True), 1e-30)
        before, shares = shares, (weights @ posterior + drawn) / (1 + shrinkage)
        shares = shares / shares.sum()
        if np.abs(shares - before).max() < _SETTLED:
            break
    return shares, posterior


def _most_likely(counted: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the shares that the counted ones are most likely of, by a matrix with the truth in rows."""
    shares = counted.copy()
    for _ in range(_STEPS):
        shares = shares * (matrix @ (counted / np.maximum(shares @ matrix, 1e-12)))
        shares /= shares.sum()
    return shares


def _bounds(share: float, variance: float, alike: float) -> tuple[float, float]:
    """Return the interval of a share with a variance, of as many recordings as equally long ones tell as much.

    The draws are those of a share that is a little away from 0 and 1, where the variance of a share vanishes.
    """
    from scipy.special import stdtrit  # scipy.stats, which asks it, takes half a second to import

    inner = (share * alike + 0.5) / (alike + 1)
    draws = min(inner * (1 - inner) / max(variance, 1e-12), 1e6)
    quantile = float(stdtrit(max(alike - 1, 1.0), (1 + _LEVEL) / 2))
    normal = quantile * float(np.sqrt(variance))
    squared = quantile**2 / draws
    centre = (share + squared / 2) / (1 + squared)
    half = float(np.sqrt(squared * share * (1 - share) + squared**2 / 4)) / (1 + squared)
    return max(min(centre - half, share - normal), 0.0), min(max(centre + half, share + normal), 1.0)
