"""The lake: DuckLake opened in one way, transactions that are made again when another writer was first."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import boto3
import duckdb
import pyarrow as pa
from duckdb_extensions import import_extension
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from emolake.errors import EmolakeError
from emolake.lake_trouble import trouble
from emolake.messages import redacted
from emolake.schemas.columns import Column
from emolake.schemas.tables import GUARDS, TABLES, Table
from emolake.settings import WarehouseSettings
from emolake.sql import statement
from emolake.storage import without_secrets

# Enough that writers of different days rarely meet, few enough that their files stay a handful.
GUARD_SLOTS = 16

# What DuckLake and its catalogs say when another writer was first. The last is what is left of such an error when it
# strikes a statement that DuckDB had begun to run ahead; seen with two writers on a PostgreSQL catalog.
_CONFLICTS = (
    "database is locked",
    "conflict",
    "could not serialize",
    "deadlock detected",
    "unsuccessful or closed pending query result",
)

T = TypeVar("T")


class LakeError(EmolakeError):
    """The lake cannot be opened, read or written."""


class SchemaError(EmolakeError):
    """Rows that do not fit their table."""


class Lake:
    """An open lake; `connection` has it attached as `lake`, is its default schema, and speaks UTC."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, warehouse: WarehouseSettings) -> None:
        self.connection = connection
        self._commit_attempts = warehouse.commit_attempts
        self._catalog = warehouse.catalog.partition(":")[2]

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Let what disks and servers do to the lake in the block end as a LakeError that names the remedy."""
        try:
            with _interruptible(self.connection):
                yield
        except duckdb.Error as error:
            said = trouble(error, self._catalog)
            if said is None:
                raise
            # A traceback repeats what the error says, the connection string perhaps.
            tells = self._catalog in str(error) or redacted(str(error)) != str(error)
            raise LakeError(said) from (None if tells else error)

    def transact(
        self,
        work: Callable[[duckdb.DuckDBPyConnection], T],
        *,
        author: str,
        message: str,
        extra: Mapping[str, str],
    ) -> T:
        """Do `work` in one transaction and return its result; do all of it again when another writer was first.

        The commit is tagged with author, message and `extra` as JSON, so that a row leads to its snapshot.

        Raises:
            LakeError: the transaction lost against other writers in every attempt.
        """
        tag = json.dumps(dict(extra))
        return self.retried(lambda: self._once(work, author, message, tag), what=f"the commit {message!r}")

    def retried(self, work: Callable[[], T], *, what: str = "the call") -> T:
        """Do `work`, and do it again when another writer was first.

        Raises:
            LakeError: it lost against other writers in every attempt.
        """
        retrying = Retrying(
            stop=stop_after_attempt(self._commit_attempts),
            # With the usual 30 attempts about a minute: also a catalog that is locked for a while is waited for.
            wait=wait_random_exponential(multiplier=0.05, max=5),
            retry=retry_if_exception(is_conflict),
            reraise=True,
        )
        try:
            result: T = retrying(work)
        except duckdb.Error as error:
            if not is_conflict(error):
                raise
            raise LakeError(
                f"{what} lost against other writers {self._commit_attempts} times; "
                "run again, or raise warehouse.commit_attempts"
            ) from error
        return result

    def _once(
        self, work: Callable[[duckdb.DuckDBPyConnection], T], author: str, message: str, extra: str
    ) -> T:
        self.connection.execute("BEGIN")
        try:
            with _interruptible(self.connection):
                result = work(self.connection)
                self.connection.execute(
                    "CALL lake.set_commit_message($author, $message, extra_info => $extra)",
                    {"author": author, "message": message, "extra": extra},
                )
                self.connection.execute("COMMIT")
        except BaseException:
            # A commit that failed has ended the transaction already.
            if _in_transaction(self.connection):
                self.connection.execute("ROLLBACK")
            raise
        return result

    def exists(self) -> bool:
        """Tell whether the tables have been made: a catalog may be empty."""
        return not _missing_tables(self.connection)

    def latest_snapshot(self) -> int:
        """Return the id of the newest snapshot."""
        return int(self.rows("SELECT max(snapshot_id) FROM lake.snapshots()")[0][0])

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self.connection.execute(sql, dict(parameters or {})).fetchall()


def append(connection: duckdb.DuckDBPyConnection, table: Table, rows: pa.Table) -> None:
    """Append rows to a table of the lake, after holding them against its schema.

    Raises:
        SchemaError: a column is missing, extra or mistyped, NULL where it may not be, or has a value out of its set.
    """
    check_rows(table, rows)
    if rows.num_rows:
        connection.register("new_rows", rows)
        try:
            connection.execute(f"INSERT INTO lake.{table.name} BY NAME SELECT * FROM new_rows")
        finally:
            connection.unregister("new_rows")


def check_rows(table: Table, rows: pa.Table) -> None:
    """Hold rows against the table's schema; see `append`."""
    if not rows.schema.equals(table.schema):
        found = {field.name: field for field in rows.schema}
        wrong = [
            f"{field.name} is {found[field.name].type if field.name in found else 'missing'}, expected {field.type}"
            for field in table.schema
            if field.name not in found or not found[field.name].equals(field)
        ] + [f"{name} is not a column" for name in found if name not in table.schema.names]
        raise SchemaError(
            f"rows for {table.name} do not fit: {'; '.join(wrong) or 'the columns are out of order'}"
        )
    for column in table.columns:
        values = rows.column(column.name)
        if not column.nullable and values.null_count:
            raise SchemaError(
                f"rows for {table.name} do not fit: {column.name} is NULL {values.null_count} times"
            )
        if column.allowed is not None:
            strangers = set(values.unique().to_pylist()) - set(column.allowed) - {None}
            if strangers:
                raise SchemaError(
                    f"rows for {table.name} do not fit: {column.name} holds {', '.join(sorted(strangers))}, "
                    f"expected one of {', '.join(column.allowed)}"
                )


