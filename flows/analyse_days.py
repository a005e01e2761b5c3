"""What nightly, backfill and retry share: the shards of their run as mapped tasks, and its artifact."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task, unmapped
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task

from emolake.environment import default_config_file
from emolake.lake.connect import open_lake
from emolake.lake.transact import LakeError
from emolake.output.logs import forwarded, logged
from emolake.pipeline import run_progress
from emolake.pipeline.execution import execute, planned_run, shards_at_once, submitting
from emolake.pipeline.interrupts import check_not_stopping, is_stopping
from emolake.pipeline.loaded_models import planned_model
from emolake.pipeline.run_request import RunRequest
from emolake.pipeline.run_summary import run_markdown
from emolake.pipeline.runs import Log, Run
from emolake.pipeline.scheduling import ShardFuture, Submit, Wave, may_succeed_later
from emolake.pipeline.shard import run_shard
from emolake.schemas.records import AnalysisKey, Counts, SourceObject
from emolake.settings import Settings, load_settings
from emolake.upkeep.run_alerts import alerting

_log = logging.getLogger(__name__)

_Runner = ThreadPoolTaskRunner[Counts]


def _is_tried_again(_task: Task[..., Counts], _run: TaskRun, state: State[Counts]) -> bool:
    return may_succeed_later(state.result(raise_on_failure=False)) and not is_stopping()


@task(name="shard", retry_condition_fn=_is_tried_again, persist_result=False)
def shard(
    config: Path | None,
    objects: Sequence[SourceObject],
    key: AnalysisKey,
    run_id: str,
    message: str,
    force: bool,
) -> Counts:
    """Analyse and commit one shard; only keys go in, and counts come out."""
    check_not_stopping()
    settings = load_settings(config)
    entry = planned_model(settings, key)
    return run_shard(
        objects, settings=settings, entry=entry, key=key, run_id=run_id, message=message, force=force
    )


def analyse_days(request: RunRequest, config: Path | None) -> dict[str, object]:
    """Run a request within a flow, which gets the shards as task runs and the artifact; return the run's figures.

    Raises:
        RunFailedError: a shard failed, or too large a share of the recordings was bad; what was good is committed.
    """
    config = config or default_config_file()
    config = config and config.resolve()
    settings = load_settings(config)
    with _logged(settings), alerting(settings, request.flow) as ended:
        summary = _analysed(request, settings, config)
        ended(summary)
        return summary


@contextmanager
def _logged(settings: Settings) -> Iterator[None]:
    """Hand what is logged to Prefect, and write it to standard error where a format was chosen."""
    logs = settings.logs
    with ExitStack() as stack:
        # The command line has its own format, and may show bars.
        if logs.format != "auto" and not run_progress.is_shown():
            stack.enter_context(logged(logs))
        stack.enter_context(forwarded(get_run_logger()))
        stack.enter_context(run_progress.reported(logs.progress_s))
        yield


def _analysed(request: RunRequest, settings: Settings, config: Path | None) -> dict[str, object]:
    log = _log
    run = planned_run(request, settings)
    try:
        with submitting(run, partial(_submitted_to_prefect, config=config)) as submit:
            execute(run, log, submit)
    except Exception:
        _publish(run, config, log)
        raise
    _publish(run, config, log)
    return run.summary


def _publish(run: Run, config: Path | None, log: Log) -> None:
    """Make the artifact of a run that has ended, and was not stopped."""
    try:
        with open_lake(run.settings.warehouse, read_only=True) as lake:
            markdown = lake.answer(lambda: run_markdown(run, lake, config))
    except LakeError as error:
        log.warning("the run gets no artifact: %s", error)
        return
    create_markdown_artifact(
        key=f"emolake-{run.request.flow}", markdown=markdown, description=f"Run {run.run_id}"
    )


@contextmanager
def _submitted_to_prefect(run: Run, config: Path | None) -> Iterator[Submit]:
    """Give what hands shards to Prefect, as task runs; of a cluster's it sees only the lines."""
    with _Runner(max_workers=shards_at_once(run)) as runner:
        yield _submitter(run, config, runner)


def _submitter(run: Run, config: Path | None, runner: _Runner) -> Submit:
    """Return what hands a wave of shards to Prefect, as mapped tasks with retries."""
    options = run.settings.run
    mapped = shard.with_options(
        retries=options.shard_retries, retry_delay_seconds=options.shard_retry_delay_s
    )

    def submit(wave: Wave) -> list[ShardFuture]:
        futures = runner.map(
            mapped,
            {
                "config": unmapped(config),
                "objects": [each.objects for each in wave],
                "key": unmapped(run.key),
                "run_id": unmapped(run.run_id),
                "message": [each.name for each in wave],
                "force": unmapped(run.request.replaces),
            },
        )
        return [_PrefectShard(future) for future in futures]

    return submit


class _PrefectShard:
    """A shard as a task run of Prefect; see `emolake.pipeline.scheduling.ShardFuture`."""

    def __init__(self, future: PrefectFuture[Any]) -> None:
        self._future = future

    def add_done_callback(self, callback: Callable[[ShardFuture], None]) -> None:
        self._future.add_done_callback(lambda _: callback(self))

    def outcome(self) -> Counts | BaseException:
        # A task run that crashed, or was cancelled, has neither figures nor an exception of its own.
        result: object = self._future.result(raise_on_failure=False)
        return result if isinstance(result, Counts | BaseException) else RuntimeError(str(result))
