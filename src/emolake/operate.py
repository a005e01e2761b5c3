"""Flows from the command line: quiet Prefect, progress bars, and what came of the run as tables."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import IO, Any

from emolake import progress
from emolake.errors import ConfigurationError
from emolake.identity import analysis_key
from emolake.lake import Lake, open_lake
from emolake.models.registry import model_entry
from emolake.quarantine import quarantined
from emolake.query import print_table
from emolake.settings import Settings, quiet_prefect
from emolake.sql import statement
from emolake.storage import open_source
from emolake.tasks.plan import Listing, plan_day


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
        lambda: backfill(first=first, last=last, config=config, model=model, force=force), settings, output
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
    with open_lake(settings.warehouse, read_only=True, endpoint_url=settings.source.endpoint_url) as lake:
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


def tell_plan(
    settings: Settings, first: date, last: date, *, model: str | None, force: bool, output: IO[str]
) -> None:
    """Print what a backfill would do, day by day; nothing is fetched or written."""
    _check_range(first, last)
    key = analysis_key(settings, model_entry(settings, model))
    source = open_source(settings.source.uri, settings.source.s3)
    pattern = settings.source.key_pattern()
    rows = []
    with lake_if_any(settings) as lake:
        for offset in range((last - first).days + 1):
            day, listing = first + timedelta(days=offset), Listing()
            for _ in plan_day(source, pattern, lake, day, key=key, listing=listing, force=force):
                pass
            hours = listing.estimated_seconds / 3600
            rows.append(
                (day, listing.missing, listing.stale, listing.failed, listing.skipped, round(hours, 2))
            )
    print_table(("date", "missing", "stale", "failed", "done", "audio hours (estimated)"), rows, output)


@contextmanager
def lake_if_any(settings: Settings) -> Iterator[Lake | None]:
    """Open the lake to read, or give None when there is none yet."""
    scheme, _, target = settings.warehouse.catalog.partition(":")
    if scheme == "sqlite" and not Path(target).is_file():
        yield None
        return
    with open_lake(settings.warehouse, read_only=True, endpoint_url=settings.source.endpoint_url) as lake:
        yield lake if lake.exists() else None


def print_quarantined(settings: Settings, run_id: str | None, output: IO[str]) -> None:
    """Print the recordings that one run quarantined or found truncated, or that the lake holds as such."""
    with open_lake(settings.warehouse, read_only=True, endpoint_url=settings.source.endpoint_url) as lake:
        rows = lake.rows(statement("bad_recordings"), {"run_id": run_id})
    if rows:
        print_table(("date", "status", "recording", "reason"), rows, output)


def _shown(run: Callable[[], Any], settings: Settings, output: IO[str]) -> None:
    with progress.shown():
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
