"""Figures against hand counts and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.metrics import confusion_matrix as sklearn_confusion

from emolake.training.metrics import (
    accuracy,
    confusion_matrix,
    expected_calibration_error,
    fit_temperature,
    per_group,
    recalls,
    unweighted_average_recall,
)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=50))
@pytest.mark.filterwarnings("ignore::UserWarning")  # scikit-learn's, of classes that only one side has
def test_figures_equal_scikit_learn(pairs):
    truth, guess = np.array(pairs).T
    counts = confusion_matrix(truth, guess, labels=4)
    np.testing.assert_array_equal(counts, sklearn_confusion(truth, guess, labels=range(4)))
    assert accuracy(counts) == pytest.approx(accuracy_score(truth, guess))
    assert unweighted_average_recall(counts) == pytest.approx(balanced_accuracy_score(truth, guess))


def test_a_class_without_clips_has_no_recall():
    found = recalls(np.array([[3, 1, 0], [0, 0, 0], [0, 2, 2]]))
    assert found[[0, 2]].tolist() == [0.75, 0.5]
    assert np.isnan(found[1])


def test_temperature_is_found_again():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(20000, 5)) * 2
    truth = np.array([generator.choice(5, p=row) for row in softmax(logits, axis=1)])
    assert fit_temperature(logits * 3, truth) == pytest.approx(3, rel=0.05)
    assert expected_calibration_error(logits, truth) < 0.02
    assert expected_calibration_error(logits * 3, truth) > 0.1


def test_calibration_error_by_hand():
    logits = np.log(np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]]))
    # two clips at 0.9 of which one is right (gap 0.4), one at 0.6 that is wrong (gap 0.6)
    assert expected_calibration_error(logits, np.array([0, 1, 1])) == pytest.approx((2 * 0.4 + 0.6) / 3)


def test_groups_are_counted_apart():
    figures = per_group(np.array([0, 1, 0, 1]), np.array([0, 1, 1, 1]), ["b", "b", "a", "a"], labels=2)
    assert list(figures) == ["a", "b"]
    assert figures["a"] == {"clips": 2, "accuracy": 0.5, "uar": 0.5}
    assert figures["b"] == {"clips": 2, "accuracy": 1.0, "uar": 1.0}
