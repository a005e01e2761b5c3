"""Intervals of figures: they hold the truth as often as they say, and never vanish."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from emolake.evaluation.intervals import FigureIntervals, figure_intervals, wilson

pytestmark = pytest.mark.slow

FIGURES = ("accuracy", "uar", "macro_f1")


def confusions(truth: np.ndarray, guess: np.ndarray, speakers: np.ndarray, labels: int) -> np.ndarray:
    names, places = np.unique(speakers, return_inverse=True)
    tables = np.zeros((len(names), labels, labels), int)
    np.add.at(tables, (places, truth, guess), 1)
    return tables


@given(hits=st.integers(0, 60), misses=st.integers(0, 60))
def test_a_share_has_scipys_wilson_interval(hits: int, misses: int) -> None:
    count = hits + misses
    if count:
        theirs = binomtest(hits, count).proportion_ci(0.95, method="wilson")
        assert wilson(hits / count, count, 1.959963984540054) == pytest.approx(
            (theirs.low, theirs.high), abs=1e-9
        )


@pytest.mark.parametrize("right", [0.0, 1.0])
@pytest.mark.parametrize(
    ("count", "labels", "speakers"), [(21, 7, 1), (21, 3, 3), (21, 7, 7), (4, 2, 2), (200, 5, 8)]
)
def test_no_interval_vanishes(count: int, labels: int, speakers: int, right: float) -> None:
    truth = np.arange(count) % labels
    guess = truth if right else (truth + 1) % labels
    found = figure_intervals(
        confusions(truth, guess, np.arange(count) % speakers, labels), by_speaker=speakers > 1
    )
    for name in FIGURES:
        low, high = getattr(found, name)
        assert high - low > (0.01 if count > 100 else 0.1), name
        assert (high if right else low) == right
    for low, high in filter(None, found.recall):
        assert high - low > 0.1


PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=60)


@given(PAIRS)
@pytest.mark.filterwarnings("ignore::UserWarning")  # scikit-learn's, of classes that only one side has
def test_an_interval_holds_its_figure_whatever_the_clips(pairs: list[tuple[int, int, int]]) -> None:
    truth, guess, speakers = np.array(pairs).T
    figures = {
        "accuracy": accuracy_score(truth, guess),
        "uar": balanced_accuracy_score(truth, guess),
        "macro_f1": f1_score(truth, guess, average="macro", zero_division=0),
    }
    tables = confusions(truth, guess, speakers, 4)
    for found in (
        figure_intervals(tables.sum(axis=0, keepdims=True), by_speaker=False),
        *([figure_intervals(tables, by_speaker=True)] if len(tables) > 1 else []),
    ):
        for name, figure in figures.items():
            low, high = getattr(found, name)
            assert 0 <= low <= figure + 1e-12
            assert figure - 1e-12 <= high <= 1
            assert low < high
        for label, own in enumerate(found.recall):
            assert (own is None) == (label not in truth)


def drawn(
    generator: np.random.Generator, recalls: np.ndarray, truth: np.ndarray, of_clip: np.ndarray
) -> np.ndarray:
    """Right with the recall of the class, plus what the speaker adds; a wrong one is of any other class."""
    labels = len(recalls)
    right = generator.random(len(truth)) < np.clip(recalls[truth] + of_clip, 0, 1)
    return np.where(right, truth, (truth + generator.integers(1, labels, len(truth))) % labels)


def coverage(labels: int, per_class: int, speakers: int, spread: float, draws: int) -> tuple[float, float]:
    """Return how often the intervals of accuracy and unweighted average recall hold the true value."""
    generator = np.random.default_rng(0)
    held = np.zeros(2)
    truth = np.repeat(np.arange(labels), per_class)
    voices = np.tile(np.arange(max(speakers, 1)), -(-len(truth) // max(speakers, 1)))[: len(truth)]
    for _ in range(draws):
        recalls = generator.uniform(0.5, 0.97, labels)
        of_speaker = generator.uniform(-spread, spread, max(speakers, 1))
        # What a clip's chance of being right is on average over speakers, cut off at 1 as it is drawn.
        expected = np.clip(recalls + np.linspace(-spread, spread, 101)[:, None], 0, 1).mean()
        guess = drawn(generator, recalls, truth, of_speaker[voices])
        tables = confusions(truth, guess, voices, labels)
        found: FigureIntervals = figure_intervals(tables, by_speaker=speakers > 0)
        for place, (low, high) in enumerate((found.accuracy, found.uar)):
            held[place] += low <= expected <= high
    return float(held[0] / draws), float(held[1] / draws)


def test_it_holds_the_truth_where_some_classes_are_rare() -> None:
    generator = np.random.default_rng(1)
    truth = np.repeat(np.arange(6), [2, 4, 8, 16, 64, 128])
    held = 0
    for _ in range(1000):
        recalls = generator.uniform(0.5, 0.99, 6)
        guess = drawn(generator, recalls, truth, np.zeros(len(truth)))
        tables = confusions(truth, guess, np.zeros_like(truth), 6)
        low, high = figure_intervals(tables, by_speaker=False).uar
        held += low <= recalls.mean() <= high
    assert held >= 930


@pytest.mark.parametrize(
    ("labels", "per_class", "speakers", "spread"),
    [
        (7, 3, 0, 0.0), (9, 2, 0, 0.0), (2, 10, 0, 0.0), (4, 50, 0, 0.0),
        (4, 6, 4, 0.0), (4, 24, 4, 0.3), (7, 24, 8, 0.3), (3, 96, 24, 0.3), (2, 12, 3, 0.2),
    ],
)  # fmt: skip
def test_it_holds_the_truth_as_often_as_it_says(
    labels: int, per_class: int, speakers: int, spread: float
) -> None:
    accuracy, uar = coverage(labels, per_class, speakers, spread, draws=1000)
    assert accuracy >= 0.93
    assert uar >= 0.93


def test_clips_of_one_voice_are_less_evidence_than_as_many_voices() -> None:
    truth = np.arange(400) % 2
    right = np.arange(400) < 200  # ten speakers always right, ten always wrong
    guess = np.where(right, truth, 1 - truth)
    tables = confusions(truth, guess, np.arange(400) // 20, 2)
    by_speaker = figure_intervals(tables, by_speaker=True).accuracy
    by_clip = figure_intervals(tables.sum(axis=0, keepdims=True), by_speaker=False).accuracy
    assert by_speaker[1] - by_speaker[0] > 3 * (by_clip[1] - by_clip[0])
