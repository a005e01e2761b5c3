"""What follows a run's shards: the health of its model, the daily table, empty days, and whether the run has failed."""

from collections.abc import Callable, Iterator

from emolake.lake.transact import Lake
from emolake.pipeline.empty_days import judge_listings
from emolake.pipeline.run_health import record_run_health
from emolake.pipeline.runs import Log, Run
from emolake.tasks.aggregate import aggregate_days, held_back_days


def publish(run: Run, lake: Lake, log: Log, raise_interrupt: Callable[[], None]) -> Iterator[str]:
    """Record the model's health, aggregate the days whose ledger changed, and yield what the run has failed by.

    `raise_interrupt` raises what has interrupted the run, if anything has; it is called between two days.
    """
    settings = run.settings
    if run.counts.labelled:
        health = record_run_health(lake, run.days, run_id=run.run_id, key=run.key, options=settings.health)
        log.info("%s: %s", health.verdict, health.detail)
        if health.verdict == "flat":
            yield f"the model {run.key.model} is degenerate: {health.detail}"
    by = settings.aggregate.by
    for day, rows in aggregate_days(lake, run.days, dimensions=by, run_id=run.run_id):
        log.info("aggregated %s: %d rows", day, rows)
        raise_interrupt()
    held_back = held_back_days(lake, run.days, dimensions=by)
    if held_back:
        yield (
            f"not aggregated: {', '.join(map(str, held_back))}, where a degenerate model gave labels; "
            "fix or change the model and backfill them"
        )
    yield from _too_many_bad(run)
    yield from judge_listings(run, lake)
    for warning in run.warnings:
        log.warning("%s", warning)


def _too_many_bad(run: Run) -> Iterator[str]:
    limit, counts = run.settings.run.max_bad_share, run.counts
    bad_share = counts.quarantined / counts.done if counts.done else 0.0
    # What is retried was bad before: it says nothing of the source as a whole.
    if run.request.retried is None and bad_share > limit:
        yield (
            f"{counts.quarantined} of {counts.done} recordings were quarantined, more than "
            f"run.max_bad_share = {limit:g} allows; the good ones are committed"
        )
