"""The published file: summaries and views of the lake as tables of one plain DuckDB file, which needs no DuckLake.

Views become tables: those of a DuckDB file are bound by whoever opens it, and earlier versions bind some of their
functions otherwise (before 1.2 a MAP's subscript was a list) or not at all.
"""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import duckdb
import pyarrow as pa

from emolake.atomic import move_whole, replacing, workshop
from emolake.errors import EmolakeError
from emolake.lake.disclosure import Disclosure, Selection, copied_to_parquet, known_by, selections
from emolake.lake.memory import bound_memory, spill_apart
from emolake.lake.registration import registered
from emolake.lake.stored_columns import create_filled
from emolake.lake.transact import Lake
from emolake.lake.trouble import reason
from emolake.schemas.tables import PUBLISHED
from emolake.sql import literal, quoted

_STORAGE_VERSION = "v1.0.0"
_MAGIC = slice(8, 12), b"DUCK"


class PublishError(EmolakeError):
    """The published file cannot be written; the one before stays as it is."""


@dataclass(frozen=True)
class Published:
    """What was published: the file, and each table with its rows and what was left out of it."""

    path: Path
    tables: Sequence[tuple[Selection, int]]
    bytes: int


def publish(
    lake: Lake, path: Path, disclosure: Disclosure, *, memory_mb: int, force: bool = False
) -> Published:
    """Write the published file beside the one that is there, all of one snapshot, and let it take its place.

    Whoever has the one before open goes on reading it.

    Args:
        lake: open to read.
        path: the file.
        disclosure: what may be in it.
        memory_mb: what DuckDB may take for it; what is beyond goes to disk.
        force: replace whatever file is there.

    Raises:
        PublishError: it cannot be written, or what is there was not published, as far as can be seen.
        SnapshotExpiredError: its snapshot expired in every attempt.
    """
    target = path.resolve()  # a link stays one
    if not force:
        _check_replaceable(target)
    try:
        with workshop(target.parent, target.name) as work:
            bound_memory(lake.connection, memory_mb=memory_mb)
            parquet, made = work / "parquet", work / target.name
            chosen, snapshot = lake.answer(lambda: _copied(lake, disclosure, parquet))
            tables = _build(made, parquet, chosen, disclosure, snapshot, memory_mb=memory_mb)
            if target.exists():
                shutil.copymode(target, made)
            # What somebody wrote into the file before is of that file, and would be taken for a part of this one.
            target.with_name(f"{target.name}.wal").unlink(missing_ok=True)
            move_whole(made, target)
            with replacing(_marker(target)) as marker:
                marker.write(_mark(target))
    except (OSError, duckdb.IOException) as error:
        raise PublishError(f"{path} cannot be written: {reason(error)}; {_remedy(target)}") from error
    return Published(path, tables, target.stat().st_size)


def _remedy(target: Path) -> str:
    """Return what to do about a place that cannot be written, and what is true of the file that is there."""
    there = False
    with suppress(OSError):  # nobody can look into a folder without permissions
        there = target.exists()
    stays = "; the file before is as it was" if there else ""
    return f"make room there, or correct its permissions, or give another file with -o or publish.file{stays}"


def _check_replaceable(target: Path) -> None:
    """Refuse to replace a file that was not published."""
    if target.is_dir():
        raise PublishError(f"{target} is a folder; give a file, such as {target / 'analytics.duckdb'}")
    if not target.exists():
        return
    if _is_marked(target):
        return
    place, magic = _MAGIC
    with target.open("rb") as file:
        is_database = file.read(place.stop)[place] == magic
    try:
        was_published = is_database and _holds_account(target)
    except duckdb.Error as error:
        raise PublishError(
            f"{target} is there already, and whether `emolake publish` wrote it cannot be seen: another program has it "
            "open to write, or it is encrypted, broken, or of a later version of DuckDB; close it there, give another "
            "file with -o, or --force to replace it"
        ) from error
    if not was_published:
        raise PublishError(
            f"{target} is there already, and `emolake publish` did not write it; give another file with -o, or "
            "--force to replace it"
        )


def _holds_account(path: Path) -> bool:
    with duckdb.connect(str(path), read_only=True) as file:
        return (PUBLISHED.name,) in file.execute("SELECT table_name FROM duckdb_tables()").fetchall()


def _marker(target: Path) -> Path:
    """Return the file that tells a published one from others where it cannot be read.

    Many programs open every database to write, and nobody else can look into it then.
    """
    return target.with_name(f".{target.name}.published")


def _mark(target: Path) -> bytes:
    """Return what a file that somebody else has put there, or written into, does not have in common with it."""
    found = target.stat()
    return f"{found.st_size} {found.st_mtime_ns}\n".encode()


def _is_marked(target: Path) -> bool:
    try:
        return _marker(target).read_bytes() == _mark(target)
    except OSError:
        return False


def _copied(lake: Lake, disclosure: Disclosure, folder: Path) -> tuple[list[Selection], int]:
    """Write what leaves the lake into Parquet files of a folder; an earlier attempt's are gone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    chosen = selections(lake, disclosure)
    for each in chosen:
        copied_to_parquet(lake, each.sql, folder / f"{each.name}.parquet")
    return chosen, lake.latest_snapshot()


def _build(
    path: Path,
    parquet: Path,
    chosen: Sequence[Selection],
    disclosure: Disclosure,
    snapshot: int,
    *,
    memory_mb: int,
) -> list[tuple[Selection, int]]:
    """Make the file of the Parquet files, with the dictionary's sentences as comments."""
    tables = []
    with duckdb.connect() as file:
        spill_apart(file)
        bound_memory(file, memory_mb=memory_mb)
        file.execute(
            f"ATTACH {literal(str(path))} AS published (STORAGE_VERSION {literal(_STORAGE_VERSION)})"
        )
        file.execute("USE published")
        file.execute("SET threads = 1")  # row groups are then filled one after the other
        for each in chosen:
            source = parquet / f"{each.name}.parquet"
            tables.append((each, create_filled(file, each.name, literal(str(source)))))
            source.unlink()
            _comment(file, each)
        row = {
            "published_at": datetime.now(UTC),
            "emolake_version": version("emolake"),
            "snapshot": snapshot,
            "tables": [each.name for each in chosen],
            "personal": disclosure.personal,
        }
        with registered(file, made=pa.Table.from_pylist([row], schema=PUBLISHED.schema)):
            file.execute(f"CREATE TABLE {PUBLISHED.name} AS FROM made")
        file.execute("USE memory")
        file.execute("CHECKPOINT published")
        file.execute("DETACH published")
    return tables


def _comment(file: duckdb.DuckDBPyConnection, selection: Selection) -> None:
    known = known_by(selection.name)
    if known is None:
        return
    file.execute(f"COMMENT ON TABLE {quoted(known.name)} IS {literal(known.description)}")
    for column in known.columns:
        if column.name in selection.columns:
            said = column.description + (f" ({column.unit})" if column.unit else "")
            place = f"{quoted(known.name)}.{quoted(column.name)}"
            file.execute(f"COMMENT ON COLUMN {place} IS {literal(said)}")
