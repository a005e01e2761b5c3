"""A copy of the catalog, to try on it what must not happen to the original."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import duckdb

from emolake.lake.connect import connected
from emolake.lake.transact import LakeError
from emolake.lake.unopened import NoLakeError
from emolake.lake.warehouse import WarehouseOptions
from emolake.sql import literal, statement

# What is written to the copy stays in it: the data of the lake is the original's.
_INLINED_ROWS = 1_000_000
# In a process of its own: two SQLite libraries in one process take each other's locks away.
_COPY = (
    "import pathlib, sqlite3, sys\n"
    "original = sqlite3.connect(pathlib.Path(sys.argv[1]).resolve().as_uri() + '?mode=ro', uri=True, timeout=60)\n"
    "copy = sqlite3.connect(sys.argv[2])\n"
    "original.backup(copy)\n"
    "copy.close()\n"
)


@dataclass(frozen=True)
class CatalogCopy:
    """A copy, and the options by which DuckDB attaches it: as tables (`plain`), or as a lake."""

    connection: duckdb.DuckDBPyConnection
    where: str
    """The original's place, fit to be shown."""
    target: str
    kind: str
    data: str
    schema: str | None = None

    @contextmanager
    def as_tables(self) -> Iterator[str]:
        """Attach the tables of the catalog, to read them without DuckLake; give the schema that holds them."""
        kind = f"TYPE {self.kind}, READ_ONLY"
        self.connection.execute(f"ATTACH {literal(self.target)} AS plain ({kind})")
        try:
            yield f"plain.{self.schema or 'main'}"
        finally:
            self.connection.execute("DETACH plain")

    @contextmanager
    def as_lake(self, *, migrate: bool) -> Iterator[None]:
        """Attach the copy as `lake`.

        Args:
            migrate: let DuckLake bring the catalog to the newest format that it knows.

        Raises:
            LakeError: DuckLake refuses the catalog.
        """
        options = [f"DATA_PATH {literal(self.data)}", f"DATA_INLINING_ROW_LIMIT {_INLINED_ROWS}"]
        if self.schema:
            options.append(f"METADATA_SCHEMA {literal(self.schema)}")
        if migrate:
            options.append("AUTOMATIC_MIGRATION TRUE")
        location = literal(f"ducklake:{self.kind}:{self.target}")
        try:
            self.connection.execute(f"ATTACH {location} AS lake ({', '.join(options)})")
        except duckdb.Error as error:
            said = str(error).replace(self.target, "the catalog").splitlines()[0]
            raise LakeError(f"this version of DuckLake does not open the catalog: {said}") from None
        try:
            yield
        finally:
            self.connection.execute("DETACH lake")


@contextmanager
def copied_catalog(warehouse: WarehouseOptions) -> Iterator[CatalogCopy]:
    """Copy the catalog for the block: a file to a temporary folder, PostgreSQL's tables to a schema beside them.

    Raises:
        NoLakeError: there is no catalog.
        LakeError: it cannot be copied.
    """
    catalog = warehouse.parsed_catalog
    if catalog.is_absent:
        raise NoLakeError(catalog.where)
    with connected(warehouse) as connection:
        if catalog.file is None:
            with _copied_tables(connection, catalog.target) as schema:
                yield CatalogCopy(
                    connection, catalog.where, catalog.target, "postgres", warehouse.data, schema
                )
            return
        with tempfile.TemporaryDirectory(prefix="emolake-rehearsal-") as folder:
            copy = Path(folder) / "catalog.sqlite"
            command = [sys.executable, "-c", _COPY, str(catalog.file), str(copy)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise LakeError(
                    f"the catalog {catalog.file} could not be copied ({done.stderr.strip().splitlines()[-1]}); "
                    "check that it is an SQLite file, its permissions, and the room in TMPDIR"
                )
            yield CatalogCopy(connection, catalog.where, str(copy), "sqlite", warehouse.data)


@contextmanager
def _copied_tables(connection: duckdb.DuckDBPyConnection, target: str) -> Iterator[str]:
    """Copy the catalog's tables, as one moment shows them, to a schema of their own; it is dropped at the end."""
    schema = f"emolake_rehearsal_{uuid4().hex[:12]}"
    try:
        connection.execute(f"ATTACH {literal(target)} AS server (TYPE postgres)")
        connection.execute("BEGIN")  # which PostgreSQL is given as REPEATABLE READ
        tables = connection.execute(statement("catalog_tables")).fetchall()
        connection.execute(statement("copy_catalog_schema", schema=schema))
        for (table,) in tables:
            connection.execute(statement("copy_catalog_table", schema=schema, table=table))
            connection.execute(statement("copy_catalog_rows", schema=schema, table=table))
        connection.execute("COMMIT")
    except duckdb.Error as error:
        said = str(error).replace(target, "the catalog").splitlines()[0]
        raise LakeError(
            f"the catalog's tables could not be copied ({said}); the user of warehouse.catalog needs the right to "
            "CREATE in its database, or rehearse on a restored dump of it"
        ) from None
    try:
        yield schema
    finally:
        connection.execute(statement("drop_catalog_copy", schema=schema))
