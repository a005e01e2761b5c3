"""The loop over epochs by itself: what it keeps, what it writes and how it resumes."""

import numpy as np
import pytest
import torch

from emolake.errors import ConfigurationError
from emolake.training.epochs import (
    EpochReport,
    EpochVerdict,
    FitPlan,
    keep_last,
    train_epochs,
    validation_figures,
)
from emolake.training.gradient_training import EarlyStopping
from emolake.training.training_run import Checkpoint

TARGETS = np.array([0, 1, 0, 1])


class Counter:
    """Something to train whose only weight is the number of epochs that it was trained for."""

    def __init__(self):
        self.trained = 0
        self.value = torch.zeros(1)
        self.observed = []

    @property
    def learning_rate(self):
        return 0.5**self.trained

    def train_epoch(self, epoch):
        self.trained += 1
        self.value = self.value + 1
        assert self.value == epoch
        return 1 / epoch

    def predict_logits(self, chosen):
        return np.eye(2)[TARGETS[chosen]] * float(self.value)

    def observe(self, row):
        self.observed.append(row["epoch"])

    def weights(self):
        return {"value": self.value.clone()}

    def load_weights(self, weights):
        self.value = weights["value"]

    def state(self):
        return {"value": self.value}

    def restore(self, state):
        self.value = state["value"]


def content(folder):
    found = Checkpoint(folder / "fit.pt").read()
    assert found is not None
    return found


def plan(folder, *, epochs=5, validation=TARGETS[:0]):
    return FitPlan("one", epochs, TARGETS, validation, np.ones(2), Checkpoint(folder / "fit.pt"))


def test_every_epoch_is_measured_observed_and_reported_after_its_checkpoint(tmp_path):
    training, reported = Counter(), []

    def report(each):
        assert len(content(tmp_path)["history"]) == each.last["epoch"]
        reported.append((each.last["epoch"], each.count, each.resumed))

    history = train_epochs(training, plan(tmp_path, validation=np.arange(4)), policy=keep_last, report=report)
    assert [row["epoch"] for row in history] == training.observed == [1, 2, 3, 4, 5]
    assert [row["train_loss"] for row in history] == [1 / epoch for epoch in range(1, 6)]
    assert history[1]["learning_rate"] == 0.25
    assert {row["valid_uar"] for row in history} == {1.0}
    assert history[0]["valid_loss"] == pytest.approx(np.log(1 + np.exp(-1)))
    assert reported == [(epoch, 1, False) for epoch in range(1, 6)]
    assert training.value == 5


def test_a_policy_chooses_the_weights_and_the_end(tmp_path):
    def second_of_four(history):
        return EpochVerdict(keep=len(history) == 2, stop=len(history) == 4)

    training = Counter()
    assert len(train_epochs(training, plan(tmp_path), policy=second_of_four)) == 4
    assert training.value == 2


def test_a_killed_fit_goes_on_after_its_last_epoch_and_a_finished_one_is_not_trained_again(tmp_path):
    def killed(each):
        if each.last["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_epochs(Counter(), plan(tmp_path), policy=keep_last, report=killed)
    reported: list[EpochReport] = []
    second = Counter()
    history = train_epochs(second, plan(tmp_path), policy=keep_last, report=reported.append)
    assert second.trained == 2
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5]
    assert [(each.last["epoch"], each.count, each.resumed) for each in reported] == [
        (3, 3, True), (4, 1, False), (5, 1, False),
    ]  # fmt: skip
    assert "training" not in content(tmp_path)  # the optimizer has served
    third = Counter()
    assert train_epochs(third, plan(tmp_path), policy=keep_last) == history
    assert (third.trained, float(third.value)) == (0, 5)


def test_a_checkpoint_of_another_version_is_refused(tmp_path):
    Checkpoint(tmp_path / "fit.pt").write({"history": [], "best": {}})
    with pytest.raises(
        ConfigurationError, match=r"fit\.pt has no finished, kept, so another version .*--force"
    ):
        train_epochs(Counter(), plan(tmp_path), policy=keep_last)


def row(epoch, uar, loss=None):
    return {
        "run": "one", "epoch": epoch, "train_loss": 1.0, "valid_loss": loss, "valid_uar": uar, "learning_rate": 0.1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("figures", "keep", "stop"),
    [
        ([0.5], True, False),
        ([0.5, 0.505], False, False),  # not better by the threshold
        ([0.5, 0.52], True, False),
        ([0.5, 0.5, 0.5], False, True),
        ([0.5, 0.505, 0.515], True, False),  # better than the best, not than the one before
        ([None, None, None, None], True, False),  # nothing to stop by
    ],
)
def test_early_stopping_follows_from_the_history_alone(figures, keep, stop):
    history = [row(epoch, figure) for epoch, figure in enumerate(figures, 1)]
    assert EarlyStopping("valid_uar", 0.01, 2)(history) == EpochVerdict(keep, stop)
    losses = [
        row(epoch, None, None if figure is None else 1 - figure) for epoch, figure in enumerate(figures, 1)
    ]
    assert EarlyStopping("valid_loss", 0.01, 2)(losses) == EpochVerdict(keep, stop)


def test_no_clips_have_no_figures():
    assert validation_figures(np.zeros((0, 2)), TARGETS[:0], np.ones(2)) == (None, None)