def take_guards(connection: duckdb.DuckDBPyConnection, days: Sequence[date]) -> None:
    """Make this transaction conflict with every other one that writes one of the days."""
    for slot in sorted({day.toordinal() % GUARD_SLOTS for day in days}):
        connection.execute(statement("take_guard"), {"guard": slot})


def is_conflict(error: BaseException) -> bool:
    """Tell whether a transaction failed because another writer was first, and may be made again."""
    text = str(error).lower()
    return isinstance(error, duckdb.Error) and any(sign in text for sign in _CONFLICTS)


@contextmanager
def open_lake(
    warehouse: WarehouseSettings, *, read_only: bool = False, endpoint_url: str | None = None
) -> Iterator[Lake]:
    """Open the lake; a writer makes it when it is not there yet.

    Args:
        warehouse: where catalog and data lie.
        read_only: refuse every write, and to make a lake that is not there.
        endpoint_url: of the S3-compatible server of the data, unless the warehouse names its own.

    Raises:
        LakeError: the catalog cannot be reached, or belongs to other data; in the block, a disk is full, a server
            fails or refuses.
    """
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})  # until ours are loaded
    try:
        with _interruptible(connection):
            _load_extensions(connection, warehouse)
            connection.execute("SET TimeZone = 'UTC'")
            if warehouse.data.startswith("s3://"):
                _create_s3_secret(connection, warehouse.endpoint_url or endpoint_url)
            _attach(connection, warehouse, read_only)
        lake = Lake(connection, warehouse)
        with lake.explained():
            if not read_only:
                _create_tables(lake)
            connection.execute("USE lake")
            yield lake
    finally:
        connection.close()


