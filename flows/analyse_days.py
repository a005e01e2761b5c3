"""What nightly and backfill share: plan, shards as mapped tasks, aggregation, the run's row and its artifact."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, cast

from prefect import flow, get_run_logger, task, unmapped
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from emolake.environment import default_config_file
from emolake.errors import EmolakeError
from emolake.lake.connect import open_lake
from emolake.lake.transact import Lake, LakeError
from emolake.models.registry import ModelChangedError, resolve_device
from emolake.pipeline import run_progress
from emolake.pipeline.identity import analysis_key
from emolake.pipeline.interrupts import interrupts_deferred
from emolake.pipeline.presence import Presence
from emolake.pipeline.quarantine import quarantined
from emolake.pipeline.run_health import record_run_health
from emolake.pipeline.runs import Run, RunFailedError, mark_died
from emolake.pipeline.shard import loaded_model, run_shard
from emolake.schemas.records import AnalysisKey, Counts, SourceObject
from emolake.settings import load_settings
from emolake.source.opening import open_source
from emolake.source.store import SourceError
from emolake.tasks.aggregate import aggregate_days, held_back_days
from emolake.tasks.plan import plan_day, shards

# How long an interrupt may wait while shards are awaited.
_INTERRUPTS_S = 0.5
# Shards of a day that are under way together, by what they are called.
Wave = Mapping[str, PrefectFuture[Counts]]


def _may_succeed_later(_task: Task[..., Counts], _run: TaskRun, state: State[Counts]) -> bool:
    """Retry what servers, disks and other writers can cause; never a decoder, a model or a wrong configuration."""
    return isinstance(state.result(raise_on_failure=False), SourceError | LakeError | OSError)


@task(name="shard", retry_condition_fn=_may_succeed_later, persist_result=False)
def shard(
    config: Path | None,
    objects: Sequence[SourceObject],
    key: AnalysisKey,
    run_id: str,
    message: str,
    force: bool,
) -> Counts:
    """Analyse and commit one shard; only keys go in, and counts come out."""
    settings = load_settings(config)
    entry = settings.registry.entry(key.model)
    if entry.fingerprint != key.model_fingerprint:
        raise ModelChangedError(
            f"the files of the model {key.model!r} were changed while the run was under way; run again"
        )
    loaded_model(entry, settings.inference)  # which settles the runtime that is a part of the key
    if analysis_key(settings, entry) != key:
        raise EmolakeError(
            "the configuration was changed while the run was under way, or means another runtime on the machine of "
            "this shard than where the run was planned; run again, or set inference.runtime and inference.device"
        )
    return run_shard(
        objects, settings=settings, entry=entry, key=key, run_id=run_id, message=message, force=force
    )


def run_days(
    flow_name: str,
    config: Path | None,
    days: Sequence[date],
    *,
    model: str | None = None,
    force: bool = False,
    retried: Sequence[str] | None = None,
    parallel_days: int = 1,
) -> dict[str, object]:
    """Run `analyse_days` with as many shards side by side as the configuration allows, or as there are days at once."""
    config = config or default_config_file()
    workers = max(load_settings(config).run.parallel_shards, parallel_days)
    # Prefect's stubs leave the type of a runner's futures open to no subclass.
    runner = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=workers))
    sized = analyse_days.with_options(task_runner=runner)
    return sized(flow_name, config and config.resolve(), days, model, force, retried, parallel_days)


@flow(name="analyse-days", flow_run_name="{flow_name}", persist_result=False)
def analyse_days(
    flow_name: str,
    config: Path | None,
    days: Sequence[date],
    model: str | None,
    force: bool,
    retried: Sequence[str] | None,
    parallel_days: int,
) -> dict[str, object]:
    """Analyse what the lake lacks of some days, aggregate those whose ledger changed, and return the run's figures.

    Where `retried` is given, only what is quarantined for one of these reasons is analysed, for any when it is empty.
    Days begin in the order given, `parallel_days` of them at once.

    Raises:
        RunFailedError: a shard failed, or too large a share of the recordings was bad; what was good is committed.
    """
    settings = load_settings(config)
    entry = settings.registry.entry(model)
    entry.prepare(settings.inference)
    run = Run(flow_name, days, analysis_key(settings, entry), settings)
    with open_lake(settings.warehouse) as lake:
        try:
            for died in mark_died(lake, settings.run, run_id=run.run_id):
                get_run_logger().warning("%s died; what it committed stands, the rest is taken up now", died)
            with lake.explained(), run.alive(), interrupts_deferred() as raise_deferred:
                _work(run, config, lake, parallel_days, raise_deferred, force=force, retried=retried)
        except BaseException as error:
            run.failures.append(str(error) or type(error).__name__)
            try:
                with lake.explained():
                    run.record(lake, "failed")
            except LakeError as lost:
                get_run_logger().warning(
                    "the lake does not take the run's end; the next one notes it: %s", lost
                )
            raise
        if run.recorded or run.failures:
            run.record(lake, "failed" if run.failures else "completed")
    create_table_artifact(key=f"emolake-{flow_name}", table=[run.summary], description=f"Run {run.run_id}")
    if run.failures:
        raise RunFailedError(f"the run {run.run_id} failed: {run.error}")
    return run.summary


def _work(
    run: Run,
    config: Path | None,
    lake: Lake,
    parallel_days: int,
    raise_deferred: Callable[[], None],
    *,
    force: bool,
    retried: Sequence[str] | None,
) -> None:
    settings, days = run.settings, run.days
    run.device = resolve_device(settings.inference.device)
    started = ((day, _analyse_day(run, config, lake, day, force=force, retried=retried)) for day in days)
    _side_by_side(run, started, parallel_days, raise_deferred)
    if run.counts.labelled:
        health = record_run_health(lake, days, run_id=run.run_id, key=run.key, options=settings.health)
        get_run_logger().info("%s: %s", health.verdict, health.detail)
        if health.verdict == "flat":
            run.failures.append(f"the model {run.key.model} is degenerate: {health.detail}")
    first, last, by = min(days), max(days), settings.aggregate.by
    for day, rows in aggregate_days(lake, first, last, dimensions=by, run_id=run.run_id):
        get_run_logger().info("aggregated %s: %d rows", day, rows)
        raise_deferred()
    held_back = held_back_days(lake, first, last, dimensions=by)
    if held_back:
        run.failures.append(
            f"not aggregated: {', '.join(map(str, held_back))}, where a degenerate model spoke; "
            "mend or change the model and backfill them"
        )
    run.judge()


def _side_by_side(
    run: Run, days: Iterable[tuple[date, Iterator[Wave]]], limit: int, raise_deferred: Callable[[], None]
) -> None:
    """Keep up to `limit` days under way; each goes on when its wave of shards has ended, and one that fails ends alone.

    All listing, planning and judging is done in this thread, with its one connection: only shards run beside it, and
    an interrupt reaches it while it waits, or when what a day needs next has been planned.
    """
    remaining, under_way, at_work = deque(days), dict[date, Iterator[Wave]](), dict[date, Wave]()
    unfinished, ended = Counter[date](), SimpleQueue[date]()
    while remaining or under_way:
        raise_deferred()
        if remaining and len(under_way) < limit:
            day, waves = remaining.popleft()
            under_way[day] = waves
        else:
            try:
                day = ended.get(timeout=_INTERRUPTS_S)
            except Empty:
                continue
            unfinished[day] -= 1
        if unfinished[day]:
            continue
        _count(run, at_work.pop(day, {}))
        try:
            wave = next(under_way[day], {})
        except SourceError as error:
            run.failures.append(f"{day}: {error}")
            wave = {}
        except Exception:
            # It ends the run. What is at work on other days still commits, so it is waited for and counted.
            for other in at_work.values():
                _count(run, other)
            raise
        if wave:
            at_work[day] = wave
        else:
            del under_way[day]
        unfinished[day] = len(wave)
        for future in wave.values():
            future.add_done_callback(partial(_tell, ended, day))


def _count(run: Run, wave: Wave) -> None:
    """Add up what shards came to; those that are at work are waited for."""
    for message, future in wave.items():
        result: object = future.result(raise_on_failure=False)
        if isinstance(result, Counts):
            run.add(result)
        else:
            run.failures.append(f"{message}: {result}")


def _tell(ended: SimpleQueue[date], day: date, _future: PrefectFuture[Counts]) -> None:
    ended.put(day)


def _analyse_day(
    run: Run, config: Path | None, lake: Lake, day: date, *, force: bool, retried: Sequence[str] | None
) -> Iterator[Wave]:
    """Yield the day's shards wave by wave, to be taken up again when all of the wave have ended."""
    settings, pattern = run.settings, run.settings.source.key_pattern()
    source = open_source(settings.source.uri, settings.source.s3)
    only = None if retried is None else {each.recording_id for each in quarantined(lake, day, day, retried)}
    force = force or retried is not None
    presence = Presence(lake, source, pattern, day)
    planned = plan_day(
        source,
        pattern,
        lake,
        day,
        key=run.key,
        listing=run.listing,
        policy=settings.policy,
        force=force,
        only=only,
        presence=presence,
    )
    cut = shards(planned, shard_seconds=settings.run.shard_seconds, shard_objects=settings.run.shard_objects)
    mapped = shard.with_options(
        retries=settings.run.shard_retries, retry_delay_seconds=settings.run.shard_retry_delay_s
    )
    number = 0
    # Waves keep the plan of a very large day from lying in memory as a whole.
    for wave in _waves(cut, 16 * settings.run.parallel_shards):
        if not run.recorded:
            run.record(lake)
        for objects in wave:
            run_progress.expect(str(day), len(objects))
        messages = [f"{day}, shard {number + offset + 1}" for offset in range(len(wave))]
        futures = mapped.map(
            unmapped(config), wave, unmapped(run.key), unmapped(run.run_id), messages, unmapped(force)
        )
        yield dict(zip(messages, futures, strict=True))
        number += len(wave)
    deleted, reappeared = presence.settle(run.run_id)
    if deleted or reappeared:
        if not run.recorded:
            run.record(lake)  # the commits that mark them name the run
        get_run_logger().info(
            "%s: %d recordings are no longer at the source, %d are back", day, deleted, reappeared
        )


def _waves(cut: Iterable[list[SourceObject]], size: int) -> Iterator[list[list[SourceObject]]]:
    iterator = iter(cut)
    while wave := list(islice(iterator, size)):
        yield wave
