"""Runs from the command line, as flows of Prefect where it has a server: progress bars, and figures as tables."""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from emolake.environment import has_prefect_server, quiet_prefect
from emolake.lake.connect import lake_if_any, open_lake
from emolake.lake.recording_stages import recording_stages
from emolake.lake.transact import Lake
from emolake.messages import counted
from emolake.output.logs import logged, shows_bars
from emolake.output.notices import complain
from emolake.output.table import print_table
from emolake.pipeline import run_progress
from emolake.pipeline.empty_days import listing_notes
from emolake.pipeline.execution import run_here
from emolake.pipeline.identity import analysis_key
from emolake.pipeline.interrupts import interrupt_behind, terminations_raised
from emolake.pipeline.quarantine import Quarantined, quarantined
from emolake.pipeline.run_request import RunRequest, backfill_request, nightly_request, retry_request
from emolake.pipeline.runs import RunFailedError
from emolake.schemas.days import DayRange
from emolake.schemas.funnel import (
    STAGE_COLUMNS,
    FunnelStage,
    done_before,
    listed_of_row,
    listed_stages,
    stage_rows,
)
from emolake.schemas.records import Listing
from emolake.settings import Settings
from emolake.source.enrichment import enrichment
from emolake.source.opening import open_source
from emolake.sql import statement
from emolake.tasks.plan import plan_day
from emolake.upkeep.run_alerts import alerting

_log = logging.getLogger(__name__)


def run_nightly(config: Path, settings: Settings, day: date | None) -> None:
    """Run the nightly and show its figures.

    Raises:
        RunFailedError: the run ended as failed.
    """

    def flow() -> Any:
        from emolake.flows.nightly import nightly

        return nightly(config=config, date=day)

    _run(flow, lambda: nightly_request(settings, day), settings)


def run_backfill(
    config: Path,
    settings: Settings,
    days: DayRange,
    *,
    model: str | None,
    force: bool,
    newest_first: bool,
    parallel_days: int,
) -> None:
    """Run a backfill and show its figures.

    Raises:
        RunFailedError: the run ended as failed.
    """

    def flow() -> Any:
        from emolake.flows.backfill import backfill

        return backfill(
            first=days.first,
            last=days.last,
            config=config,
            model=model,
            force=force,
            newest_first=newest_first,
            parallel_days=parallel_days,
        )

    request = backfill_request(
        days, model=model, force=force, newest_first=newest_first, parallel_days=parallel_days
    )
    _run(flow, lambda: request, settings)


def run_retry(
    config: Path,
    settings: Settings,
    first: date | None,
    last: date | None,
    reasons: Sequence[str],
    *,
    model: str | None,
) -> None:
    """Analyse the quarantined recordings of some days again and show the run's figures.

    Raises:
        RunFailedError: the run ended as failed.
    """

    def flow() -> Any:
        from emolake.flows.retry import retry

        return retry(config, first, last, reasons, model)

    _run(flow, lambda: retry_request(settings, DayRange.between(first, last), reasons, model=model), settings)


def show_quarantined(
    settings: Settings, days: DayRange, reasons: Sequence[str], *, shown: bool
) -> list[Quarantined]:
    """Return the quarantined recordings of some days, after a table of them if `shown`; without any, say so.

    Raises:
        ConfigurationError: no recording is ever quarantined for such a reason.
    """
    with open_lake(settings.warehouse, read_only=True) as lake:
        found = quarantined(lake, days, reasons)
    if found and shown:
        rows = [(each.date, each.uri, each.error) for each in found]
        print_table(("date", "recording", "reason"), rows, sys.stdout)
    if shown or not found:
        print(counted(len(found), "quarantined recording"), file=sys.stderr)
    return found


