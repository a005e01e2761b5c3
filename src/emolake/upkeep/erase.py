"""Erasure: a recording leaves tables, snapshots, files, caches and the catalog, and only a receipt stays."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import duckdb
import pyarrow as pa

from emolake.errors import EmolakeError
from emolake.lake.connect import open_lake
from emolake.lake.query import ask
from emolake.lake.rewrite import GROWING, rewrite_day
from emolake.lake.schema import GUARD_SLOTS, append
from emolake.lake.snapshots import bound_memory, expire
from emolake.lake.transact import Lake, take_guards
from emolake.models.disk_cache import empty
from emolake.schemas.tables import ERASURES, RUNS
from emolake.settings import Settings
from emolake.source.opening import open_source
from emolake.source.s3 import S3Source
from emolake.sql import statement
from emolake.tasks.aggregate import aggregate_within, held_back_days
from emolake.tasks.plan import recording_id
from emolake.upkeep.catalog_remains import compact_catalog, forget_bounds, names_in_catalog

# Until snapshots expire, so that the short transactions that were under way have come to an end.
_GRACE_S = 2.0
# As ordinals: a guard is taken for each of these days, which are all guards that there are.
_ALL_GUARDS = [date.fromordinal(1 + slot) for slot in range(GUARD_SLOTS)]
_AUTHOR = "erase"


class ErasureError(EmolakeError):
    """Something of a recording is still there."""


@dataclass(frozen=True)
class Asked:
    """A recording that is to be erased; `uri` may be that of an object which the lake has never held."""

    recording_id: str
    uri: str

    @property
    def recording_hash(self) -> str:
        """What the receipt knows it by."""
        return sha256(self.recording_id.encode()).hexdigest()


@dataclass(frozen=True)
class Held:
    """Rows of a recording on one day."""

    recording_id: str
    date: date
    recordings: int
    analyses: int
    segments: int


@dataclass
class Erasure:
    """What an erasure takes away, or took."""

    asked: Sequence[Asked]
    held: Sequence[Held]
    caches: Sequence[Path]
    snapshots: int
    held_back: Sequence[date]
    removed_files: int = 0
    scanned_files: int = 0
    cached_entries: int = 0
    unread: list[str] = field(default_factory=list)

    @property
    def days(self) -> list[date]:
        """The days whose rows and aggregates are made anew."""
        return sorted({each.date for each in self.held})


def asked_by_uri(uri: str) -> list[Asked]:
    """Return the recording of a URI or, where the source is a folder, of a file's path."""
    if "://" not in uri:
        uri = f"file://{Path(uri).resolve().as_posix()}"
    return [Asked(recording_id(uri), uri)]


def asked_by_condition(settings: Settings, condition: str) -> list[Asked]:
    """Return the recordings for which a condition over the table `recordings` holds.

    Raises:
        QueryError: the condition is none, or more than one.
    """
    with open_lake(settings.warehouse, read_only=True) as lake:
        found = ask(lake, f"SELECT recording_id, uri FROM recordings WHERE (\n{condition}\n) ORDER BY uri")
        return [Asked(*row) for row in found.fetchall()]


def plan_erasure(settings: Settings, asked: Sequence[Asked]) -> Erasure:
    """Tell what an erasure would take away; nothing is changed."""
    with (
        open_lake(settings.warehouse, read_only=True) as lake,
        _registered(lake.connection, "asked", _table(settings, asked)),
    ):
        return _planned(lake, settings, asked)


