"""Maintenance: few and large files, snapshots of a bounded age, nothing lying about; safe beside runs and readers."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import duckdb
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from emolake.lake.connect import open_lake
from emolake.lake.rewrite import GROWING, rewrite_day
from emolake.lake.snapshots import bound_memory, expire, snapshots_before
from emolake.lake.transact import Lake, take_guards
from emolake.output.progress import track
from emolake.schemas.tables import ERASURES, MODEL_HEALTH, RUNS
from emolake.settings import MaintainOptions, Settings
from emolake.sql import statement

# Not partitioned, and small: DuckLake merges them by itself.
_SMALL_TABLES = (RUNS, MODEL_HEALTH, ERASURES)
_AUTHOR = "maintain"


@dataclass(frozen=True)
class Maintained:
    """What was done, or would be: days of tables written anew, snapshots expired, files and orphans removed."""

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

    A day of a table is written anew in a transaction of its own, under the guard of the day: of a run that commits
    to the same day at the same time, one of the two is made again. Files stay for `maintain.file_hours` after the
    last snapshot that needs them, so that no query loses them; orphans for `maintain.orphan_hours`, so that no file
    is taken that a run is still writing.

    Args:
        settings: where the lake lies, and [maintain].
        dry_run: only count.

    Raises:
        LakeError: the lake cannot be opened, or a transaction lost against other writers in every attempt.
    """
    options = settings.maintain
    with open_lake(settings.warehouse) as lake:
        bound_memory(lake.connection, memory_mb=options.memory_mb)
        scattered = _scattered_days(lake, options)
        if not dry_run:
            for each in track(scattered, "merging", unit="tables' days", transient=True):
                _merge(lake, each)
            for table in _SMALL_TABLES:
                lake.transact(
                    lambda connection, name=table.name: connection.execute(  # type: ignore[misc]
                        f"CALL ducklake_merge_adjacent_files('lake', '{name}')"
                    ).fetchall(),
                    author=_AUTHOR,
                    message=f"merge {table.name}",
                    extra={},
                )
        too_old = snapshots_before(lake, datetime.now(UTC) - timedelta(days=options.snapshot_days))
        if not dry_run:
            expire(lake, too_old)
        since_unneeded = timedelta(hours=options.file_hours)
        if settings.warehouse.catalog.startswith("sqlite:"):
            # DuckLake 1.0 compares times as text there, which are older at once within a day: seen in trials.
            since_unneeded += timedelta(days=1)
        removed = _call(lake, "ducklake_cleanup_old_files", since_unneeded, dry_run)
        # Its listing breaks off when a file goes away meanwhile, as those of a transaction that lost do.
        listing = Retrying(
            stop=stop_after_attempt(10),
            wait=wait_random_exponential(multiplier=0.05, max=2),
            retry=retry_if_exception_type((duckdb.IOException, duckdb.HTTPException)),
            reraise=True,
        )
        unknown_since = timedelta(hours=options.orphan_hours)
        orphans: int = listing(_call, lake, "ducklake_delete_orphaned_files", unknown_since, dry_run)
    return Maintained(len(scattered), sum(each.files for each in scattered), len(too_old), removed, orphans)


def _scattered_days(lake: Lake, options: MaintainOptions) -> list[_Scattered]:
    parameters = {
        "tables": [table.name for table in GROWING],
        "small_bytes": round(options.small_mb * 1_000_000),
        "rewrite_share": options.rewrite_share,
    }
    return [_Scattered(*row) for row in lake.rows(statement("scattered_days"), parameters)]


def _merge(lake: Lake, scattered: _Scattered) -> None:
    (table,) = (each for each in GROWING if each.name == scattered.table)

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        take_guards(connection, [scattered.date])
        rewrite_day(connection, table, scattered.date)

    message = f"merge {scattered.files} files of {table.name} of {scattered.date}"
    lake.transact(work, author=_AUTHOR, message=message, extra={"date": str(scattered.date)})


def _call(lake: Lake, function: str, age: timedelta, dry_run: bool) -> int:
    """Call one of DuckLake's functions that take an age; return how many things it took away, or would take."""
    older_than = datetime.now(UTC) - age
    call = (
        f"CALL {function}('lake', older_than => TIMESTAMPTZ '{older_than.isoformat()}', "
        f"dry_run => {str(dry_run).lower()})"
    )
    return len(lake.retried(lambda: lake.connection.execute(call).fetchall()))
