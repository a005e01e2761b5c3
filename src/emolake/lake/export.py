"""Files of the lake's rows, by tables and ranges of days, as Parquet or CSV; memory does not grow with them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb

from emolake.atomic import move_whole, workshop
from emolake.errors import ConfigurationError, EmolakeError
from emolake.lake.disclosure import Disclosure, Selection, copied_to_parquet, counted_rows, selections
from emolake.lake.memory import bound_memory
from emolake.lake.query import copied_to_csv
from emolake.lake.transact import Lake
from emolake.lake.trouble import reason
from emolake.messages import counted

Format = Literal["parquet", "csv"]


class ExportError(EmolakeError):
    """The files cannot be written; the message says which of those that were there have been replaced, if any."""


@dataclass(frozen=True)
class ExportedTable:
    """A table or view as it is exported."""

    selection: Selection
    rows: int
    path: Path
    replaces: bool
    """Whether there is such a file already."""


def plan_export(
    lake: Lake, folder: Path, format: Format, disclosure: Disclosure, names: Collection[str] = ()
) -> list[ExportedTable]:
    """Return what an export would write; nothing is written.

    Args:
        lake: open to read.
        folder: where the files go, one for each table.
        format: of the files.
        disclosure: what may leave the lake.
        names: tables and views; those that `disclosure` includes when left out.

    Raises:
        ConfigurationError: there is no such table or view, or a file is where the folder should be.
    """

    _check_folder(folder)

    def read() -> list[ExportedTable]:
        return [
            _planned(each, counted_rows(lake, each), folder, format)
            for each in selections(lake, disclosure, names)
        ]

    return lake.answer(read)


def export(
    lake: Lake,
    folder: Path,
    format: Format,
    disclosure: Disclosure,
    names: Collection[str] = (),
    *,
    memory_mb: int,
    force: bool = False,
) -> list[ExportedTable]:
    """Write a file for each table or view, all of one snapshot: none appears before all are whole.

    Args:
        lake: open to read.
        folder: where they go; it is made where it is not there.
        format: of the files.
        disclosure: what may leave the lake.
        names: as of `plan_export`.
        memory_mb: what DuckDB may take for it; what is beyond goes to disk.
        force: replace files that are there.

    Raises:
        ConfigurationError: there is no such table or view, such a file is there already, or one is where the folder
            should be.
        ExportError: they cannot be written.
        SnapshotExpiredError: its snapshot expired in every attempt.
    """
    _check_folder(folder)
    targets = [
        _planned(each, 0, folder, format) for each in lake.answer(lambda: selections(lake, disclosure, names))
    ]
    there = [each.path for each in targets if each.replaces]
    if there and not force:
        raise ConfigurationError(
            f"{counted(len(there), 'file')} would be replaced, {there[0]} for one; give another folder with -o, or "
            "--force"
        )
    folders = [each.path for each in targets if each.path.is_dir()]
    if folders:
        raise ExportError(f"{folders[0]} is a folder, and no file can take its place; {_REMOVE_IT}")
    bound_memory(lake.connection, memory_mb=memory_mb)
    moved: list[Path] = []
    try:
        with workshop(folder, "emolake-export") as work:
            written = lake.answer(lambda: _written(lake, work, folder, format, disclosure, names))
            for each in written:
                move_whole(work / each.path.name, each.path)
                moved.append(each.path)
    except (OSError, duckdb.IOException) as error:
        raise ExportError(
            f"{folder} cannot be written: {reason(error)}; {_REMEDY}; {_left(moved)}"
        ) from error
    return written


_REMEDY = "make room there, or correct its permissions"
_UNTOUCHED = "files that were there are as they were"
_REMOVE_IT = f"remove it, or give another folder with -o; {_UNTOUCHED}"


def _left(moved: Sequence[Path]) -> str:
    """Return what has become of the files that were there."""
    if not moved:
        return _UNTOUCHED
    return f"new already: {', '.join(path.name for path in moved)}; the others are as they were"


def _check_folder(folder: Path) -> None:
    if folder.is_file():
        raise ConfigurationError(
            f"{folder} is a file; give a folder with -o, in which each table becomes a file of its own"
        )


def _planned(selection: Selection, rows: int, folder: Path, format: Format) -> ExportedTable:
    path = folder / f"{selection.name}.{format}"
    return ExportedTable(selection, rows, path, path.exists())


def _written(
    lake: Lake, work: Path, folder: Path, format: Format, disclosure: Disclosure, names: Collection[str]
) -> list[ExportedTable]:
    """Write the files into a folder of work, over those of an earlier attempt."""
    copy = copied_to_parquet if format == "parquet" else copied_to_csv
    return [
        _planned(each, copy(lake, each.sql, work / f"{each.name}.{format}"), folder, format)
        for each in selections(lake, disclosure, names)
    ]