def erase(settings: Settings, asked: Sequence[Asked], *, requested_by: str | None = None) -> Erasure:
    """Erase recordings, whatever state an earlier attempt was left in.

    First the receipts are written, from when on no run commits these recordings again. Then each day that holds
    something of them is written anew without them and aggregated, in one transaction a day. Last every older
    snapshot expires, the files that only they needed are removed, and all that is left is scanned.

    Args:
        settings: where the lake, and the models' caches, lie.
        asked: the recordings.
        requested_by: who asked for it, for the receipt.

    Raises:
        ErasureError: the scan found something that could not be removed.
        LakeError: a transaction lost against other writers in every attempt.
    """
    with open_lake(settings.warehouse) as lake:
        bound_memory(lake.connection, memory_mb=settings.maintain.memory_mb)
        with _registered(lake.connection, "asked", _table(settings, asked)):
            erasure = _planned(lake, settings, asked)
            _write_receipts(lake, erasure, requested_by)
            # Again: a run may have committed one of them until the receipts stood.
            erasure = _planned(lake, settings, asked)
            for day in erasure.days:
                _erase_from_day(lake, settings, day, {each.recording_id for each in asked})
            _erase_from_runs(lake)
            _forget_snapshots(lake)
            erasure.removed_files = _remove_files(lake)
            forget_bounds(lake)
            _scan(lake, settings, erasure)
    for folder in erasure.caches:
        erasure.cached_entries += empty(folder)
    compact_catalog(settings.warehouse)
    named = names_in_catalog(
        settings.warehouse, [text for each in asked for text in (each.recording_id, each.uri)]
    )
    if named:
        raise ErasureError(
            f"the catalog still names {named} erased recordings; close what has it open, and erase them again"
        )
    return erasure


def _planned(lake: Lake, settings: Settings, asked: Sequence[Asked]) -> Erasure:
    held = [Held(*row) for row in lake.rows(statement("erasable"))]
    days = {each.date for each in held}
    by = settings.aggregate.by
    held_back = held_back_days(lake, min(days), max(days), dimensions=by) if days else []
    ((snapshots,),) = lake.rows("SELECT count(*) FROM lake.snapshots()")
    return Erasure(
        asked, held, settings.registry.cache_folders(), snapshots, [day for day in held_back if day in days]
    )


def _table(settings: Settings, asked: Sequence[Asked]) -> pa.Table:
    """Return the recordings with the keys that errors may name them by."""
    source = open_source(settings.source.uri, settings.source.s3).object_uri("")
    return pa.table(
        {
            "recording_id": pa.array([each.recording_id for each in asked], pa.string()),
            "uri": pa.array([each.uri for each in asked], pa.string()),
            "key": pa.array([each.uri.removeprefix(source) for each in asked], pa.string()),
        }
    )


def _write_receipts(lake: Lake, erasure: Erasure, requested_by: str | None) -> None:
    def work(connection: duckdb.DuckDBPyConnection) -> None:
        # All guards: a shard that is being committed is made again, reads the receipts, and leaves them out.
        take_guards(connection, _ALL_GUARDS)
        before = {each for (each,) in connection.execute(statement("erased_already")).fetchall()}
        rows = [
            {
                "recording_hash": each.recording_hash,
                "erased_at": datetime.now(UTC),
                "analyses": sum(
                    held.analyses for held in erasure.held if held.recording_id == each.recording_id
                ),
                "segments": sum(
                    held.segments for held in erasure.held if held.recording_id == each.recording_id
                ),
                "requested_by": requested_by,
            }
            for each in erasure.asked
            if each.recording_hash not in before
        ]
        append(connection, ERASURES, pa.Table.from_pylist(rows, schema=ERASURES.schema))

    lake.transact(work, author=_AUTHOR, message=f"receipts of {len(erasure.asked)} recordings", extra={})


def _erase_from_day(lake: Lake, settings: Settings, day: date, erased: set[str]) -> None:
    """A reader sees the day with them or without, aggregates included."""

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        take_guards(connection, [day])
        for table in GROWING:
            rewrite_day(connection, table, day, without=erased)
        aggregate_within(connection, day, dimensions=settings.aggregate.by, run_id=_AUTHOR)

    lake.transact(work, author=_AUTHOR, message=f"erase from {day}", extra={"date": str(day)})