@contextmanager
def _interruptible(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let an interrupt that strikes within a query of the block end it, and out as what it is.

    DuckDB makes another error of it, and leaves the threads at work on the query: the next statement, or the end of
    the connection, would wait until they have done all of it.
    """
    try:
        yield
    except RuntimeError as error:
        # Not an error but a signal's: Ctrl-C, or the termination that Prefect raises.
        if error.__cause__ is None or isinstance(error.__cause__, Exception):
            raise
        connection.interrupt()
        raise error.__cause__ from None


def _load_extensions(connection: duckdb.DuckDBPyConnection, warehouse: WarehouseSettings) -> None:
    names = ["ducklake", "sqlite_scanner" if warehouse.catalog.startswith("sqlite:") else "postgres_scanner"]
    if warehouse.data.startswith("s3://"):
        names.append("httpfs")
    for name in names:
        with _verifying:
            _verify_signature(name)
        _load_extension(connection, name)
    connection.execute("SET allow_unsigned_extensions = false")  # nothing that is asked may load another


_verifying = Lock()


@cache
def _verify_signature(name: str) -> None:
    """Load an extension where its signature is checked, once per process: that takes longer than all else here."""
    with duckdb.connect() as checked:
        _load_extension(checked, name)


def _load_extension(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    import_extension(name, con=connection)  # its default connection is no thing to share among threads
    connection.execute(f"LOAD {name}")


def _attach(connection: duckdb.DuckDBPyConnection, warehouse: WarehouseSettings, read_only: bool) -> None:
    scheme, _, target = warehouse.catalog.partition(":")
    options = [f"DATA_PATH {_quoted(warehouse.data)}", "DATA_INLINING_ROW_LIMIT 0"]
    if scheme == "sqlite":
        if read_only and not Path(target).is_file():
            raise LakeError(
                f"there is no lake at {target} yet; `emolake nightly` or `emolake backfill` makes it"
            )
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        options += ["META_JOURNAL_MODE 'WAL'", "META_BUSY_TIMEOUT 10000"]
    if read_only:
        options.append("READ_ONLY")
    try:
        connection.execute(
            f"ATTACH {_quoted(f'ducklake:{warehouse.catalog}')} AS lake ({', '.join(options)})"
        )
    except duckdb.Error as error:
        # The text of the error may repeat the connection string; the words before it are enough.
        if "DATA_PATH parameter" in str(error):
            raise LakeError(
                f"the catalog belongs to other data than warehouse.data = {without_secrets(warehouse.data)}; "
                "correct warehouse.data, or use another catalog"
            ) from None
        where = target if scheme == "sqlite" else "the PostgreSQL server"
        raise LakeError(
            f"the catalog at {where} cannot be opened ({type(error).__name__}); check warehouse.catalog, "
            "that it is reachable, and its permissions"
        ) from None


def _create_tables(lake: Lake) -> None:
    """Make what is missing of the tables and their columns; a whole lake gets no snapshot from this."""

    def create(connection: duckdb.DuckDBPyConnection) -> None:
        for table in _missing_tables(connection):
            connection.execute(table.ddl)
            if table.partition_by:
                connection.execute(
                    f"ALTER TABLE lake.{table.name} SET PARTITIONED BY ({', '.join(table.partition_by)})"
                )
            if table is GUARDS:
                slots = pa.table(
                    {"guard": range(GUARD_SLOTS), "commits": [0] * GUARD_SLOTS}, schema=GUARDS.schema
                )
                append(connection, GUARDS, slots)
        for name, column in _missing_columns(connection):
            connection.execute(f'ALTER TABLE lake.{name} ADD COLUMN "{column.name}" {column.sql_type}')
        connection.execute(statement("view_model_comparison"))

    if not lake.exists() or _missing_columns(lake.connection):
        lake.transact(create, author="emolake", message="create the lake", extra={})


def _missing_tables(connection: duckdb.DuckDBPyConnection) -> list[Table]:
    found = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake'"
    ).fetchall()
    return [table for table in TABLES if (table.name,) not in found]


def _missing_columns(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, Column]]:
    """Return the columns that a lake made by an earlier version lacks; they may be NULL."""
    found = connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'lake'"
    ).fetchall()
    tables = {name for name, _ in found}
    return [
        (table.name, column)
        for table in TABLES
        for column in table.columns
        if table.name in tables and (table.name, column.name) not in found
    ]


def _create_s3_secret(connection: duckdb.DuckDBPyConnection, endpoint_url: str | None) -> None:
    """Hand the AWS chain's credentials to DuckDB; they live in this connection only."""
    session = boto3.Session()
    credentials = session.get_credentials()
    if credentials is None:
        raise LakeError(
            "warehouse.data is on S3, but the AWS chain gives no credentials; set a profile or AWS_ACCESS_KEY_ID"
        )
    frozen = credentials.get_frozen_credentials()
    options = {
        "KEY_ID": frozen.access_key,
        "SECRET": frozen.secret_key,
        "SESSION_TOKEN": frozen.token,
        "REGION": session.region_name or "us-east-1",
    }
    if endpoint_url:
        scheme, _, host = endpoint_url.rpartition("://")
        options |= {
            "ENDPOINT": host.rstrip("/"),
            "URL_STYLE": "path",
            "USE_SSL": "false" if scheme == "http" else "true",
        }
    settings = ", ".join(f"{name} {_quoted(value)}" for name, value in options.items() if value)
    connection.execute(f"CREATE SECRET lake_data (TYPE s3, {settings})")


def _in_transaction(connection: duckdb.DuckDBPyConnection) -> bool:
    try:
        connection.execute("BEGIN")
    except duckdb.TransactionException:
        return True
    connection.execute("ROLLBACK")
    return False


def _quoted(text: str) -> str:
    """Return an SQL literal, for the statements that take no parameters."""
    return "'" + text.replace("'", "''") + "'"
