"""Commit: one DuckLake transaction of one shard or several, which finds out what another run has done meanwhile."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from emolake.lake.registration import registered
from emolake.lake.schema import append, check_rows
from emolake.lake.transact import Lake, take_guards
from emolake.schemas.records import AnalysisKey
from emolake.schemas.shard_rows import ShardRows
from emolake.schemas.tables import ANALYSES, RECORDING_DYNAMICS, RECORDINGS, SEGMENTS
from emolake.sql import statement


@dataclass(frozen=True)
class Committed:
    """What a commit did: `written` recordings, those that were `already_done`, and the days it touched.

    What another run committed meanwhile is done, and so is what was erased meanwhile.
    """

    written: frozenset[str]
    already_done: frozenset[str]
    days: frozenset[date]


def commit_shard(
    lake: Lake, rows: ShardRows, *, key: AnalysisKey, run_id: str, message: str, force: bool = False
) -> Committed:
    """Write a shard's rows in one transaction; see `commit_shards`."""
    (committed,) = commit_shards(lake, [rows], key=key, run_id=run_id, message=message, force=force)
    return committed


def commit_shards(
    lake: Lake,
    shards: Sequence[ShardRows],
    *,
    key: AnalysisKey,
    run_id: str,
    message: str,
    force: bool = False,
) -> list[Committed]:
    """Write the rows of several shards in one transaction; return what became of each.

    They replace the recordings' older rows. The transaction updates the guards of its days and re-reads the ledger: of
    two runs that analysed the same recording, the second conflicts, starts again and finds the work done. The lake then
    holds what it would after one transaction a shard, in their order.

    Args:
        lake: the open lake.
        shards: what each shard came to.
        key: model and configuration of the rows.
        run_id: tags the snapshot.
        message: tags the snapshot.
        force: replace also what the ledger holds with the same version, model and configuration.

    Raises:
        SchemaError: rows do not fit their tables.
        LakeError: the transaction lost against other writers in every attempt.
    """
    for rows in shards:
        for table, given in rows.by_table():
            check_rows(table, given)

    def work(connection: duckdb.DuckDBPyConnection) -> list[Committed]:
        found: list[Committed] = []
        for disjoint in _without_common_recordings(shards):
            joined = ShardRows.joined(disjoint)
            replaced = _replace(connection, joined, key, force)
            found += [replaced.of(rows) for rows in disjoint]
        return found

    extra = {"run_id": run_id, "model": key.model, "config_id": key.config_id}
    return lake.transact(work, author=run_id, message=message, extra=extra)


def _without_common_recordings(shards: Sequence[ShardRows]) -> Iterator[list[ShardRows]]:
    """Yield the shards, in their order, in as few lists as no two shards of a list have a recording in common.

    A shard that was given to another worker may come from both: the second is compared with what the first wrote.
    """
    disjoint: list[ShardRows] = []
    taken: set[str] = set()
    for rows in shards:
        own = set(rows.recordings.column("recording_id").to_pylist())
        if not taken.isdisjoint(own):
            yield disjoint
            disjoint, taken = [], set()
        disjoint.append(rows)
        taken |= own
    if disjoint:
        yield disjoint


@dataclass(frozen=True)
class _Replaced:
    """What a transaction did of some recordings, and the days that the lake held older rows of them under."""

    written: set[str]
    already_done: set[str]
    older_days: dict[str, date]

    def of(self, rows: ShardRows) -> Committed:
        """Return what of it concerns one shard."""
        dates = _by_recording(rows.recordings, "date")
        older = {self.older_days[name] for name in dates if name in self.older_days}
        return Committed(
            frozenset(self.written & dates.keys()),
            frozenset(self.already_done & dates.keys()),
            frozenset(dates.values()) | older,
        )


def _replace(
    connection: duckdb.DuckDBPyConnection, rows: ShardRows, key: AnalysisKey, force: bool
) -> _Replaced:
    days: set[date] = set(rows.recordings.column("date").to_pylist())
    take_guards(connection, sorted(days))
    with registered(connection, new_recordings=rows.recordings):
        erased = {each for (each,) in connection.execute(statement("erased_of_new")).fetchall()}
    rows = rows.without(erased)
    known = _known(connection, rows)
    versions = _by_recording(rows.recordings, "version")
    dates = _by_recording(rows.recordings, "date")
    config_ids = _by_recording(rows.analyses, "config_id")
    already_done = {
        entry["recording_id"]
        for entry in known
        if not force
        and (entry["model"], entry["version"]) == (key.model, versions[entry["recording_id"]])
        # under another day it was read by another zone or pattern, and moves
        and entry["date"] == dates[entry["recording_id"]]
        # what is excluded has an id of its own in the ledger, and what may succeed later has no row in it
        and entry["config_id"] == config_ids.get(entry["recording_id"], key.config_id)
    }
    rows = rows.without(already_done)
    older = [entry for entry in known if entry["recording_id"] not in already_done]
    if older:
        days |= {entry["date"] for entry in older}
        take_guards(connection, sorted(days))
        _delete(connection, older, key, versions, dates)
    for table, new in rows.by_table():
        append(connection, table, new)
    return _Replaced(
        set(_by_recording(rows.recordings, "version")),
        already_done | erased,
        {entry["recording_id"]: entry["date"] for entry in older},
    )


def _known(connection: duckdb.DuckDBPyConnection, rows: ShardRows) -> list[dict[str, Any]]:
    """Return what the lake knows of these recordings, by recording and model that has analysed it."""
    if not rows.recordings.num_rows:
        return []
    bounds = pc.min_max(rows.recordings.column("uri")).as_py()
    asked = {"first": bounds["min"], "last": bounds["max"]}
    with registered(connection, new_recordings=rows.recordings):
        known: list[dict[str, Any]] = (
            connection.execute(statement("known_of_new"), asked).to_arrow_table().to_pylist()
        )
    return known


def _by_recording(table: pa.Table, column: str) -> dict[str, Any]:
    """Return a column of rows by their recording."""
    columns = table.select(["recording_id", column]).to_pydict()
    return dict(zip(columns["recording_id"], columns[column], strict=True))


def _delete(
    connection: duckdb.DuckDBPyConnection,
    older: list[dict[str, Any]],
    key: AnalysisKey,
    versions: dict[str, str],
    dates: dict[str, date],
) -> None:
    """Delete this model's older rows, and every model's where the object itself has changed, or its day."""
    recordings = [
        {"recording_id": entry["recording_id"], "date": entry["date"], "model": None} for entry in older
    ]
    analyses = [
        {"recording_id": entry["recording_id"], "date": entry["date"], "model": entry["model"]}
        for entry in older
        if entry["model"] == key.model
        or entry["version"] not in (None, versions[entry["recording_id"]])
        or entry["date"] != dates[entry["recording_id"]]
    ]
    schema = pa.schema(
        [RECORDINGS.schema.field("recording_id"), RECORDINGS.schema.field("date"), ("model", pa.string())]
    )
    for what, replaced, tables in (
        ("recordings", recordings, (RECORDINGS, RECORDING_DYNAMICS)),
        ("analyses", analyses, (SEGMENTS, ANALYSES)),
    ):
        with registered(connection, replaced=pa.Table.from_pylist(replaced, schema=schema)):
            for day in sorted({entry["date"] for entry in replaced}):
                for table in tables:
                    delete = statement(f"delete_replaced_{what}", table=table.name)
                    connection.execute(delete, {"date": day})