def _erase_from_runs(lake: Lake) -> None:
    """Take the errors and the named keys out of the rows of runs that name an erased recording."""
    if not lake.rows(statement("runs_that_name")):
        return

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        rows = (
            connection.execute("FROM lake.runs").to_arrow_table().select(RUNS.schema.names).cast(RUNS.schema)
        )
        naming = {run_id for (run_id,) in connection.execute(statement("runs_that_name")).fetchall()}
        kept = [
            row | {"error": "erased: it named a recording", "named_keys": []}
            if row["run_id"] in naming
            else row
            for row in rows.to_pylist()
        ]
        connection.execute("DELETE FROM lake.runs")
        append(connection, RUNS, pa.Table.from_pylist(kept, schema=RUNS.schema))

    lake.transact(work, author=_AUTHOR, message="erase from the runs", extra={})


def _forget_snapshots(lake: Lake) -> None:
    """Expire every snapshot but the last.

    A transaction that began before is told of what happened since by these snapshots. The last one takes all guards
    and stays, so that whoever commits to a day still conflicts with it, and is made again.
    """
    lake.transact(
        lambda connection: take_guards(connection, _ALL_GUARDS), author=_AUTHOR, message="erased", extra={}
    )
    last = lake.latest_snapshot()
    time.sleep(_GRACE_S)
    expire(
        lake,
        [
            snapshot
            for (snapshot,) in lake.rows("SELECT snapshot_id FROM lake.snapshots()")
            if snapshot < last
        ],
    )


def _remove_files(lake: Lake) -> int:
    return len(
        lake.retried(
            lambda: lake.connection.execute(
                "CALL ducklake_cleanup_old_files('lake', cleanup_all => true)"
            ).fetchall()
        )
    )


def _scan(lake: Lake, settings: Settings, erasure: Erasure) -> None:
    """Read every Parquet file below the data path; what names an erased recording must be an orphan, and goes too."""
    data = settings.warehouse.data
    endpoint = settings.warehouse.endpoint_url or settings.source.endpoint_url
    storage = open_source(data, replace(settings.source.s3, endpoint_url=endpoint))
    names = [
        entry.key
        for entry in storage.list("")
        if entry.key.endswith(".parquet") and not entry.key.endswith("-delete.parquet")
    ]
    erasure.scanned_files = len(names)
    scans: Mapping[str, str] = dict.fromkeys((table.name for table in GROWING), "scan_rows") | {
        "runs": "scan_runs"
    }
    found: set[str] = set()
    for table, group in groupby(sorted(names), key=lambda name: Path(name).parts[1] if "/" in name else ""):
        if table in scans:
            found |= set(_naming(lake, scans[table], data.rstrip("/") + "/", list(group), erasure.unread))
    known = {path for _, path, *_ in lake.rows(statement("catalog_files"))}
    alive = sorted(found & known)
    if alive:
        raise ErasureError(
            f"{len(alive)} files of the catalog still hold erased recordings, such as {alive[0]}; "
            "another run has written them meanwhile: erase them again"
        )
    for name in found:
        # The file of a transaction that never committed, and conflicts with the erasure where it still would.
        if isinstance(storage, S3Source):
            storage.client.delete_object(Bucket=storage.bucket, Key=storage.prefix + name)
        else:
            Path(data, name).unlink(missing_ok=True)
    erasure.removed_files += len(found)


def _naming(lake: Lake, scan: str, folder: str, names: list[str], unread: list[str]) -> Iterator[str]:
    """Yield the files that name an asked recording; what is no Parquet is left in `unread`."""
    for start in range(0, len(names), 500):
        batch = [folder + name for name in names[start : start + 500]]
        try:
            rows = lake.rows(statement(scan), {"files": batch})
        except duckdb.Error:
            if len(names) == 1:
                unread.append(names[0])
                continue
            for name in names[start : start + 500]:
                yield from _naming(lake, scan, folder, [name], unread)
            continue
        yield from (path.removeprefix(folder) for (path,) in rows)


@contextmanager
def _registered(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> Iterator[None]:
    connection.register(name, table)
    try:
        yield
    finally:
        connection.unregister(name)
