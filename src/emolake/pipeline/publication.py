"""What follows a run's shards: the health of its model, the daily table, empty days, and whether the run has failed."""

from collections.abc import Callable, Iterator
from datetime import date

from emolake.lake.transact import Lake
from emolake.pipeline.empty_days import judge_listings
from emolake.pipeline.run_health import record_run_health
from emolake.pipeline.runs import Log, Run
from emolake.schemas.days import DayRange
from emolake.tasks.adjust_shares import record_reliability
from emolake.tasks.aggregate import aggregate_days, held_back
from emolake.tasks.measure_drift import drift_notes, measure_drift


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
    reliability = settings.registry.entry(run.key.model).reliability
    if reliability is not None:
        record_reliability(lake, reliability, key=run.key, run_id=run.run_id)
    by = settings.breakdown
    for day, rows in aggregate_days(lake, run.days, dimensions=by, run_id=run.run_id):
        log.info("aggregated %s: %d rows", day, rows)
        raise_interrupt()
    yield from _drifted(run, lake)
    for model, days in _held_back(lake, run.days).items():
        said = (
            f"not aggregated: {', '.join(map(str, days))} of the model {model}, which was degenerate there; fix or "
            f"change it and backfill them, or drop its rows: `emolake forget --model {model}`"
        )
        # Another model's trial is no failure of this run.
        if model == run.key.model:
            yield said
        else:
            log.warning("%s", said)
    yield from _too_many_bad(run)
    yield from judge_listings(run, lake)
    for warning in run.warnings:
        log.warning("%s", warning)


def _drifted(run: Run, lake: Lake) -> Iterator[str]:
    """Compare the days of a run that wrote something with those before; warn of drift, or yield it as a failure."""
    if not run.recorded:
        return  # a night with nothing new commits nothing
    settings = run.settings
    drifted = measure_drift(
        lake, run.days, dimensions=settings.recording_breakdown, options=settings.drift, run_id=run.run_id
    )
    run.warnings += drift_notes([row for row in drifted if row["verdict"] == "warn"])
    yield from drift_notes([row for row in drifted if row["verdict"] == "fail"])


def _held_back(lake: Lake, days: DayRange) -> dict[str, list[date]]:
    found: dict[str, list[date]] = {}
    for day, model in lake.answer(lambda: held_back(lake, days)):
        found.setdefault(model, []).append(day)
    return found


def _too_many_bad(run: Run) -> Iterator[str]:
    limit, counts = run.settings.run.max_bad_share, run.counts
    bad_share = counts.quarantined / counts.done if counts.done else 0.0
    # What is retried was bad before: it says nothing of the source as a whole.
    if run.request.retried is None and bad_share > limit:
        yield (
            f"{counts.quarantined} of {counts.done} recordings were quarantined, more than "
            f"run.max_bad_share = {limit:g} allows; the good ones are committed"
        )
