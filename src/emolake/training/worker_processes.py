"""Networks trained side by side, each in a process and a thread of its own, with one progress bar for all."""

import logging
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emolake.models.families.spectrogram_options import FeatureOptions, NetworkOptions
from emolake.models.threads import one_thread
from emolake.training.gradient_training import told, valid_figures
from emolake.training.spectrogram_store import FeatureCache
from emolake.training.spectrogram_training import EpochEnd, LoopOptions, State, answers, train_network
from emolake.training.trainer import HistoryRow
from emolake.training.training_bar import TrainingBar, training_bar
from emolake.training.training_run import Checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What all jobs share. It travels to the processes, so the features stay in their folder."""

    cache: Path
    targets: np.ndarray
    strata: tuple[str, ...]
    labels: int
    features: FeatureOptions
    network: NetworkOptions
    loop: LoopOptions


@dataclass(frozen=True)
class Job:
    """One network to train: on the clips `heard`, answering those `held_out`; both are indices."""

    name: str
    member: int
    seed: int
    heard: np.ndarray
    held_out: np.ndarray
    checkpoint: Checkpoint


@dataclass(frozen=True)
class Outcome:
    """The network's weights, its logits [held_out, labels], and a row for each epoch.

    The rows' validation is on the clips held out, by which nothing is chosen.
    """

    state: State
    logits: np.ndarray
    history: list[HistoryRow]


@dataclass(frozen=True)
class _Epochs:
    """Epochs that a job finished."""

    row: HistoryRow
    clips: int
    count: int = 1


_reports: "Queue[_Epochs] | None" = None  # of a worker process, set when it starts


def run_jobs(work: Work, jobs: Sequence[Job], *, workers: int | None) -> list[tuple[Job, Outcome]]:
    """Do all jobs, at most `workers` at once (None: one for every processor), and return them in order.

    With one worker the jobs are done in this process. The outcome is the same, since each uses one thread.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    with training_bar(len(jobs) * work.loop.epochs, "epochs") as bar:
        if workers == 1:
            with one_thread():
                return [(job, _run(work, job, partial(_show, bar))) for job in jobs]
        # a fork would copy the locks of torch's threads, and not the threads
        context = multiprocessing.get_context("spawn")
        reports: Queue[_Epochs] = context.Queue()
        others = set(multiprocessing.active_children())
        with ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start, initargs=(reports,)
        ) as pool:
            with _ctrl_c_ignored():  # as the workers inherit it, so that none is in the middle of its imports
                futures = [pool.submit(_run_in_worker, work, job) for job in jobs]
            try:
                _follow(futures, reports, bar)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in set(multiprocessing.active_children()) - others:
                    child.terminate()  # what it did is in its checkpoint, and its epoch may take long
                raise
            outcomes = [_tensors(*future.result()) for future in futures]
    return list(zip(jobs, outcomes, strict=True))


def _run(work: Work, job: Job, report: Callable[[_Epochs], None]) -> Outcome:
    """Train a network, or go on where a killed call left it."""
    cache = FeatureCache.open(work.cache, warps=work.loop.augment.warps)
    found = job.checkpoint.read()
    history: list[HistoryRow] = [] if found is None else found["history"]
    if history:
        report(_Epochs(history[-1], len(job.heard) * len(history), len(history)))

    def held_out_logits(state: State) -> np.ndarray:
        if not len(job.held_out):
            return np.zeros((0, work.labels), dtype=np.float32)
        return answers(
            state, cache, job.held_out, labels=work.labels, features=work.features, network=work.network
        )

    def on_epoch(end: EpochEnd) -> None:
        valid_loss, uar = valid_figures(
            held_out_logits(end.averaged), work.targets[job.held_out], np.ones(work.labels)
        )
        history.append({
            "run": job.name, "epoch": end.epoch, "train_loss": end.loss, "valid_loss": valid_loss, "valid_uar": uar,
            "learning_rate": end.learning_rate,
        })  # fmt: skip
        job.checkpoint.write({"history": history, "network": dict(end.content)})
        report(_Epochs(history[-1], len(job.heard)))

    state = train_network(
        cache,
        work.targets,
        work.strata,
        job.heard,
        labels=work.labels,
        features=work.features,
        network=work.network,
        options=work.loop,
        seed=job.seed,
        on_epoch=on_epoch,
        resume=None if found is None else found["network"],
    )
    return Outcome(state, held_out_logits(state), history)


def _start(reports: "Queue[_Epochs]") -> None:
    global _reports
    _reports = reports
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Ctrl-C goes to all processes; the parent ends what it started. Only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_with_parent() -> None:
    """A killed parent cannot end its workers, and they would write into the folder that is taken up again."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_in_worker(work: Work, job: Job) -> tuple[dict[str, np.ndarray], np.ndarray, list[HistoryRow]]:
    """As `_run`, with arrays: tensors would travel by file descriptors, of which there may be too few."""
    if _reports is None:
        raise RuntimeError("this process was not started by run_jobs")
    outcome = _run(work, job, _reports.put)
    arrays = {name: value.numpy() for name, value in outcome.state.items()}
    return arrays, outcome.logits, outcome.history


def _tensors(state: dict[str, np.ndarray], logits: np.ndarray, history: list[HistoryRow]) -> Outcome:
    return Outcome({name: torch.from_numpy(value) for name, value in state.items()}, logits, history)


def _show(bar: TrainingBar, epochs: _Epochs) -> None:
    row = epochs.row
    bar.advance(row["run"], clips=epochs.clips, loss=row["train_loss"], steps=epochs.count)
    log.info("%s", told(row))


def _follow(futures: Sequence["Future[Any]"], reports: "Queue[_Epochs]", bar: TrainingBar) -> None:
    """Show the epochs until all jobs are done; raises what a job raised, as soon as it does."""
    waiting = set(futures)
    while waiting:
        finished, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
        while True:
            try:
                _show(bar, reports.get_nowait())
            except queue.Empty:
                break
        for future in finished:
            future.result()
