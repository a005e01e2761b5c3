"""Networks trained side by side, each in a process and a thread of its own, with one progress bar for all."""

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from emolake.models.threads import one_thread
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

if TYPE_CHECKING:
    from multiprocessing.queues import Queue


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


_reports: "Queue[EpochReport] | None" = None  # of a worker process, set when it starts


def train_networks(
    inputs: SpectrogramInputs, jobs: Sequence[NetworkJob], *, workers: int | None
) -> list[NetworkResult]:
    """Do all jobs, at most `workers` at once (None: one for every processor), and return their results in order.

    With one worker the jobs are done in this process. The results are the same, since each uses one thread.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    with training_bar(len(jobs) * inputs.loop.epochs, "epochs") as bar:
        show = _shown_on(bar, jobs)
        if workers == 1:
            with one_thread():
                return [_train_network(inputs, job, show) for job in jobs]
        # a fork would copy the locks of torch's threads, and not the threads
        context = multiprocessing.get_context("spawn")
        reports: Queue[EpochReport] = context.Queue()
        others = set(multiprocessing.active_children())
        with ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start, initargs=(reports,)
        ) as pool:
            with _ctrl_c_ignored():  # as the workers inherit it, so that none is in the middle of its imports
                futures = [pool.submit(_run_in_worker, inputs, job) for job in jobs]
            try:
                _follow(futures, reports, show)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in set(multiprocessing.active_children()) - others:
                    child.terminate()  # what it did is in its checkpoint, and its epoch may take long
                raise
            return [_with_tensors(*future.result()) for future in futures]


def _train_network(
    inputs: SpectrogramInputs, job: NetworkJob, report: Callable[[EpochReport], None]
) -> NetworkResult:
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
    return NetworkResult(training.weights(), training.predict_logits(job.predicted), history)


def _shown_on(bar: TrainingBar, jobs: Sequence[NetworkJob]) -> Callable[[EpochReport], None]:
    """Return what shows a report of one of the jobs on the bar and in the log."""
    clips_of = {job.name: len(job.train) for job in jobs}

    def show(report: EpochReport) -> None:
        row = report.last
        clips = clips_of[row["run"]] * report.count
        bar.advance(row["run"], clips=clips, loss=row["train_loss"], steps=report.count)
        log_report(report)

    return show


def _start(reports: "Queue[EpochReport]") -> None:
    global _reports
    _reports = reports
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Ignore Ctrl-C, which goes to all processes: the parent ends those that it started.

    Only the main thread may set that; in another nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_with_parent() -> None:
    """End this process when its parent has ended: a killed parent cannot, and the folder may be in use again."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_in_worker(
    inputs: SpectrogramInputs, job: NetworkJob
) -> tuple[dict[str, np.ndarray], np.ndarray, list[HistoryRow]]:
    """Do as `_train_network`, with arrays: tensors would travel by file descriptors, of which there may be too few."""
    if _reports is None:
        raise RuntimeError("this process was not started by train_networks")
    result = _train_network(inputs, job, _reports.put)
    arrays = {name: value.numpy() for name, value in result.weights.items()}
    return arrays, result.logits, result.history


def _with_tensors(
    weights: dict[str, np.ndarray], logits: np.ndarray, history: list[HistoryRow]
) -> NetworkResult:
    return NetworkResult({name: torch.from_numpy(value) for name, value in weights.items()}, logits, history)


def _follow(
    futures: Sequence["Future[Any]"], reports: "Queue[EpochReport]", show: Callable[[EpochReport], None]
) -> None:
    """Show the epochs until all jobs are done; raise what a job raised as soon as it does."""
    waiting = set(futures)
    while waiting:
        finished, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
        while True:
            try:
                show(reports.get_nowait())
            except queue.Empty:
                break
        for future in finished:
            future.result()
