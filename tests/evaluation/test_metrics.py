"""Calibration by hand, and bootstrapped figures against scikit-learn and SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score

from emolake.evaluation.metrics import bootstrap, expected_calibration_error, fit_temperature, interval


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=50))
@pytest.mark.filterwarnings("ignore::UserWarning")  # scikit-learn's, of classes that only one side has
def test_a_draw_that_is_the_whole_equals_scikit_learn(pairs):
    truth, guess = np.array(pairs).T
    (drawn,) = bootstrap(truth, [guess], ["one"] * len(truth), labels=5, draws=3, seed=0)
    assert drawn.accuracy == pytest.approx([accuracy_score(truth, guess)] * 3)
    assert drawn.uar == pytest.approx([balanced_accuracy_score(truth, guess)] * 3)
    assert drawn.macro_f1 == pytest.approx([f1_score(truth, guess, average="macro", zero_division=0)] * 3)
    expected = recall_score(truth, guess, labels=range(5), average=None, zero_division=np.nan)
    np.testing.assert_allclose(drawn.recall, [expected] * 3)


def test_drawing_clips_agrees_with_scipy():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 200)
    guess = np.where(generator.random(200) < 0.7, truth, 2)
    (drawn,) = bootstrap(truth, [guess], None, labels=3, draws=4000, seed=1)
    theirs = scipy_bootstrap(
        ((truth == guess).astype(float),), np.mean, method="percentile", n_resamples=4000, rng=2
    )
    assert interval(drawn.accuracy) == pytest.approx(tuple(theirs.confidence_interval), abs=0.011)


def test_clips_of_one_voice_are_less_evidence_than_as_many_voices():
    truth = np.arange(400) % 2
    right = np.arange(400) < 200  # ten speakers always right, ten always wrong
    guess = np.where(right, truth, 1 - truth)
    speakers = [str(clip // 20) for clip in range(400)]
    (by_speaker,) = bootstrap(truth, [guess], speakers, labels=2, seed=0)
    (by_clip,) = bootstrap(truth, [guess], None, labels=2, seed=0)
    assert np.std(by_speaker.accuracy) > 3 * np.std(by_clip.accuracy)


def test_several_classifiers_are_measured_on_the_same_draws():
    truth = np.arange(60) % 3
    worse = np.where(np.arange(60) < 6, (truth + 1) % 3, truth)
    same, again, other = bootstrap(truth, [worse, worse, truth], None, labels=3, seed=0)
    np.testing.assert_array_equal(same.uar, again.uar)
    assert (other.accuracy >= same.accuracy).all()


def test_an_interval_of_nothing_is_none():
    assert interval(np.full(5, np.nan)) is None
    assert interval(np.array([np.nan, 1.0])) == (1.0, 1.0)


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
