"""Why a catalog cannot be opened as a lake: none is in it yet, its files lie elsewhere, or it cannot be reached.

DuckDB hands on no SQLSTATE, and a server speaks the language that it was set up with, so the catalog is asked, as a
plain database, what it holds; the words of an error only show what the person can read better than a program.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from emolake.lake.transact import LakeError
from emolake.lake.warehouse import Catalog, WarehouseOptions
from emolake.messages import redacted
from emolake.source.uris import without_secrets
from emolake.sql import literal, statement

# Databases that PostgreSQL makes with a server; a role that may log in can enter one of them.
_MAINTENANCE = ("postgres", "template1")
# What libpq says of an attempt; its other words may repeat a part of the connection string.
_ATTEMPT = re.compile(r"(connection to server|could not translate host name)\b.*", re.DOTALL)
# Severity and message of a server, whatever its language: `FATAL:  …`, `SCHWERWIEGEND:  …`.
_SERVER_SPEAKS = re.compile(r"failed: [^\s:]+:  ")
_LONGEST = 300


class NoLakeError(LakeError):
    """There is no lake yet."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where} is not there yet; the first run makes it: `emolake nightly`, or `emolake backfill FROM TO`"
        )
        self.where = where

    def __reduce__(self) -> tuple[type["NoLakeError"], tuple[str]]:
        return NoLakeError, (self.where,)


class OtherDataError(LakeError):
    """The catalog knows its files by another place than `warehouse.data`."""


class PresentError(LakeError):
    """The catalog holds this very lake, and yet could not be opened: it may have been made just then."""


def unopened(
    connection: duckdb.DuckDBPyConnection, warehouse: WarehouseOptions, error: duckdb.Error, *, making: bool
) -> LakeError:
    """Return what the person reads instead of an error of attaching the lake.

    Args:
        connection: has the extension of the catalog's kind.
        warehouse: where catalog and data lie.
        error: what DuckDB raised.
        making: whether the lake would have been made.
    """
    catalog = warehouse.parsed_catalog
    try:
        kept = data_path(connection, catalog)
    except duckdb.Error as plain:
        # Of both errors the plain database's: DuckLake's own repeats the connection string.
        return LakeError(_unreachable(connection, catalog, plain))
    if kept is None and not making:
        return NoLakeError(catalog.where)
    if kept is not None and not is_same_place(kept, warehouse.data):
        old, new = without_secrets(kept.rstrip("/")), without_secrets(warehouse.data)
        return OtherDataError(
            f"{catalog.where} belongs to other data than warehouse.data = {new}: its files are at {old}; correct "
            f"warehouse.data, or, when they were moved or copied to {new}, see `emolake relocate --dry-run`"
        )
    remedy = "check its permissions, and the disk that it lies on"
    if catalog.kind == "postgres":
        remedy = "let the role of warehouse.catalog read, write and create tables in the schema public"
    said = f"{_shown(error, catalog)}; {remedy}"
    if kept is None:
        return LakeError(f"{catalog.where} cannot be made: {said}")
    return PresentError(f"{catalog.where} cannot be opened: {said}")


def data_path(connection: duckdb.DuckDBPyConnection, catalog: Catalog) -> str | None:
    """Return where the files of a catalog's lake lie by what it keeps; None where it holds no lake.

    Raises:
        duckdb.Error: the catalog cannot be reached or read.
    """
    with _attached(connection, catalog) as name:
        if not connection.execute(statement("holds_lake"), {"catalog": name}).fetchall():
            return None
        ((path,),) = connection.execute(statement("data_path", catalog=name)).fetchall()
        return str(path)


def is_same_place(kept: str, data: str) -> bool:
    """Return whether a path that a catalog keeps is that of `warehouse.data`."""
    return kept.rstrip("/") == data.rstrip("/")


@contextmanager
def _attached(connection: duckdb.DuckDBPyConnection, catalog: Catalog) -> Iterator[str]:
    """Attach a catalog as the plain database that it is, and yield its name."""
    name = "plain_catalog"
    connection.execute(f"ATTACH {literal(catalog.target)} AS {name} (TYPE {catalog.kind}, READ_ONLY)")
    try:
        yield name
    finally:
        connection.execute(f"DETACH {name}")


def _unreachable(connection: duckdb.DuckDBPyConnection, catalog: Catalog, error: duckdb.Error) -> str:
    said = _shown(error, catalog)
    if catalog.kind == "sqlite":
        return (
            f"{catalog.where} cannot be opened: {said}; check warehouse.catalog, that it is a lake's catalog, and its "
            "permissions"
        )
    attempt = _ATTEMPT.search(str(error).replace(catalog.target, ""))
    if attempt is None:
        if isinstance(error, duckdb.IOException):
            # Of libpq, before it tried anything: it repeats what it could not read.
            return (
                "warehouse.catalog is no connection string of PostgreSQL; expected postgres:dbname=… host=… user=…, "
                "a value with spaces in single quotes"
            )
        return f"{catalog.where} cannot be read: {said}; let the role of warehouse.catalog read the schema public"
    asked = catalog.database
    if asked and _SERVER_SPEAKS.search(attempt[0]) and (held := _databases(connection, catalog)) is not None:
        if asked in held:
            return (
                f"{catalog.where} cannot be entered: {said}; let the role of warehouse.catalog connect to it"
            )
        return (
            f"the PostgreSQL server has no database {asked}: {said}; create it (`createdb {asked}`), or correct dbname "
            "in warehouse.catalog"
        )
    return (
        f"{catalog.where} cannot be reached: {said}; check that the server is up, and host, port, user and password of "
        "warehouse.catalog (or PGPASSWORD, or ~/.pgpass)"
    )


def _databases(connection: duckdb.DuckDBPyConnection, catalog: Catalog) -> set[str] | None:
    """Return the names of the server's databases; None where the role cannot log in at all."""
    for database in _MAINTENANCE:
        try:
            with _attached(connection, catalog.with_database(database)) as name:
                return {
                    each for (each,) in connection.execute(statement("databases", catalog=name)).fetchall()
                }
        except duckdb.Error:
            continue
    return None


def _shown(error: duckdb.Error, catalog: Catalog) -> str:
    """Return the words of an error in one line, without the connection string."""
    said = str(error).replace(catalog.target, "the catalog")
    attempt = _ATTEMPT.search(said)
    return redacted(" ".join((attempt[0] if attempt else said).split()))[:_LONGEST]
