"""Fits side by side, each in a process and a thread of its own, that report to the one that started them."""

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from emolake.models.threads import one_thread
from emolake.training.epochs import EpochReport

if TYPE_CHECKING:
    from multiprocessing.queues import Queue


Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class StepReport:
    """Clips that a fit has newly trained on, and their loss."""

    run: str
    clips: int
    loss: float


Report = EpochReport | StepReport
Work = Callable[[Job, Callable[[Report], None]], Result]
"""Does a job and reports on it. In a worker process it gets and gives no tensors: they would travel by file
descriptors, of which there may be too few."""


class _Worker:
    """What a worker process was started with."""

    work: "Work[Any, Any] | None" = None
    reports: "Queue[Report] | None" = None


def side_by_side(
    work: "Work[Job, Result]",
    jobs: Sequence[Job],
    *,
    workers: int | None,
    show: Callable[[Report], None],
) -> list[Result]:
    """Do all jobs, at most `workers` at once (None: one for every processor), and return their results in order.

    With one worker the jobs are done in this process. The results are the same, since each job uses one thread.

    Args:
        work: does one job; it is sent to each process once, so what all jobs share belongs into it.
        jobs: what each call gets.
        workers: most processes.
        show: gets every report, in this process.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers == 1:
        with one_thread():
            return [work(job, show) for job in jobs]
    # a fork would copy the locks of torch's threads, and not the threads
    context = multiprocessing.get_context("spawn")
    reports: Queue[Report] = context.Queue()
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start, initargs=(work, reports)
    ) as pool:
        with _ctrl_c_ignored():  # as the workers inherit it, so that none is in the middle of its imports
            futures = [pool.submit(_run_in_worker, job) for job in jobs]
        try:
            _follow(futures, reports, show)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()  # what it did is in its checkpoint, and its epoch may take long
            raise
        return [future.result() for future in futures]


def _start(work: "Work[Any, Any]", reports: "Queue[Report]") -> None:
    _Worker.work, _Worker.reports = work, reports
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


def _run_in_worker(job: Any) -> Any:
    if _Worker.work is None or _Worker.reports is None:
        raise RuntimeError("this process was not started by side_by_side")
    return _Worker.work(job, _Worker.reports.put)


def _follow(
    futures: Sequence["Future[Any]"], reports: "Queue[Report]", show: Callable[[Report], None]
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
