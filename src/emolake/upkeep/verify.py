"""Verify: checks the lake against its promises, and reports each breach with the query that shows it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa

from emolake.lake.connect import open_lake
from emolake.lake.registration import registered
from emolake.lake.transact import Lake, LakeError
from emolake.output.progress import track
from emolake.schemas.days import DayRange
from emolake.settings import Settings
from emolake.sql import statement
from emolake.tasks.aggregate import daily_emotions, held_back, stale_days
from emolake.upkeep.data_store import open_data_store

# Over the whole range, because a row that is there twice may be on two days.
_RANGE_CHECKS = ("recordings_twice", "analyses_twice")
# Day by day, so that memory does not grow with the range.
_DAY_CHECKS = ("segments_twice", "tiling", "segments_against_ledger", "rows_against_ledger", "dynamics")
_FILES_AT_ONCE = 500


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be; `query` shows it, where one can."""

    check: str
    date: date | None
    finding: str
    query: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What a verification came to; notices are no breaches."""

    breaches: Sequence[Finding] = ()
    notices: Sequence[Finding] = ()
    days: int = 0
    files: int = 0

    def __add__(self, other: "Verdict") -> "Verdict":
        return Verdict(
            [*self.breaches, *other.breaches],
            [*self.notices, *other.notices],
            self.days + other.days,
            self.files + other.files,
        )


def verify(settings: Settings, days: DayRange | None = None) -> Verdict:
    """Compare the rows of some days, and all files, with one another; nothing is changed.

    Args:
        settings: where the lake lies and what it is broken down by.
        days: the days; all that the lake holds when left out.

    Raises:
        LakeError: there is no lake, or it is one of an earlier version.
    """
    days = days or DayRange.between(None, None)
    with open_lake(settings.warehouse, read_only=True) as lake:
        if lake.is_of_earlier_version():
            raise LakeError(
                "the lake was made by an earlier version, and lacks tables or columns of this one; the next run adds "
                "them, or `emolake maintain`"
            )
        of_files = verify_files(lake, settings)
        try:
            return of_files + lake.answer(lambda: verify_rows(lake, settings, days))
        except duckdb.Error:
            if not of_files.breaches:
                raise
            why = "the rows cannot be compared with one another while files are lost or broken"
            return of_files + Verdict(notices=[Finding("rows", None, why)])


def verify_rows(lake: Lake, settings: Settings, days: DayRange) -> Verdict:
    """Compare the rows of some days with one another, in the snapshot that the connection's transaction reads."""
    bounds = {"first": days.first, "last": days.last}
    breaches = [each for check in _RANGE_CHECKS for each in _findings(lake, check, bounds)]
    held = sorted(_days_of(lake, days))
    for day in track(held, "verifying", unit="days", transient=True):
        breaches += [each for check in _DAY_CHECKS for each in _findings(lake, check, {"date": day})]
    broken = {each.date for each in breaches if each.date is not None}
    return Verdict(breaches, days=len(held)) + _verify_aggregates(lake, settings, days, broken)


def _verify_aggregates(lake: Lake, settings: Settings, days: DayRange, broken: set[date]) -> Verdict:
    by = settings.breakdown
    stale = stale_days(lake.connection, days, by)
    outdated = {each.date for each in stale if not each.lacks_intervals}
    without: dict[date, list[str]] = {}
    for day, model in held_back(lake, days):
        without.setdefault(day, []).append(model)
    alive_after = datetime.now(UTC) - timedelta(seconds=settings.run.heartbeat_timeout_s)
    at_work = lake.rows(statement("days_of_live_runs"), {"alive_after": alive_after})
    breaches: list[Finding] = []
    notices = [_held_back(day, model) for day, models in without.items() for model in models]
    notices += [_without_intervals(each.date) for each in stale if each.lacks_intervals]
    for day in sorted(_days_of(lake, days) | outdated):
        if day in broken:
            why = "the rows of the day are broken: the aggregates are not compared with them"
            notices.append(Finding("aggregates", day, why))
        elif day in outdated and any(begin <= day <= end for begin, end in at_work):
            notices.append(_outdated(day, "a run is at work on it"))
        elif day in outdated:
            breaches.append(_outdated(day, "the next run over the day rebuilds them"))
        else:
            breaches += _aggregate_findings(lake, day, by, without.get(day, []))
    return Verdict(breaches, notices)


def _days_of(lake: Lake, days: DayRange) -> set[date]:
    parameters = {"first": days.first, "last": days.last}
    return {day for (day,) in lake.rows(statement("verify_days"), parameters)}


