"""What nightly, backfill and retry share: the run's days side by side, shards as mapped tasks, and the artifact."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from prefect import flow, get_run_logger, task, unmapped
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import Task

from emolake.environment import default_config_file
from emolake.lake.connect import open_lake
from emolake.lake.transact import LakeError
from emolake.models.registry import resolve_device
from emolake.pipeline.day_plan import waves_of_day
from emolake.pipeline.identity import analysis_key
from emolake.pipeline.interrupts import interrupts_deferred
from emolake.pipeline.loaded_models import planned_model
from emolake.pipeline.publication import publish
from emolake.pipeline.run_request import RunRequest
from emolake.pipeline.runs import Run, RunFailedError, recorded
from emolake.pipeline.scheduling import ShardFuture, Wave, side_by_side
from emolake.pipeline.shard import run_shard
from emolake.schemas.records import AnalysisKey, Counts, SourceObject
from emolake.settings import load_settings
from emolake.source.store import SourceError


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
    entry = planned_model(settings, key)
    return run_shard(
        objects, settings=settings, entry=entry, key=key, run_id=run_id, message=message, force=force
    )


def run_days(request: RunRequest, config: Path | None) -> dict[str, object]:
    """Run `analyse_days` with as many shards side by side as the configuration allows, or as there are days at once."""
    config = config or default_config_file()
    workers = max(load_settings(config).run.parallel_shards, request.parallel_days)
    # Prefect's stubs leave the type of a runner's futures open to no subclass.
    runner = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=workers))
    return analyse_days.with_options(task_runner=runner)(request, config and config.resolve())


@flow(name="analyse-days", flow_run_name="{request.flow}", persist_result=False)
def analyse_days(request: RunRequest, config: Path | None) -> dict[str, object]:
    """Analyse what the lake lacks of some days, aggregate those whose ledger changed, and return the run's figures.

    Raises:
        RunFailedError: a shard failed, or too large a share of the recordings was bad; what was good is committed.
    """
    settings, log = load_settings(config), get_run_logger()
    entry = settings.registry.entry(request.model)
    entry.prepare(settings.inference)
    run = Run(request, analysis_key(settings, entry), settings)
    with (
        open_lake(settings.warehouse) as lake,
        recorded(run, lake, log),
        interrupts_deferred() as raise_interrupt,
    ):
        run.device = resolve_device(settings.inference.device)
        for outcome in side_by_side(
            ((day, waves_of_day(run, lake, day, log)) for day in request.days),
            limit=request.parallel_days,
            submit=_submitter(run, config),
            raise_interrupt=raise_interrupt,
        ):
            run.add(outcome)
        run.failures += publish(run, lake, log, raise_interrupt)
    table = [{name: value for name, value in run.summary.items() if name != "named_keys"}]
    create_table_artifact(key=f"emolake-{request.flow}", table=table, description=f"Run {run.run_id}")
    if run.failures:
        raise RunFailedError(f"the run {run.run_id} failed: {run.error}", run.summary)
    return run.summary


def _submitter(run: Run, config: Path | None) -> Callable[[Wave], list[ShardFuture]]:
    """Return what hands a wave of shards to Prefect, as mapped tasks with retries."""
    options = run.settings.run
    mapped = shard.with_options(
        retries=options.shard_retries, retry_delay_seconds=options.shard_retry_delay_s
    )
    force = run.request.force or run.request.retried is not None

    def submit(wave: Wave) -> list[ShardFuture]:
        futures = mapped.map(
            unmapped(config),
            [each.objects for each in wave],
            unmapped(run.key),
            unmapped(run.run_id),
            [each.name for each in wave],
            unmapped(force),
        )
        return [_PrefectShard(future) for future in futures]

    return submit


class _PrefectShard:
    """A shard as a task run of Prefect; see `emolake.pipeline.scheduling.ShardFuture`."""

    def __init__(self, future: PrefectFuture[Counts]) -> None:
        self._future = future

    def add_done_callback(self, callback: Callable[[ShardFuture], None]) -> None:
        self._future.add_done_callback(lambda _: callback(self))

    def outcome(self) -> Counts | BaseException:
        # A task run that crashed, or was cancelled, has neither figures nor an exception of its own.
        result: object = self._future.result(raise_on_failure=False)
        return result if isinstance(result, Counts | BaseException) else RuntimeError(str(result))