def show_plan(settings: Settings, days: DayRange, *, model: str | None, force: bool) -> None:
    """Show what a backfill would do, day by day, and how long that should take; nothing is fetched or written."""
    key = analysis_key(settings, settings.registry.entry(model))
    source, pattern = open_source(settings.source.uri, settings.source.s3), settings.source.key_pattern()
    beyond = enrichment(source, settings.source)
    for note in pattern.notes:
        complain(note)
    rows, seconds, speed = [], 0.0, None
    stages, listings = list[FunnelStage](), dict[date, Listing]()
    with lake_if_any(settings.warehouse) as lake:
        if lake is not None:
            speed = lake.answered_rows(statement("throughput"), {"model": key.model})[0][0]
        for day in days:
            chunks = plan_day(
                source, pattern, lake, day, key=key, policy=settings.policy, force=force, beyond=beyond
            )
            listing = sum((chunk.figures for chunk in chunks), start=Listing())
            listings[day] = listing
            late = listing.missing if lake is not None and _was_analysed(lake, day, key.model) else 0
            hours = round(listing.estimated_seconds / 3600, 2)
            rows.append((day, listing.missing, late, listing.stale, listing.failed, listing.skipped, hours))
            seconds += listing.estimated_seconds
        listed = sum(listings.values(), start=Listing())
        if lake is not None:
            analysed, *stages = lake.answer(partial(recording_stages, lake, days, model=key.model))
            waiting = max(0, listed.found - analysed.left)
            stages = [replace(analysed, fell_out=waiting, reasons=_waiting(waiting)), *stages]
    columns = ("date", "missing", "of them late", "stale", "failed", "done", "audio hours (estimated)")
    print_table(columns, rows, sys.stdout)
    print()
    show_stages([*listed_stages(listed), *stages])
    silent = [day for day, listing in listings.items() if not listing.listed]
    for note in listing_notes(listings, silent if listed.listed else ()):
        complain(note)
    if speed and seconds:
        minutes = seconds / speed / 60
        how_long = f"about {minutes:.0f} min" if minutes >= 1 else "less than a minute"
        print(f"{how_long}, at the {speed:.0f} x real time of this model's runs so far")


def _waiting(number: int) -> Sequence[str]:
    return (f"{number} not analysed yet",) if number else ()


def _show_what_fell_out(settings: Settings, summary: Mapping[str, Any]) -> None:
    """Show the stages of a run, with what fell out, and its warnings."""
    listing = listed_of_row(summary)
    days = DayRange(date.fromisoformat(summary["first_date"]), date.fromisoformat(summary["last_date"]))
    stages = list(listed_stages(listing))
    with lake_if_any(settings.warehouse) as lake:
        if lake is not None:
            analysed, *others = lake.answer(partial(recording_stages, lake, days, run_id=summary["run_id"]))
            before, waiting = summary["skipped"], listing.found - summary["skipped"] - analysed.left
            stages += [
                replace(
                    analysed,
                    fell_out=listing.found - analysed.left,
                    reasons=(*done_before(before), *_waiting(waiting)),
                ),
                *others,
            ]
    show_stages(stages)
    print()
    for warning in summary["warnings"]:
        complain(warning)


def show_stages(stages: Sequence[FunnelStage]) -> None:
    """Show how many keys and recordings are left at each stage, with the names of some that fell out."""
    print_table(STAGE_COLUMNS, stage_rows(stages), sys.stdout)


def _was_analysed(lake: Lake, day: date, model: str) -> bool:
    """Return whether a model has analysed something of a day, so that what is missing came late."""
    return bool(lake.answered_rows(statement("analysed_of_day"), {"date": day, "model": model})[0][0])


def show_bad_recordings(settings: Settings, run_id: str | None) -> None:
    """Show the recordings that one run quarantined or found truncated, or that the lake holds as such."""
    with open_lake(settings.warehouse, read_only=True) as lake:
        rows = lake.answered_rows(statement("bad_recordings"), {"run_id": run_id})
    if rows:
        print_table(("date", "status", "recording", "reason"), rows, sys.stdout)


def _run(flow: Callable[[], Any], request: Callable[[], RunRequest | None], settings: Settings) -> None:
    """Run a flow on the server of Prefect that is configured, or else its request in this process; show the figures.

    Raises:
        KeyboardInterrupt: Ctrl-C, also where Prefect could not report it and raised something else.
        Terminated: SIGTERM or SIGHUP; likewise.
    """
    quiet_prefect()
    try:
        logs = settings.logs
        progress = run_progress.shown() if shows_bars(logs) else run_progress.reported(logs.progress_s)
        with terminations_raised(), logged(logs), progress:
            summary = flow() if has_prefect_server() else _run_here(request(), settings)
    except Exception as error:
        if interrupt := interrupt_behind(error):
            raise interrupt from error
        if isinstance(error, RunFailedError) and error.summary is not None:
            _show_what_fell_out(settings, error.summary)
        raise
    if summary is not None:
        _show(summary, settings)


def _run_here(request: RunRequest | None, settings: Settings) -> Mapping[str, Any] | None:
    """Run a request in this process, with its alerts; return its figures, or None where there is nothing to ask for."""
    if request is None:
        return None
    with alerting(settings, request.flow) as ended:
        summary = run_here(request, settings, _log).summary
        ended(summary)
    return summary


def _show(summary: Mapping[str, Any], settings: Settings) -> None:
    figures = [
        (name, f"{value:.1f}" if isinstance(value, float) else str(value))
        for name, value in summary.items()
        if value is not None and not isinstance(value, list | tuple)
    ]
    print_table(("run", str(summary["flow"])), figures, sys.stdout)
    print()
    _show_what_fell_out(settings, summary)
    show_bad_recordings(settings, str(summary["run_id"]))
