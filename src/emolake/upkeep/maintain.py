"""Maintenance: few and large files, snapshots of a bounded age, nothing lying about; safe beside runs and readers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial

import duckdb
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from emolake.lake.connect import open_lake
from emolake.lake.memory import bound_memory
from emolake.lake.rewrite import GROWING, rewrite_day
from emolake.lake.snapshots import expirable_snapshots, expire
from emolake.lake.transact import Lake, take_guards
from emolake.output.progress import track
from emolake.schemas.tables import ERASURES, FORGOTTEN, MODEL_HEALTH, RUNS, Table
from emolake.settings import MaintainOptions, Settings
from emolake.sql import statement

# Not partitioned, and small: DuckLake merges them by itself.
_SMALL_TABLES = (RUNS, MODEL_HEALTH, ERASURES, FORGOTTEN)
_AUTHOR = "maintain"


@dataclass(frozen=True)
class Maintained:
    """What was done, or would be: days of tables written again, snapshots expired, files and orphans removed."""

    days_merged: int
    files_before: int
    snapshots_expired: int
    files_removed: int
    orphans_removed: int


@dataclass(frozen=True)
class _Scattered:
    table: str
    date: date
    files: int
    bytes: int


def maintain(settings: Settings, *, dry_run: bool = False) -> Maintained:
    """Merge the small files of each day, expire old snapshots, remove what no snapshot needs, and orphans.

    A day of a table is written again in a transaction of its own, under the guard of the day: of a run that commits
    to the same day at the same time, one of the two starts again. Files stay for `maintain.file_hours` after the
    last snapshot that needs them, so that no query loses them; orphans for `maintain.orphan_hours`, so that no file
    is taken that a run is still writing.

    Args:
        settings: where the lake lies, and [maintain].
        dry_run: only count.

    Raises:
        LakeError: the lake cannot be opened, or a transaction lost against other writers in every attempt.
    """
    options = settings.maintain
    with open_lake(settings.warehouse, create=False) as lake:
        bound_memory(lake.connection, memory_mb=options.memory_mb)
        scattered = _scattered_days(lake, options)
        if not dry_run:
            _merge(lake, scattered)
        too_old = expirable_snapshots(lake, datetime.now(UTC) - timedelta(days=options.snapshot_days))
        if not dry_run:
            expire(lake, too_old)
        removed = _remove_old_files(lake, settings, dry_run=dry_run)
        orphans = _remove_orphans(lake, options, dry_run=dry_run)
    return Maintained(len(scattered), sum(each.files for each in scattered), len(too_old), removed, orphans)


def _scattered_days(lake: Lake, options: MaintainOptions) -> list[_Scattered]:
    parameters = {
        "tables": [table.name for table in GROWING],
        "small_bytes": round(options.small_mb * 1_000_000),
        "rewrite_share": options.rewrite_share,
    }
    return [_Scattered(*row) for row in lake.rows(statement("scattered_days"), parameters)]


def _merge(lake: Lake, scattered: Sequence[_Scattered]) -> None:
    for each in track(scattered, "merging", unit="days of tables", transient=True):
        _merge_day(lake, each)
    for table in _SMALL_TABLES:
        _merge_table(lake, table)


def _merge_day(lake: Lake, scattered: _Scattered) -> None:
    (table,) = (each for each in GROWING if each.name == scattered.table)

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        take_guards(connection, [scattered.date])
        rewrite_day(connection, table, scattered.date)

    message = f"merge {scattered.files} files of {table.name} of {scattered.date}"
    lake.transact(work, author=_AUTHOR, message=message, extra={"date": str(scattered.date)})


def _merge_table(lake: Lake, table: Table) -> None:
    def work(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(statement("merge_files"), {"table": table.name}).fetchall()

    lake.transact(work, author=_AUTHOR, message=f"merge {table.name}", extra={})


def _remove_old_files(lake: Lake, settings: Settings, *, dry_run: bool) -> int:
    since_unneeded = timedelta(hours=settings.maintain.file_hours)
    if settings.warehouse.parsed_catalog.kind == "sqlite":
        # DuckLake 1.0 compares times as text there, which are older at once within a day: seen in trials.
        since_unneeded += timedelta(days=1)
    return lake.retried(partial(_removed, lake, "remove_old_files", since_unneeded, dry_run))


def _remove_orphans(lake: Lake, options: MaintainOptions, *, dry_run: bool) -> int:
    # Its listing breaks off when a file goes away meanwhile, as those of a transaction that lost do. It takes no turn:
    # it changes nothing in the catalog, and may take long.
    listing = Retrying(
        stop=stop_after_attempt(10),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        retry=retry_if_exception_type((duckdb.IOException, duckdb.HTTPException)),
        reraise=True,
    )
    unknown_since = timedelta(hours=options.orphan_hours)
    return int(listing(_removed, lake, "remove_orphans", unknown_since, dry_run))


def _removed(lake: Lake, name: str, age: timedelta, dry_run: bool) -> int:
    """Run a statement that removes files from an age on; return how many it removed, or would remove."""
    parameters = {"older_than": datetime.now(UTC) - age, "dry_run": dry_run}
    return len(lake.rows(statement(name), parameters))
