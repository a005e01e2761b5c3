"""The logistic regression that heads begin as, beside scikit-learn's and as a part of trainings."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from emolake.errors import ConfigurationError
from emolake.training.optimise_options import OptimiseOptions
from emolake.training.regression import RegressionOptions, fit_regression
from emolake.training.trainer import find_trainer, with_options

PLAIN = OptimiseOptions(class_weights=False)


def states_of(seed: int, clips: int = 60, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return states [clips, width] around a centre for each of three labels, on scales far apart, and the labels."""
    generator = np.random.default_rng(seed)
    targets = np.arange(clips) % 3
    states = generator.normal(size=(3, width))[targets] + generator.normal(size=(clips, width))
    return (states * np.logspace(-2, 2, width) + 7).astype(np.float32), targets


@pytest.mark.parametrize("penalty", [0.005, 0.05, 0.5])
def test_it_is_the_regression_of_scikit_learn(penalty: float) -> None:
    states, targets = states_of(1)
    weight, bias = fit_regression(
        states, targets, ["a"] * 60, labels=3, loop=PLAIN, options=RegressionOptions(penalty=penalty)
    )
    wide = states.astype(np.float64)
    standard = (wide - wide.mean(0)) / wide.std(0)
    other = LogisticRegression(C=1 / (penalty * 60), tol=1e-8, max_iter=1000).fit(standard, targets)
    found = torch.from_numpy(states) @ weight.T + bias
    np.testing.assert_allclose(torch.softmax(found, 1).numpy(), other.predict_proba(standard), atol=2e-3)


def test_neither_scale_nor_offset_of_a_state_changes_an_answer() -> None:
    states, targets = states_of(2)
    changed = states * np.float32(4) + np.float32(3)
    answers = []
    for each in (states, changed):
        weight, bias = fit_regression(
            each, targets, ["a"] * 60, labels=3, loop=PLAIN, options=RegressionOptions()
        )
        answers.append((torch.from_numpy(each) @ weight.T + bias).numpy())
    np.testing.assert_allclose(answers[0], answers[1], atol=2e-3)


def test_a_state_that_never_changes_is_no_division_by_zero() -> None:
    states, targets = states_of(3)
    states[:, 2] = 5.0
    weight, bias = fit_regression(
        states, targets, ["a"] * 60, labels=3, loop=PLAIN, options=RegressionOptions()
    )
    assert torch.isfinite(weight).all()
    assert torch.isfinite(bias).all()
    assert weight[:, 2].abs().max() == 0


def test_balanced_corpora_count_alike_however_many_clips_they_have() -> None:
    states, targets = states_of(4)
    answers = {}
    # Both corpora have the same states, so that the scales stay, and they contradict each other in the labels.
    for name, balance, copies in (("even", 1.0, 1), ("more of a", 1.0, 5), ("counted", None, 5)):
        weight, bias = fit_regression(
            np.concatenate([*[states] * copies, states]),
            np.concatenate([*[targets] * copies, (targets + 1) % 3]),
            ["a"] * 60 * copies + ["b"] * 60,
            labels=3, loop=PLAIN.model_copy(update={"balance": balance}), options=RegressionOptions(),
        )  # fmt: skip
        answers[name] = torch.softmax(torch.from_numpy(states) @ weight.T + bias, 1)
    assert (answers["even"] - answers["more of a"]).abs().max() < 2e-3
    assert (answers["even"] - answers["counted"]).abs().max() > 0.1


def test_labels_of_other_corpora_count_little() -> None:
    states, targets = states_of(5)
    corpora = ["a" if target < 2 else "b" for target in targets]
    means = []
    for foreign in (1.0, 0.01):
        loop = PLAIN.model_copy(update={"foreign_labels": foreign})
        weight, bias = fit_regression(
            states, targets, corpora, labels=3, loop=loop, options=RegressionOptions()
        )
        chances = torch.softmax(torch.from_numpy(states[targets < 2]) @ weight.T + bias, 1)
        means.append(float(chances[:, 2].mean()))
    assert means[1] > means[0]


def test_a_projector_is_refused() -> None:
    trainer = find_trainer("whisper_head")
    with pytest.raises(ConfigurationError, match="give projector null, or regression null"):
        with_options("whisper_head", trainer.recipe, {"regression": {}, "projector": 8})
