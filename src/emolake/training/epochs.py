"""The loop over epochs that every training by gradients runs: history, validation, checkpoints, resuming."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

import numpy as np
import torch
from scipy.special import log_softmax
from sklearn.metrics import recall_score

from emolake.errors import ConfigurationError
from emolake.training.training_run import Checkpoint

Weights = dict[str, torch.Tensor]

log = logging.getLogger(__name__)


class HistoryRow(TypedDict):
    """An epoch of one fit; what was not measured is None."""

    run: str
    epoch: int
    train_loss: float
    valid_loss: float | None
    valid_uar: float | None
    learning_rate: float
    kept: bool
    """Its weights replaced those of the epochs before."""


@dataclass(frozen=True)
class FitPlan:
    """One fit: how long it lasts at most, what it is measured on, and where it can be resumed from."""

    name: str
    """Of the fit, in history and log."""
    epochs: int
    """After which it ends, unless the policy ends it earlier."""
    targets: np.ndarray
    """[N] int64: label of every clip."""
    validation: np.ndarray
    """Indices of the clips that are predicted after every epoch; may be empty."""
    loss_weights: np.ndarray
    """[labels]: weight of a clip in the validation loss, by its label."""
    checkpoint: Checkpoint
    """Replaced after every epoch; what an earlier, killed call left in it is resumed."""


class Trainable(Protocol):
    """A network in training: what `train_epochs` drives.

    All that later epochs depend on is in its state or follows from the epoch's number, so that a fit that was resumed
    ends in the same weights as one that was not interrupted.
    """

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        ...

    def train_epoch(self, epoch: int) -> float:
        """Train for the epoch of this number, from 1, and return its mean loss.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        ...

    def predict_logits(self, chosen: np.ndarray) -> np.ndarray:
        """Return the logits [chosen, labels] of clips, given as indices, as inference computes them."""
        ...

    def observe(self, row: HistoryRow) -> None:
        """Take the figures of the epoch that has ended, on which the learning rate may depend."""
        ...

    def weights(self) -> Weights:
        """Return a copy of the weights that training changes, as a prediction uses them."""
        ...

    def load_weights(self, weights: Weights) -> None:
        """Predict with these weights from now on."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes: tensors, numbers, text, and lists and dictionaries of them."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from where `state` was taken."""
        ...


@dataclass(frozen=True)
class EpochVerdict:
    """What is done after an epoch."""

    keep: bool
    """The weights of this epoch replace those that were kept."""
    stop: bool
    """The fit ends."""


EpochPolicy = Callable[[Sequence[HistoryRow]], EpochVerdict]
"""Gives a verdict on the last row of a history; it depends on nothing but the history."""


def keep_last(history: Sequence[HistoryRow]) -> EpochVerdict:
    """Keep the weights of the last epoch, and end after the last one."""
    return EpochVerdict(keep=True, stop=False)


@dataclass(frozen=True)
class EpochReport:
    """Epochs that are newly known to be done: one that has just ended, or all those of an earlier call at once."""

    last: HistoryRow
    count: int = 1
    resumed: bool = False
    """They were trained by an earlier call."""


def log_report(report: EpochReport) -> None:
    """Write a report into the log of the training."""
    row = report.last
    if report.resumed:
        log.info("%s was trained up to epoch %d by an earlier call", row["run"], row["epoch"])
        return
    figures = {
        "train loss": row["train_loss"],
        "validation loss": row["valid_loss"],
        "validation UAR": row["valid_uar"],
    }
    known = ", ".join(f"{name} {value:.4f}" for name, value in figures.items() if value is not None)
    log.info("%s, epoch %d: %s, rate %.3g", row["run"], row["epoch"], known, row["learning_rate"])


def train_epochs(
    training: Trainable,
    plan: FitPlan,
    *,
    policy: EpochPolicy,
    report: Callable[[EpochReport], None] = log_report,
) -> list[HistoryRow]:
    """Train epoch by epoch, or resume from the checkpoint, and leave the weights that the policy kept.

    Args:
        training: the network.
        plan: the fit.
        policy: says after each epoch whether its weights are kept, and whether the fit ends.
        report: gets every epoch once its checkpoint is written, and first those of an earlier call.

    Returns:
        A row for each epoch, also for those of an earlier call.

    Raises:
        ConfigurationError: the checkpoint is broken, or of another version.
        FloatingPointError: the loss is not finite.
    """
    history: list[HistoryRow] = []
    kept: Weights = {}
    finished = False
    found = plan.checkpoint.read()
    if found is not None:
        if missing := {"history", "kept", "finished"} - found.keys():
            raise ConfigurationError(
                f"the checkpoint {plan.checkpoint.path} has no {', '.join(sorted(missing))}, so another version of "
                "emolake wrote it; resume with that version, or start again with --force"
            )
        history, kept, finished = found["history"], found["kept"], found["finished"]
        if not finished:
            training.restore(found["training"])
        report(EpochReport(history[-1], len(history), resumed=True))
    while not finished:
        epoch = len(history) + 1
        loss = training.train_epoch(epoch)
        valid_loss, valid_uar = validation_figures(
            training.predict_logits(plan.validation), plan.targets[plan.validation], plan.loss_weights
        )
        history.append({
            "run": plan.name, "epoch": epoch, "train_loss": loss, "valid_loss": valid_loss, "valid_uar": valid_uar,
            "learning_rate": training.learning_rate, "kept": False,
        })  # fmt: skip
        verdict = policy(history)
        history[-1]["kept"] = verdict.keep
        if verdict.keep:
            kept = training.weights()
        training.observe(history[-1])
        finished = verdict.stop or epoch >= plan.epochs
        # The state of the optimizer, twice as large as the weights, is of no use to a fit that has ended.
        rest = {} if finished else {"training": training.state()}
        plan.checkpoint.write({"history": history, "kept": kept, "finished": finished, **rest})
        report(EpochReport(history[-1]))
    training.load_weights(kept)
    return history


def validation_figures(
    logits: np.ndarray, truth: np.ndarray, weights: np.ndarray
) -> tuple[float | None, float | None]:
    """Return the mean loss of [N, labels] logits and the unweighted average recall; None of no clips.

    Each clip counts in the loss by the weight of its label.
    """
    if not len(truth):
        return None, None
    scores = log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(truth)), truth]
    loss = -(scores * weights[truth]).sum() / weights[truth].sum()
    return float(loss), unweighted_average_recall(truth, logits.argmax(axis=1))


def unweighted_average_recall(truth: np.ndarray, guess: np.ndarray) -> float:
    """Return the mean recall of the classes that [N] clips have: balanced_accuracy_score without its warnings."""
    return float(recall_score(truth, guess, labels=np.unique(truth), average="macro", zero_division=0))
