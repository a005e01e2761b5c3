"""Flows from the command line: quiet Prefect, progress bars, and what came of the run as tables."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any

from emolake.environment import quiet_prefect
from emolake.errors import ConfigurationError
from emolake.lake.connect import lake_if_any, open_lake
from emolake.output.table import print_table
from emolake.pipeline import run_progress
from emolake.pipeline.identity import analysis_key
from emolake.pipeline.quarantine import quarantined
from emolake.settings import Settings
from emolake.source.opening import open_source
from emolake.sql import statement
from emolake.tasks.plan import Listing, plan_day
from emolake.upkeep.erase import Asked, erase, plan_erasure


def run_nightly(config: Path, settings: Settings, day: date | None, output: IO[str]) -> None:
    """Run the nightly flow and print its figures.

    Raises:
        RunFailedError: the run ended as failed.
    """
    quiet_prefect()
    from emolake.flows.nightly import nightly

    _shown(lambda: nightly(config=config, date=day), settings, output)


def run_backfill(
    config: Path,
    settings: Settings,
    first: date,
    last: date,
    *,
    model: str | None,
    force: bool,
    newest_first: bool,
    parallel_days: int,
    output: IO[str],
) -> None:
    """Run the backfill flow and print its figures.

    Raises:
        ConfigurationError: the range ends before it begins.
        RunFailedError: the run ended as failed.
    """
    quiet_prefect()
    from emolake.flows.backfill import backfill

    _check_range(first, last)
    _shown(
        lambda: backfill(
            first=first,
            last=last,
            config=config,
            model=model,
            force=force,
            newest_first=newest_first,
            parallel_days=parallel_days,
        ),
        settings,
        output,
    )


def run_retry(
    config: Path,
    settings: Settings,
    first: date | None,
    last: date | None,
    reasons: list[str],
    *,
    model: str | None,
    dry_run: bool,
    output: IO[str],
) -> None:
    """Print the recordings that are quarantined, analyse them again and print the run's figures.

    Raises:
        ConfigurationError: no recording is ever quarantined for such a reason.
        RunFailedError: the run ended as failed.
    """
    with open_lake(settings.warehouse, read_only=True) as lake:
        found = quarantined(lake, first, last, reasons)
    if dry_run or not found:
        if found:
            rows = [(each.date, each.uri, each.error) for each in found]
            print_table(("date", "recording", "reason"), rows, output)
        print(f"{len(found)} quarantined recordings", file=sys.stderr)
        return
    quiet_prefect()
    from emolake.flows.retry import retry

    _shown(lambda: retry(config, first, last, reasons, model), settings, output)


def run_erase(
    settings: Settings,
    asked: Sequence[Asked],
    *,
    requested_by: str | None,
    dry_run: bool,
    yes: bool,
    output: IO[str],
) -> None:
    """Tell what is erased, ask, and erase it.

    Raises:
        ConfigurationError: nobody can be asked, and --yes was not given.
        ErasureError: something is still there.
    """
    plan = plan_erasure(settings, asked)
    held = {each.recording_id for each in plan.held}
    rows = [(each.recording_id, each.uri, "yes" if each.recording_id in held else "no") for each in asked]
    if rows:
        print_table(("recording_id", "recording", "in the lake"), rows, output)
    say = partial(print, file=sys.stderr)
    say(
        f"{len(asked)} recordings with {sum(each.analyses for each in plan.held)} analyses and "
        f"{sum(each.segments for each in plan.held)} segments on {len(plan.days)} days. Their aggregates are made anew."
    )
    say(
        f"Time travel ends here: all {plan.snapshots} snapshots up to the erasure are lost, of every table and day."
    )
    for folder in plan.caches:
        say(f"The cache {folder} is emptied: its entries do not tell which recording they came from.")
    for day in plan.held_back:
        say(f"The aggregates of {day} stay as they are: a degenerate model spoke on it, and held them back.")
    if dry_run or not asked:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigurationError(
                "an erasure cannot be undone: confirm it with --yes, or look at it with --dry-run"
            )
        if input("Erase them for good? [y/N] ").strip().lower() != "y":
            say("nothing was erased")
            return
    done = erase(settings, asked, requested_by=requested_by)
    for name in done.unread:
        say(
            f"{name} is no whole Parquet file and could not be searched; `emolake maintain` removes it by its age"
        )
    say(
        f"erased; {done.removed_files} files removed, {done.scanned_files} files of the data path and the catalog "
        f"scanned: nothing of them is left; {done.cached_entries} entries of caches removed"
    )


def print_figures(title: str, figures: Any, output: IO[str]) -> None:
    """Print the fields of a dataclass as a table."""
    rows = [(name.replace("_", " "), value) for name, value in asdict(figures).items()]
    print_table(("", title), rows, output)


def tell_plan(
    settings: Settings, first: date, last: date, *, model: str | None, force: bool, output: IO[str]
) -> None:
    """Print what a backfill would do, day by day, and how long that should take; nothing is fetched or written."""
    _check_range(first, last)
    key = analysis_key(settings, settings.registry.entry(model))
    source = open_source(settings.source.uri, settings.source.s3)
    pattern = settings.source.key_pattern()
    rows, seconds = [], 0.0
    with lake_if_any(settings.warehouse) as lake:
        speed = None if lake is None else lake.rows(statement("throughput"), {"model": key.model})[0][0]
        for offset in range((last - first).days + 1):
            day, listing = first + timedelta(days=offset), Listing()
            for _ in plan_day(
                source, pattern, lake, day, key=key, listing=listing, policy=settings.policy, force=force
            ):
                pass
            known = lake and lake.rows(statement("analysed_of_day"), {"date": day, "model": key.model})[0][0]
            late = listing.missing if known else 0
            hours = round(listing.estimated_seconds / 3600, 2)
            rows.append((day, listing.missing, late, listing.stale, listing.failed, listing.skipped, hours))
            seconds += listing.estimated_seconds
    columns = ("date", "missing", "of them late", "stale", "failed", "done", "audio hours (estimated)")
    print_table(columns, rows, output)
    if speed and seconds:
        minutes = seconds / speed / 60
        print(
            f"about {minutes:.0f} min, at the {speed:.0f} x real time of this model's runs so far"
            if minutes >= 1
            else f"less than a minute, at the {speed:.0f} x real time of this model's runs so far",
            file=output,
        )


def print_quarantined(settings: Settings, run_id: str | None, output: IO[str]) -> None:
    """Print the recordings that one run quarantined or found truncated, or that the lake holds as such."""
    with open_lake(settings.warehouse, read_only=True) as lake:
        rows = lake.rows(statement("bad_recordings"), {"run_id": run_id})
    if rows:
        print_table(("date", "status", "recording", "reason"), rows, output)


def _shown(run: Callable[[], Any], settings: Settings, output: IO[str]) -> None:
    with run_progress.shown():
        summary = run()
    figures = [
        (name, f"{value:.1f}" if isinstance(value, float) else str(value)) for name, value in summary.items()
    ]
    print_table(("run", str(summary["flow"])), [row for row in figures if row[1] != "None"], output)
    print_quarantined(settings, str(summary["run_id"]), output)


def _check_range(first: date, last: date) -> None:
    if last < first:
        raise ConfigurationError(
            f"the range ends on {last}, before it begins on {first}; give the earlier date first"
        )
