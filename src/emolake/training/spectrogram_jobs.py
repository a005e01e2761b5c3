"""The networks of a training on spectrograms, trained side by side with one progress bar for all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from emolake.training.epochs import (
    EpochReport,
    FitPlan,
    HistoryRow,
    Weights,
    keep_last,
    log_report,
    train_epochs,
)
from emolake.training.spectrogram_training import SpectrogramInputs, SpectrogramTraining
from emolake.training.training_bar import TrainingBar, training_bar
from emolake.training.training_run import Checkpoint
from emolake.training.worker_processes import Report, side_by_side


@dataclass(frozen=True)
class NetworkJob:
    """One network to train on the clips `train`, and the clips that it predicts in the end; both are indices."""

    name: str
    seed: int
    train: np.ndarray
    predicted: np.ndarray
    checkpoint: Checkpoint


@dataclass(frozen=True)
class NetworkResult:
    """The network's weights, its logits [predicted, labels], and a row for each epoch.

    The rows' validation is on the clips that it predicts, by which nothing is chosen.
    """

    weights: Weights
    logits: np.ndarray
    history: list[HistoryRow]


_Arrays = tuple[dict[str, np.ndarray], np.ndarray, list[HistoryRow]]


def train_networks(
    inputs: SpectrogramInputs, jobs: Sequence[NetworkJob], *, workers: int | None
) -> list[NetworkResult]:
    """Do all jobs, at most `workers` at once (None: one for every processor), and return their results in order."""
    with training_bar(len(jobs) * inputs.loop.epochs, "epochs") as bar:
        found = side_by_side(
            partial(_train_network, inputs), jobs, workers=workers, show=_shown_on(bar, jobs)
        )
    return [
        NetworkResult({name: torch.from_numpy(value) for name, value in weights.items()}, logits, history)
        for weights, logits, history in found
    ]


def _train_network(inputs: SpectrogramInputs, job: NetworkJob, report: Callable[[Report], None]) -> _Arrays:
    """Train a network, or resume what a killed call left."""
    training = SpectrogramTraining(inputs, job.train, seed=job.seed)
    plan = FitPlan(
        name=job.name,
        epochs=inputs.loop.epochs,
        targets=inputs.targets,
        validation=job.predicted,
        loss_weights=np.ones(inputs.labels),
        checkpoint=job.checkpoint,
    )
    history = train_epochs(training, plan, policy=keep_last, report=report)
    arrays = {name: value.numpy() for name, value in training.weights().items()}
    return arrays, training.predict_logits(job.predicted), history


def _shown_on(bar: TrainingBar, jobs: Sequence[NetworkJob]) -> Callable[[Report], None]:
    """Return what shows a report of one of the jobs on the bar and in the log."""
    clips_of = {job.name: len(job.train) for job in jobs}

    def show(report: Report) -> None:
        if isinstance(report, EpochReport):
            row = report.last
            clips = clips_of[row["run"]] * report.count
            bar.advance(row["run"], clips=clips, loss=row["train_loss"], steps=report.count)
            log_report(report)

    return show