def _outdated(day: date, why: str) -> Finding:
    return Finding(
        "aggregates",
        day,
        f"the aggregates were not made from the ledger as it is: {why}",
        f"SELECT * FROM analyses LEFT JOIN aggregations USING (date) WHERE date = '{day}'",
    )


def _without_intervals(day: date) -> Finding:
    return Finding(
        "aggregates",
        day,
        f"a version without intervals aggregated the day; `emolake backfill {day} {day}` aggregates it again",
        f"SELECT emotion, share, share_low, share_high FROM daily_emotions WHERE date = '{day}'",
    )


def _held_back(day: date, model: str) -> Finding:
    quoted = model.replace("'", "''")
    return Finding(
        "aggregates",
        day,
        f"the model {model} was degenerate there, and its older aggregates stay; `emolake forget --model {model}` "
        "drops its rows",
        f"SELECT * FROM model_health WHERE model = '{quoted}' AND verdict = 'flat'",
    )


def _findings(lake: Lake, check: str, parameters: dict[str, Any]) -> Iterator[Finding]:
    for day, breach, query in lake.rows(statement(f"verify_{check}"), parameters):
        yield Finding(check, day, breach, query)


def _aggregate_findings(lake: Lake, day: date, by: Sequence[str], without: Sequence[str]) -> list[Finding]:
    expected = daily_emotions(lake.connection, day, dimensions=by, without=without)
    with registered(lake.connection, expected=expected):
        return list(_findings(lake, "aggregates", {"date": day, "without": list(without)}))


def verify_files(lake: Lake, settings: Settings) -> Verdict:
    """Compare the files that lie in the data path with those that the catalog names, and their rows likewise."""
    store = open_data_store(settings)
    before = _catalog(lake)
    listed = [(entry.key, entry.size_bytes) for entry in store.list("")]
    after = _catalog(lake)
    table = pa.table(
        {
            "path": pa.array([path for path, _ in listed], pa.string()),
            "size_bytes": pa.array([size for _, size in listed], pa.int64()),
        }
    )
    with registered(lake.connection, listed_files=table, catalog_files=before):
        suspects = lake.rows(statement("verify_files"))
    # What others wrote or removed while the listing was made is known to one of the two catalogs only.
    known_after = set(after.column("path").to_pylist())
    orphans = [
        Finding("orphans", day, found, query)
        for day, found, query, is_orphan, path in suspects
        if is_orphan and path not in known_after
    ]
    lost = [
        Finding("files", day, found, query)
        for day, found, query, is_orphan, path in suspects
        if not is_orphan and path in known_after
    ]
    folder = f"{settings.warehouse.data.rstrip('/')}/"
    return Verdict(lost, orphans) + _verify_file_rows(lake, after, folder, {path for path, _ in listed})


def _catalog(lake: Lake) -> pa.Table:
    return lake.connection.execute(statement("catalog_files")).to_arrow_table()


def _verify_file_rows(lake: Lake, catalog: pa.Table, folder: str, listed: set[str]) -> Verdict:
    files = [
        row["path"]
        for row in catalog.to_pylist()
        if row["state"] == "live" and row["record_count"] is not None and row["path"] in listed
    ]
    batches = [files[start : start + _FILES_AT_ONCE] for start in range(0, len(files), _FILES_AT_ONCE)]
    breaches: list[Finding] = []
    with registered(lake.connection, catalog_files=catalog):
        for batch in track(batches, "reading footers", unit="batches of files", transient=True):
            try:
                breaches += _findings_of_files(lake, folder, batch)
            except duckdb.Error:
                # One of them is no Parquet: ask one by one which.
                breaches += [each for path in batch for each in _findings_of_file(lake, folder, path)]
    return Verdict(breaches, files=len(files))


def _findings_of_file(lake: Lake, folder: str, path: str) -> list[Finding]:
    try:
        return _findings_of_files(lake, folder, [path])
    except duckdb.Error as error:
        what = str(error).splitlines()[0]
        quoted = path.replace("'", "''")
        return [
            Finding("files", None, f"{path} cannot be read: {what}", f"FROM parquet_metadata('{quoted}')")
        ]


def _findings_of_files(lake: Lake, folder: str, paths: Sequence[str]) -> list[Finding]:
    parameters = {"folder": folder, "files": [folder + path for path in paths]}
    return [Finding("files", *row) for row in lake.rows(statement("verify_file_rows"), parameters)]
