"""Verify: holds the lake against its promises, and tells each breach with the query that shows it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import IO, Any

import duckdb
import pyarrow as pa

from emolake.errors import ConfigurationError
from emolake.lake.connect import open_lake
from emolake.lake.transact import Lake, LakeError
from emolake.output.progress import track
from emolake.output.table import print_table, write_json
from emolake.settings import Settings
from emolake.source.opening import open_source
from emolake.sql import statement
from emolake.tasks.aggregate import held_back_days, stale_days

# Over the whole range, because what stands twice may stand on two days.
_RANGE_CHECKS = ("recordings_twice", "analyses_twice")
# Day by day, so that memory does not grow with the range.
_DAY_CHECKS = ("segments_twice", "tiling", "segments_against_ledger", "rows_against_ledger")
_FILES_AT_ONCE = 500
_FIRST, _LAST = date(1, 1, 1), date(9999, 12, 31)


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be; `query` shows it, where one can."""

    check: str
    date: date | None
    finding: str
    query: str | None = None


@dataclass
class Verdict:
    """What a verification came to; notices are no breaches."""

    breaches: list[Finding] = field(default_factory=list)
    notices: list[Finding] = field(default_factory=list)
    days: int = 0
    files: int = 0


def verify(settings: Settings, first: date | None = None, last: date | None = None) -> Verdict:
    """Hold the days of a range, and all files, against one another; nothing is changed.

    Args:
        settings: where the lake lies and what it is broken down by.
        first: first day; the first that the lake holds when left out.
        last: last day, inclusive; the last that the lake holds when left out.

    Raises:
        ConfigurationError: the range ends before it begins.
        LakeError: there is no lake.
    """
    span = first or _FIRST, last or _LAST
    if span[1] < span[0]:
        raise ConfigurationError(
            f"the range ends on {span[1]}, before it begins on {span[0]}; give the earlier date first"
        )
    verdict = Verdict()
    with open_lake(settings.warehouse, read_only=True) as lake:
        if not lake.exists():
            raise LakeError("the catalog holds no lake yet; `emolake nightly` or `emolake backfill` makes it")
        verify_files(lake, settings, verdict)
        try:
            with _one_snapshot(lake):
                verify_rows(lake, settings, *span, verdict)
        except duckdb.Error:
            if not verdict.breaches:
                raise
            why = "the rows cannot be held against one another while files are lost or broken"
            verdict.notices.append(Finding("rows", None, why))
    return verdict


def write_verdict(verdict: Verdict, format: str, output: IO[str]) -> None:
    """Write the findings as a table or as JSON; a breach comes with its query."""
    if format == "json":
        rows = [{"kind": "breach"} | asdict(each) for each in verdict.breaches]
        rows += [{"kind": "notice"} | asdict(each) for each in verdict.notices]
        write_json(iter(rows), output)
        return
    found = [("BREACH", each) for each in verdict.breaches] + [("notice", each) for each in verdict.notices]
    if found:
        print_table(
            ("", "check", "date", "found", "query"),
            [(kind, each.check, each.date, each.finding, each.query) for kind, each in found],
            output,
        )


def verify_rows(lake: Lake, settings: Settings, first: date, last: date, verdict: Verdict) -> None:
    """Hold the rows of a range against one another, in the snapshot that the connection's transaction reads."""
    parameters = {"first": first, "last": last}
    for check in _RANGE_CHECKS:
        verdict.breaches += _findings(lake, check, parameters)
    days = sorted(_days_of(lake, first, last))
    verdict.days = len(days)
    for day in track(days, "verifying", unit="days", transient=True):
        for check in _DAY_CHECKS:
            verdict.breaches += _findings(lake, check, {"date": day})
    _verify_aggregates(lake, settings, first, last, verdict)


def _verify_aggregates(lake: Lake, settings: Settings, first: date, last: date, verdict: Verdict) -> None:
    by = settings.aggregate.by
    outdated = {day for day, _ in stale_days(lake.connection, first, last, by)}
    held_back = set(held_back_days(lake, first, last, dimensions=by))
    broken = {each.date for each in verdict.breaches}
    alive_after = datetime.now(UTC) - timedelta(seconds=settings.run.heartbeat_timeout_s)
    at_work = lake.rows(statement("days_of_live_runs"), {"alive_after": alive_after})
    for day in sorted(_days_of(lake, first, last) | outdated | held_back):
        if day in broken:
            why = "the rows of the day are broken: the aggregates are not compared with them"
            verdict.notices.append(Finding("aggregates", day, why))
        elif day in held_back:
            verdict.notices.append(_outdated(day, "a degenerate model spoke on it, and the older ones stay"))
        elif day in outdated and any(begin <= day <= end for begin, end in at_work):
            verdict.notices.append(_outdated(day, "a run is at work on it"))
        elif day in outdated:
            verdict.breaches.append(_outdated(day, "the next run over the day makes them anew"))
        else:
            verdict.breaches += _aggregate_findings(lake, day, by)


