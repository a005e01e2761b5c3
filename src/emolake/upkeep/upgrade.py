"""An upgrade that is rehearsed: the versions installed open a copy of the catalog, and must read what lies there."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from emolake.lake.catalog_copy import CatalogCopy, copied_catalog
from emolake.lake.schema import create_tables, missing_columns, missing_tables, outdated_views
from emolake.lake.transact import LakeError
from emolake.lake.unopened import NoLakeError
from emolake.settings import Settings
from emolake.sql import quoted, statement


@dataclass(frozen=True)
class TableRehearsed:
    """A table: its rows in the Parquet files of the original, and what the versions installed read through the copy."""

    table: str
    rows_before: int
    rows_after: int
    same: bool


@dataclass(frozen=True)
class Rehearsal:
    """What an upgrade to the versions installed came to, on a copy."""

    duckdb: str
    ducklake: str
    made_by: str
    format_before: str
    format_after: str
    must_migrate: bool
    """Whether DuckLake refuses the catalog until it is migrated, from when on older versions refuse it."""
    new_tables: Sequence[str]
    new_columns: Sequence[str]
    new_views: Sequence[str]
    tables: Sequence[TableRehearsed]

    @property
    def different(self) -> list[str]:
        """Names of the tables whose rows are not what they were."""
        return [each.table for each in self.tables if not each.same]


@dataclass(frozen=True)
class _Plain:
    """A table as the catalog's own tables and the Parquet files have it, read without DuckLake."""

    name: str
    columns: Sequence[str]
    rows: int
    hashes: int


def rehearse_upgrade(settings: Settings) -> Rehearsal:
    """Open a copy of the catalog with the versions installed, migrate it, and compare every table with the original.

    What lies there is read from the catalog's own tables and the Parquet files without DuckLake: no version of it has
    a say in it. Then DuckLake opens the copy, and migrates it where it would refuse it otherwise; the tables and
    columns that this version of emolake adds are added; and each table is read again. Data files are only read.

    Raises:
        LakeError: the catalog cannot be copied, or the versions installed cannot open the copy.
    """
    with copied_catalog(settings.warehouse) as copy:
        with copy.as_tables() as schema:
            format_before, made_by = _metadata(copy, schema)
            before = list(_plain_tables(copy, schema))
        must_migrate = _refused(copy)
        with copy.as_lake(migrate=must_migrate):
            new_tables = [table.name for table in missing_tables(copy.connection)]
            new_columns = [f"{table}.{column.name}" for table, column in missing_columns(copy.connection)]
            new_views = [view.name for view in outdated_views(copy.connection)]
            create_tables(copy.connection)
            tables = [_rehearsed(copy.connection, each) for each in before]
        with copy.as_tables() as schema:
            format_after, _ = _metadata(copy, schema)
        ((duckdb_version, ducklake_version),) = copy.connection.execute(
            statement("extension_version")
        ).fetchall()
    return Rehearsal(
        duckdb_version,
        ducklake_version,
        made_by,
        format_before,
        format_after,
        must_migrate,
        new_tables,
        new_columns,
        new_views,
        tables,
    )


def _metadata(copy: CatalogCopy, schema: str) -> tuple[str, str]:
    try:
        ((format, made_by),) = copy.connection.execute(statement("plain_metadata", schema=schema)).fetchall()
    except duckdb.CatalogException:
        raise NoLakeError(copy.where) from None
    return format, made_by


def _refused(copy: CatalogCopy) -> bool:
    try:
        with copy.as_lake(migrate=False):
            return False
    except LakeError as error:
        if "version mismatch" not in str(error):
            raise
        return True


def _plain_tables(copy: CatalogCopy, schema: str) -> list[_Plain]:
    parameters = {"data": f"{copy.data.rstrip('/')}/"}
    found = copy.connection.execute(statement("plain_tables", schema=schema), parameters).fetchall()
    return [_plain(copy.connection, *table) for table in found]


def _plain(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    columns: list[str],
    files: list[str],
    deletes: dict[str, str],
) -> _Plain:
    if not files:
        return _Plain(name, columns, 0, 0)
    try:
        if deletes:
            connection.execute(
                statement("plain_deleted"), {"deletes": list(deletes), "files": list(deletes.values())}
            )
        else:
            connection.execute(statement("plain_nothing_deleted"))
        held = {
            each for (each,) in connection.execute(statement("plain_columns"), {"files": files}).fetchall()
        }
        # A column that was added since is in no older file, and NULL.
        wanted = [quoted(each) if each in held else f"NULL AS {quoted(each)}" for each in columns]
        query = statement("plain_rows", columns=", ".join(wanted))
        ((rows, hashes),) = connection.execute(query, {"files": files}).fetchall()
    except duckdb.Error as error:
        raise LakeError(
            f"the files of {name} cannot be read as they lie there ({str(error).splitlines()[0]}); `emolake verify` "
            "shows what is lost or broken, which comes before an upgrade"
        ) from error
    return _Plain(name, columns, rows, hashes)


def _rehearsed(connection: duckdb.DuckDBPyConnection, before: _Plain) -> TableRehearsed:
    columns = ", ".join(quoted(each) for each in before.columns)
    query = statement("lake_rows", columns=columns, table=quoted(before.name))
    try:
        ((rows, hashes),) = connection.execute(query).fetchall()
    except duckdb.Error as error:
        raise LakeError(
            f"DuckLake does not read {before.name} from the copy: {str(error).splitlines()[0]}; stay with the versions "
            "that are in use"
        ) from error
    same = (rows, hashes) == (before.rows, before.hashes)
    return TableRehearsed(before.name, before.rows, rows, same)
