"""A run from its plan to its daily tables, whatever runs its shards: threads of this process, Prefect, or a cluster."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from functools import partial
from time import time

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from emolake import telemetry
from emolake.lake.connect import open_lake
from emolake.lake.memory import bound_memory
from emolake.output.logs import about
from emolake.pipeline.day_plan import waves_of_day
from emolake.pipeline.identity import analysis_key
from emolake.pipeline.interrupts import check_not_stopping, interrupts_deferred, wait_unless_stopping
from emolake.pipeline.loaded_models import planned_model
from emolake.pipeline.publication import publish
from emolake.pipeline.publishing import published_after
from emolake.pipeline.run_request import RunRequest
from emolake.pipeline.run_watch import watched
from emolake.pipeline.runs import Log, Run, RunFailedError, record_if_possible, recorded
from emolake.pipeline.scheduling import (
    PlannedShard,
    ShardFuture,
    Submit,
    Wave,
    may_succeed_later,
    side_by_side,
)
from emolake.pipeline.shard import run_shard
from emolake.schemas.records import Counts
from emolake.settings import Settings


def planned_run(request: RunRequest, settings: Settings) -> Run:
    """Return the run that a request asks for, with its model's files at hand and what the model decides settled."""
    entry = settings.registry.entry(request.model)
    entry.prepare(settings.inference)
    inference = settings.inference.model_copy(
        update={"abstain_below": entry.abstain_below(settings.inference)}
    )
    settled = settings.model_copy(update={"inference": inference})
    return Run(request, analysis_key(settled, entry), settled)


def shards_at_once(run: Run) -> int:
    """Return how many shards run side by side: what the configuration allows, or one for each day at once."""
    return max(run.settings.shards_at_once, run.request.parallel_days)


def run_here(request: RunRequest, settings: Settings, log: Log) -> Run:
    """Run a request from this process alone, its shards in threads or where [engine] says; see `execute`."""
    run = planned_run(request, settings)
    with submitting(run, _submitted_to_threads) as submit:
        execute(run, log, submit)
    return run


def submitting(
    run: Run, local: Callable[[Run], AbstractContextManager[Submit]]
) -> AbstractContextManager[Submit]:
    """Return what gives the run's `Submit`: that of the cluster, where [engine] says so, or the local one."""
    if not run.settings.engine.is_ray:
        return local(run)
    from emolake.pipeline.ray_engine import submitted_to_ray

    return submitted_to_ray(run)


@contextmanager
def _submitted_to_threads(run: Run) -> Iterator[Submit]:
    pool = ThreadPoolExecutor(shards_at_once(run), thread_name_prefix="shard")
    try:
        yield lambda wave: [
            _ThreadShard(pool.submit(copy_context().run, _tried, run, shard)) for shard in wave
        ]
    finally:
        pool.shutdown(cancel_futures=True)


def execute(run: Run, log: Log, submit: Submit) -> None:
    """Analyse what the lake lacks of the run's days, and aggregate those whose ledger changed.

    A signal that asks the run to stop lets the shards at work commit, within run.grace_s, and begins no other.

    Args:
        run: what is done; its figures grow.
        log: takes what a person may want to know.
        submit: hands shards to what runs them.

    Raises:
        RunFailedError: a shard failed, or too large a share of the recordings was bad; what was good is committed.
        KeyboardInterrupt: Ctrl-C asked the run to stop; another signal raises what its handler does.
    """
    settings, request = run.settings, run.request
    with (
        about(run=run.run_id),
        telemetry.started(settings.telemetry),
        _measured(run),
        open_lake(settings.warehouse) as lake,
        published_after(run, lake, log),
        interrupts_deferred(settings.run.grace_s) as stop,
        watched(run) as begin_watch,
        recorded(run, lake, log),
    ):
        bound_memory(lake.connection, memory_mb=settings.run.memory_mb)

        def raise_interrupt() -> None:
            if stop.signal is not None and not run.stopped:
                run.stop(stop.signal.name)
                log.warning(
                    "%s: the shards at work are finished, in %g s at most; once more ends the run at once",
                    stop.signal.name,
                    settings.run.grace_s,
                )
                record_if_possible(run, lake, log)
            stop.raise_if_asked()

        def submit_watched(wave: Wave) -> Sequence[ShardFuture]:
            begin_watch()
            return submit(wave)

        for outcome in side_by_side(
            ((day, waves_of_day(run, lake, day, log, raise_interrupt)) for day in request.days),
            limit=request.parallel_days,
            submit=submit_watched,
            raise_interrupt=raise_interrupt,
        ):
            run.add(outcome)
            if run.stopped:
                record_if_possible(run, lake, log)
        run.failures += publish(run, lake, log, raise_interrupt)
    if run.failures:
        raise RunFailedError(f"the run {run.run_id} failed: {run.error}", run.summary)


@contextmanager
def _measured(run: Run) -> Iterator[None]:
    """Trace the run, and count how it ended."""
    outcome = "failed"
    try:
        with telemetry.span("run", run=run.run_id, flow=run.request.flow, days=len(run.request.days)):
            yield
        outcome = run.outcome
    finally:
        telemetry.count("emolake.runs", flow=run.request.flow, outcome=outcome)
        telemetry.level("emolake.last_run", time(), flow=run.request.flow, outcome=outcome)


def _tried(run: Run, shard: PlannedShard) -> Counts:
    """Analyse and commit one shard, again where that may succeed later."""
    options = run.settings.run
    retrying = Retrying(
        stop=stop_after_attempt(options.shard_retries + 1),
        wait=wait_fixed(options.shard_retry_delay_s),
        retry=retry_if_exception(may_succeed_later),
        sleep=wait_unless_stopping,
        reraise=True,
    )
    counts: Counts = retrying(partial(_attempt, run, shard))
    return counts


def _attempt(run: Run, shard: PlannedShard) -> Counts:
    check_not_stopping()
    return run_shard(
        shard.objects,
        settings=run.settings,
        entry=planned_model(run.settings, run.key),
        key=run.key,
        run_id=run.run_id,
        message=shard.name,
        force=run.request.replaces,
    )


class _ThreadShard:
    """A shard in a thread of this process; see `emolake.pipeline.scheduling.ShardFuture`."""

    def __init__(self, future: Future[Counts]) -> None:
        self._future = future

    def add_done_callback(self, callback: Callable[[ShardFuture], None]) -> None:
        self._future.add_done_callback(lambda _: callback(self))

    def outcome(self) -> Counts | BaseException:
        return self._future.exception() or self._future.result()
