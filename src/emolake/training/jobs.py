"""Networks trained side by side, each in a process and a thread of its own, with one progress bar for all."""

import multiprocessing
import os
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from emolake.models.spectrogram_cnn import FeatureOptions, NetworkOptions
from emolake.training.cache import FeatureCache
from emolake.training.loop import LoopOptions, State, answers, train_network


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


@dataclass(frozen=True)
class Outcome:
    """The network's weights, and its logits [held_out, labels]."""

    state: State
    logits: np.ndarray


@dataclass(frozen=True)
class _Epoch:
    """An epoch that a job finished."""

    job: str
    loss: float
    clips: int


_reports: "Queue[_Epoch] | None" = None  # of a worker process, set when it starts


def run_jobs(work: Work, jobs: Sequence[Job], *, workers: int | None) -> list[tuple[Job, Outcome]]:
    """Do all jobs, at most `workers` at once (None: one for every processor), and return them in order.

    With one worker the jobs are done in this process. The outcome is the same, since each uses one thread.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    with _bar(len(jobs) * work.loop.epochs) as bar:
        if workers == 1:
            with _one_thread():
                return [(job, _run(work, job, bar.advance)) for job in jobs]
        # a fork would copy the locks of torch's threads, and not the threads
        context = multiprocessing.get_context("spawn")
        reports: Queue[_Epoch] = context.Queue()
        with ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start, initargs=(reports,)
        ) as pool:
            futures = [pool.submit(_run_in_worker, work, job) for job in jobs]
            try:
                _follow(futures, reports, bar)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            outcomes = [_tensors(*future.result()) for future in futures]
    return list(zip(jobs, outcomes, strict=True))


def _run(work: Work, job: Job, report: Callable[[_Epoch], None]) -> Outcome:
    cache = FeatureCache.open(work.cache, warps=work.loop.augment.warps)
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
        on_epoch=lambda _, loss: report(_Epoch(job.name, loss, len(job.heard))),
    )
    logits = np.zeros((0, work.labels), dtype=np.float32)
    if len(job.held_out):
        logits = answers(
            state, cache, job.held_out, labels=work.labels, features=work.features, network=work.network
        )
    return Outcome(state, logits)


def _start(reports: "Queue[_Epoch]") -> None:
    global _reports
    _reports = reports
    torch.set_num_threads(1)


def _run_in_worker(work: Work, job: Job) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """As `_run`, with arrays: tensors would travel by file descriptors, of which there may be too few."""
    if _reports is None:
        raise RuntimeError("this process was not started by run_jobs")
    outcome = _run(work, job, _reports.put)
    return {name: value.numpy() for name, value in outcome.state.items()}, outcome.logits


def _tensors(state: dict[str, np.ndarray], logits: np.ndarray) -> Outcome:
    return Outcome({name: torch.from_numpy(value) for name, value in state.items()}, logits)


def _follow(futures: Sequence["Future[Any]"], reports: "Queue[_Epoch]", bar: "_Bar") -> None:
    """Show the epochs until all jobs are done; raises what a job raised, as soon as it does."""
    waiting = set(futures)
    while waiting:
        finished, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
        while True:
            try:
                bar.advance(reports.get_nowait())
            except queue.Empty:
                break
        for future in finished:
            future.result()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums over several threads depend on their number, and seeds are to fix the weights."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Bar:
    """Epochs of all networks, with the last loss and the rate."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("training", total=total, loss="", rate="")
        self._clips = 0

    def advance(self, epoch: _Epoch) -> None:
        self._clips += epoch.clips
        elapsed = self._progress.tasks[0].elapsed or 0.0
        self._progress.update(
            self._task,
            advance=1,
            description=epoch.job,
            loss=f"loss {epoch.loss:.3f}",
            rate=f"{self._clips / elapsed:.0f} clips/s" if elapsed else "",
        )


@contextmanager
def _bar(epochs: int) -> Iterator[_Bar]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs, {task.fields[loss]}, {task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Bar(progress, epochs)