def _days_of(lake: Lake, first: date, last: date) -> set[date]:
    return {day for (day,) in lake.rows(statement("verify_days"), {"first": first, "last": last})}


def _outdated(day: date, why: str) -> Finding:
    return Finding(
        "aggregates",
        day,
        f"the aggregates were not made from the ledger as it stands: {why}",
        f"SELECT * FROM analyses LEFT JOIN aggregations USING (date) WHERE date = '{day}'",
    )


def _findings(lake: Lake, check: str, parameters: dict[str, Any]) -> Iterator[Finding]:
    for day, breach, query in lake.rows(statement(f"verify_{check}"), parameters):
        yield Finding(check, day, breach, query)


def _aggregate_findings(lake: Lake, day: date, by: Sequence[str]) -> list[Finding]:
    made = lake.connection.execute(statement("daily_emotions"), {"date": day, "dimensions": list(by)})
    with _registered(lake, "expected", made.to_arrow_table()):
        return list(_findings(lake, "aggregates", {"date": day}))


def verify_files(lake: Lake, settings: Settings, verdict: Verdict) -> None:
    """Hold the files that lie in the data path against those that the catalog names, and their rows likewise."""
    folder = settings.warehouse.data
    endpoint = settings.warehouse.endpoint_url or settings.source.endpoint_url
    storage = open_source(folder, replace(settings.source.s3, endpoint_url=endpoint))
    before = _catalog(lake)
    listed = [(entry.key, entry.size_bytes) for entry in storage.list("")]
    after = _catalog(lake)
    table = pa.table(
        {
            "path": pa.array([path for path, _ in listed], pa.string()),
            "size_bytes": pa.array([size for _, size in listed], pa.int64()),
        }
    )
    with _registered(lake, "listed_files", table), _registered(lake, "catalog_files", before):
        suspects = lake.rows(statement("verify_files"))
    # What others wrote or removed while the listing was made is known to one of the two catalogs only.
    known_after = set(after.column("path").to_pylist())
    for day, found, query, is_orphan, path in suspects:
        if is_orphan and path not in known_after:
            verdict.notices.append(Finding("orphans", day, found, query))
        elif not is_orphan and path in known_after:
            verdict.breaches.append(Finding("files", day, found, query))
    _verify_file_rows(lake, after, f"{folder.rstrip('/')}/", {path for path, _ in listed}, verdict)


def _catalog(lake: Lake) -> pa.Table:
    return lake.connection.execute(statement("catalog_files")).to_arrow_table()


def _verify_file_rows(lake: Lake, catalog: pa.Table, folder: str, listed: set[str], verdict: Verdict) -> None:
    files = [
        row["path"]
        for row in catalog.to_pylist()
        if row["state"] == "live" and row["record_count"] is not None and row["path"] in listed
    ]
    verdict.files = len(files)
    with _registered(lake, "catalog_files", catalog):
        batches = [files[start : start + _FILES_AT_ONCE] for start in range(0, len(files), _FILES_AT_ONCE)]
        for batch in track(batches, "reading footers", unit="batches of files", transient=True):
            try:
                verdict.breaches += _findings_of_files(lake, folder, batch)
            except duckdb.Error:
                # One of them is no Parquet: ask one by one which.
                for path in batch:
                    verdict.breaches += _findings_of_file(lake, folder, path)


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


@contextmanager
def _one_snapshot(lake: Lake) -> Iterator[None]:
    """Let every query of the block read the same snapshot, whatever is committed meanwhile."""
    lake.connection.execute("BEGIN")
    try:
        yield
    finally:
        lake.connection.execute("ROLLBACK")


@contextmanager
def _registered(lake: Lake, name: str, table: pa.Table) -> Iterator[None]:
    lake.connection.register(name, table)
    try:
        yield
    finally:
        lake.connection.unregister(name)
