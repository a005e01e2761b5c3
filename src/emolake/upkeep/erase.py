"""Erasure: a recording leaves tables, snapshots, files, caches and the catalog, and only a receipt stays."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import duckdb
import pyarrow as pa

from emolake.errors import ConfigurationError, EmolakeError
from emolake.lake.connect import open_lake
from emolake.lake.memory import bound_memory
from emolake.lake.questions import ask
from emolake.lake.registration import registered
from emolake.lake.rewrite import GROWING, rewrite_day
from emolake.lake.schema import GUARD_SLOTS, append
from emolake.lake.snapshots import expire
from emolake.lake.transact import Lake, take_guards
from emolake.models.disk_cache import empty
from emolake.schemas.days import DayRange
from emolake.schemas.tables import ANALYSES, ERASURES, RUNS, SEGMENTS
from emolake.settings import Settings
from emolake.source.opening import open_source
from emolake.sql import statement
from emolake.tasks.aggregate import HeldBack, aggregate_within, held_back
from emolake.tasks.plan import recording_id
from emolake.upkeep.catalog_remains import compact_catalog, forget_bounds, names_in_catalog
from emolake.upkeep.data_store import open_data_store

# Until snapshots expire, so that most of the transactions and queries under way come to an end. The others notice: see
# `Lake.answer` and `Lake.transact`.
_GRACE_S = 2.0
# As ordinals: a guard is taken for each of these days, which are all guards that there are.
_ALL_GUARDS = [date.fromordinal(1 + slot) for slot in range(GUARD_SLOTS)]
_AUTHOR = "erase"
_FILES_AT_ONCE = 500


class ErasureError(EmolakeError):
    """There is nothing of a recording to erase, or something of it is still there."""


@dataclass(frozen=True)
class ErasureRequest:
    """A recording that is to be erased; `uri` may be that of an object which the lake has never held."""

    recording_id: str
    uri: str

    @property
    def recording_hash(self) -> str:
        """What the receipt knows it by."""
        return sha256(self.recording_id.encode()).hexdigest()


@dataclass(frozen=True)
class StoredRows:
    """How many rows of a recording the tables hold on one day."""

    recording_id: str
    date: date
    rows: Mapping[str, int]
    """By the name of the table; one that holds nothing may be missing."""

    @property
    def analyses(self) -> int:
        """Rows of the ledger."""
        return self.rows.get(ANALYSES.name, 0)

    @property
    def segments(self) -> int:
        """Rows of segments."""
        return self.rows.get(SEGMENTS.name, 0)


@dataclass(frozen=True)
class ErasurePlan:
    """What an erasure takes away."""

    requests: Sequence[ErasureRequest]
    stored: Sequence[StoredRows]
    caches: Sequence[Path]
    snapshots: int
    held_back: Sequence[HeldBack]
    unknown: Sequence[ErasureRequest]
    """Those that no table holds anything of, and no earlier erasure left a receipt of."""

    @property
    def days(self) -> list[date]:
        """The days whose rows and aggregates are written again."""
        return sorted({each.date for each in self.stored})


@dataclass(frozen=True)
class _Scan:
    """What a scan of the data path came to."""

    scanned: int
    removed: int
    unread: tuple[str, ...]


@dataclass(frozen=True)
class ErasureResult:
    """What an erasure took away."""

    removed_files: int
    scanned_files: int
    cached_entries: int
    unread: tuple[str, ...]
    """Files of the data path that are no whole Parquet file, and could not be searched."""


def request_by_name(settings: Settings, name: str) -> ErasureRequest:
    """Return the recording of a URI, of a key relative to the source, or of a file's path: the one that the lake knows.

    Raises:
        ConfigurationError: the lake knows a recording of this key and another one of this path.
    """
    candidates = _candidates(settings, name)
    plan = plan_erasure(settings, candidates)
    stored = {each.recording_id for each in plan.stored}
    known = [each for each in candidates if each.recording_id in stored] or [
        each for each in candidates if each not in plan.unknown
    ]
    if len(known) > 1:
        raise ConfigurationError(
            f"{name} may be {' or '.join(each.uri for each in known)}, and the lake knows both; give the URI"
        )
    return (known or candidates)[0]


def _candidates(settings: Settings, name: str) -> list[ErasureRequest]:
    """Return what a person may mean by a name, the likeliest first."""
    uris = [name]
    if "://" not in name:
        path = Path(name).expanduser()
        # As it is and with its links followed: the source follows those of its own folder only.
        uris = [f"file://{each.as_posix()}" for each in (path.resolve(), path.absolute())]
        if not path.is_absolute():
            key = open_source(settings.source.uri, settings.source.s3).object_uri(name.removeprefix("./"))
            uris.insert(len(uris) if path.exists() else 0, key)
    return [ErasureRequest(recording_id(uri), uri) for uri in dict.fromkeys(uris)]


def check_known(plan: ErasurePlan, settings: Settings) -> None:
    """Refuse an erasure of what the lake knows nothing of: a typing mistake would end time travel for nothing.

    Raises:
        ErasureError: there is such a recording among the requests, or there are no requests.
    """
    if plan.unknown:
        raise ErasureError(
            f"the lake holds nothing of {plan.unknown[0].uri}; nothing was erased. Give a recording as recordings.uri "
            f"has it, or its key below {settings.source.uri}; --allow-unknown leaves a receipt all the same, so that "
            "it is never analysed"
        )
    if not plan.requests:
        raise ErasureError(
            "no recording of the lake fits the condition; nothing was erased, and no receipt written. "
            "An erasure that was interrupted is finished by giving its recordings with --recording"
        )


def requests_by_condition(settings: Settings, condition: str) -> list[ErasureRequest]:
    """Return the recordings for which a condition over the table `recordings` holds.

    Raises:
        QueryError: the condition is none, or more than one.
    """
    with open_lake(settings.warehouse, read_only=True, timezone=settings.source.timezone) as lake:
        question = f"SELECT recording_id, uri FROM recordings WHERE (\n{condition}\n) ORDER BY uri"
        return [
            ErasureRequest(*row) for row in lake.answer(lambda: ask(lake.connection, question).fetchall())
        ]


def plan_erasure(settings: Settings, requests: Sequence[ErasureRequest]) -> ErasurePlan:
    """Return what an erasure would take away; nothing is changed."""
    with (
        open_lake(settings.warehouse, read_only=True) as lake,
        registered(lake.connection, requested=_table(settings, requests)),
    ):
        return lake.answer(lambda: _planned(lake, settings, requests))


def erase(
    settings: Settings, requests: Sequence[ErasureRequest], *, requested_by: str | None = None
) -> ErasureResult:
    """Erase recordings, whatever state an earlier attempt was left in.

    First the receipts are written, from when on no run commits these recordings again. Then each day that holds
    something of them is written again without them and aggregated, in one transaction a day. Last every older
    snapshot expires, the files that only they needed are removed, and all that is left is scanned.

    Args:
        settings: where the lake, and the models' caches, lie.
        requests: the recordings.
        requested_by: who asked for it, for the receipt.

    Raises:
        ErasureError: the scan found something that could not be removed.
        LakeError: a transaction lost against other writers in every attempt.
    """
    with open_lake(settings.warehouse, create=False) as lake:
        bound_memory(lake.connection, memory_mb=settings.maintain.memory_mb)
        with registered(lake.connection, requested=_table(settings, requests)):
            before = lake.answer(lambda: _planned(lake, settings, requests))
            _write_receipts(lake, before, requested_by)
            # Again: a run may have committed one of them until the receipts were there.
            plan = lake.answer(lambda: _planned(lake, settings, requests))
            for day in plan.days:
                _erase_from_day(lake, settings, day, {each.recording_id for each in requests})
            _forget_snapshots(lake)
            removed = len(lake.retried(partial(lake.rows, statement("remove_unneeded_files"))))
            forget_bounds(lake)
            scan = _scan(lake, settings)
    cached_entries = sum(map(empty, plan.caches))
    compact_catalog(settings.warehouse)
    texts = [text for each in requests for text in (each.recording_id, each.uri)]
    named = names_in_catalog(settings.warehouse, texts)
    if named:
        raise ErasureError(
            f"the catalog still names {named} erased recordings; close what has it open, and erase them again"
        )
    return ErasureResult(removed + scan.removed, scan.scanned, cached_entries, scan.unread)


def _planned(lake: Lake, settings: Settings, requests: Sequence[ErasureRequest]) -> ErasurePlan:
    stored = _stored(lake)
    days = {each.date for each in stored}
    erased = {each for (each,) in lake.rows(statement("erased_already"))}
    gone = {each.recording_id for each in requests if each.recording_hash in erased}
    known = gone | {each.recording_id for each in stored}
    held = held_back(lake, DayRange.around(days)) if days else []
    return ErasurePlan(
        requests,
        stored,
        settings.registry.cache_folders(),
        len(lake.rows(statement("snapshot_ids"))),
        [each for each in held if each.date in days],
        [each for each in requests if each.recording_id not in known],
    )


def _stored(lake: Lake) -> list[StoredRows]:
    """Return what all tables that grow with recordings hold of those that are requested, by day and recording."""
    found: dict[tuple[date, str], dict[str, int]] = {}
    for table in GROWING:
        for recording, day, rows in lake.rows(statement("erasable", table=table.name)):
            found.setdefault((day, recording), {})[table.name] = int(rows)
    return [StoredRows(recording, day, rows) for (day, recording), rows in sorted(found.items())]


def _table(settings: Settings, requests: Sequence[ErasureRequest]) -> pa.Table:
    """Return the recordings with the keys that errors may name them by."""
    source = open_source(settings.source.uri, settings.source.s3).object_uri("")
    return pa.table(
        {
            "recording_id": pa.array([each.recording_id for each in requests], pa.string()),
            "uri": pa.array([each.uri for each in requests], pa.string()),
            "key": pa.array([each.uri.removeprefix(source) for each in requests], pa.string()),
        }
    )


def _write_receipts(lake: Lake, plan: ErasurePlan, requested_by: str | None) -> None:
    def work(connection: duckdb.DuckDBPyConnection) -> None:
        # All guards: a shard that is being committed starts again, reads the receipts, and leaves them out.
        take_guards(connection, _ALL_GUARDS)
        before = {each for (each,) in connection.execute(statement("erased_already")).fetchall()}
        rows = [
            _receipt(each, [rows for rows in plan.stored if rows.recording_id == each.recording_id])
            | {"requested_by": requested_by}
            for each in plan.requests
            if each.recording_hash not in before
        ]
        append(connection, ERASURES, pa.Table.from_pylist(rows, schema=ERASURES.schema))

    lake.transact(work, author=_AUTHOR, message=f"receipts of {len(plan.requests)} recordings", extra={})


def _receipt(request: ErasureRequest, stored: Sequence[StoredRows]) -> dict[str, object]:
    return {
        "recording_hash": request.recording_hash,
        "erased_at": datetime.now(UTC),
        "analyses": sum(each.analyses for each in stored),
        "segments": sum(each.segments for each in stored),
    }


def _erase_from_day(lake: Lake, settings: Settings, day: date, erased: set[str]) -> None:
    """Write a day again without some recordings: a reader sees it with them or without, aggregates included."""

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        take_guards(connection, [day])
        for table in GROWING:
            rewrite_day(connection, table, day, without=erased)
        aggregate_within(connection, [day], dimensions=settings.breakdown, run_id=_AUTHOR)

    lake.transact(work, author=_AUTHOR, message=f"erase from {day}", extra={"date": str(day)})


def _forget_snapshots(lake: Lake) -> None:
    """Take the erased recordings out of the rows of runs, and expire every snapshot but that of this commit.

    A transaction that began before learns what happened since from these snapshots, and would commit blindly. So the
    last one, which stays, takes all guards and writes the runs again: whoever commits to a day, or refreshes the row
    of a run, still conflicts with it, and starts again.
    """

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        take_guards(connection, _ALL_GUARDS)
        _erase_from_runs(connection)

    lake.transact(work, author=_AUTHOR, message="erased", extra={})
    last = lake.latest_snapshot()
    time.sleep(_GRACE_S)
    expire(lake, [snapshot for (snapshot,) in lake.rows(statement("snapshot_ids")) if snapshot < last])


def _erase_from_runs(connection: duckdb.DuckDBPyConnection) -> None:
    """Write all rows of runs again, without the errors and named keys of those that name an erased recording."""
    found = connection.execute(statement("all_runs")).to_arrow_table()
    rows = found.select(RUNS.schema.names).cast(RUNS.schema)
    naming = {run_id for (run_id,) in connection.execute(statement("runs_that_name")).fetchall()}
    blank: dict[str, object] = {"error": "erased: it named a recording", "named_keys": [], "warnings": []}
    kept = [row | blank if row["run_id"] in naming else row for row in rows.to_pylist()]
    connection.execute(statement("delete_runs"))
    append(connection, RUNS, pa.Table.from_pylist(kept, schema=RUNS.schema))


def _scan(lake: Lake, settings: Settings) -> _Scan:
    """Read every Parquet file below the data path; what names an erased recording must be an orphan, and goes too."""
    store = open_data_store(settings)
    names = [
        entry.key
        for entry in store.list("")
        if entry.key.endswith(".parquet") and not entry.key.endswith("-delete.parquet")
    ]
    scans = dict.fromkeys((table.name for table in GROWING), "scan_rows") | {"runs": "scan_runs"}
    found: set[str] = set()
    unread: list[str] = []
    folder = settings.warehouse.data.rstrip("/") + "/"
    for table, group in groupby(sorted(names), key=lambda name: Path(name).parts[1] if "/" in name else ""):
        if table in scans:
            for name, whole in _naming(lake, scans[table], folder, list(group)):
                if whole:
                    found.add(name)
                else:
                    unread.append(name)
    known = {path for _, path, *_ in lake.rows(statement("catalog_files"))}
    alive = sorted(found & known)
    if alive:
        raise ErasureError(
            f"{len(alive)} files of the catalog still hold erased recordings, such as {alive[0]}; "
            "another run has written them meanwhile: erase them again"
        )
    for name in found:
        # The file of a transaction that never committed, and conflicts with the erasure where it still would.
        store.remove(name)
    return _Scan(len(names), len(found), tuple(unread))


def _naming(lake: Lake, scan: str, folder: str, names: list[str]) -> Iterator[tuple[str, bool]]:
    """Yield the files that name a requested recording, with True, and what is no Parquet, with False."""
    for start in range(0, len(names), _FILES_AT_ONCE):
        batch = names[start : start + _FILES_AT_ONCE]
        try:
            rows = lake.rows(statement(scan), {"files": [folder + name for name in batch]})
        except duckdb.Error:
            if len(batch) == 1:
                yield batch[0], False
                continue
            for name in batch:
                yield from _naming(lake, scan, folder, [name])
            continue
        yield from ((path.removeprefix(folder), True) for (path,) in rows)
