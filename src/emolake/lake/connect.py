"""Opening the lake: the one way to a DuckLake connection."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

import boto3
import duckdb
from duckdb_extensions import import_extension

from emolake.lake.schema import create_tables, missing_columns
from emolake.lake.transact import Lake, LakeError, interruptible
from emolake.lake.warehouse import WarehouseOptions
from emolake.source.uris import without_secrets


@contextmanager
def open_lake(warehouse: WarehouseOptions, *, read_only: bool = False) -> Iterator[Lake]:
    """Open the lake; a writer makes it when it is not there yet.

    Args:
        warehouse: where catalog and data lie.
        read_only: refuse every write, and to make a lake that is not there.

    Raises:
        LakeError: the catalog cannot be reached, or belongs to other data; in the block, a disk is full, a server
            fails or refuses.
    """
    with connected(warehouse) as connection:
        with interruptible(connection):
            _attach(connection, warehouse, read_only)
        lake = Lake(connection, warehouse)
        with lake.explained():
            # A whole lake gets no snapshot from this.
            if not read_only and (not lake.exists() or missing_columns(connection)):
                lake.transact(create_tables, author="emolake", message="create the lake", extra={})
            connection.execute("USE lake")
            yield lake


@contextmanager
def connected(warehouse: WarehouseOptions) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB with all that the lake needs loaded and set, and nothing attached."""
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})  # until ours are loaded
    try:
        with interruptible(connection):
            _load_extensions(connection, warehouse)
            connection.execute("SET TimeZone = 'UTC'")
            if warehouse.data.startswith("s3://"):
                _create_s3_secret(connection, warehouse.endpoint_url)
        yield connection
    finally:
        connection.close()


@contextmanager
def lake_if_any(warehouse: WarehouseOptions) -> Iterator[Lake | None]:
    """Open the lake to read, or give None when there is none yet."""
    if warehouse.parsed_catalog.is_absent:
        yield None
        return
    with open_lake(warehouse, read_only=True) as lake:
        yield lake if lake.exists() else None


def _load_extensions(connection: duckdb.DuckDBPyConnection, warehouse: WarehouseOptions) -> None:
    names = ["ducklake", f"{warehouse.parsed_catalog.kind}_scanner"]
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


def _attach(connection: duckdb.DuckDBPyConnection, warehouse: WarehouseOptions, read_only: bool) -> None:
    catalog = warehouse.parsed_catalog
    options = [f"DATA_PATH {quoted(warehouse.data)}", "DATA_INLINING_ROW_LIMIT 0"]
    if catalog.file is not None:
        if read_only and catalog.is_absent:
            raise LakeError(
                f"there is no lake at {catalog.where} yet; `emolake nightly` or `emolake backfill` makes it"
            )
        catalog.file.parent.mkdir(parents=True, exist_ok=True)
        options += ["META_JOURNAL_MODE 'WAL'", "META_BUSY_TIMEOUT 10000"]
    if read_only:
        options.append("READ_ONLY")
    try:
        connection.execute(f"ATTACH {quoted(f'ducklake:{catalog}')} AS lake ({', '.join(options)})")
    except duckdb.Error as error:
        # The text of the error may repeat the connection string; the words before it are enough.
        if "DATA_PATH parameter" in str(error):
            raise LakeError(
                f"the catalog belongs to other data than warehouse.data = {without_secrets(warehouse.data)}; "
                "correct warehouse.data, or use another catalog"
            ) from None
        raise LakeError(
            f"the catalog at {catalog.where} cannot be opened ({type(error).__name__}); check warehouse.catalog, "
            "that it is reachable, and its permissions"
        ) from None


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
    settings = ", ".join(f"{name} {quoted(value)}" for name, value in options.items() if value)
    connection.execute(f"CREATE SECRET lake_data (TYPE s3, {settings})")


def quoted(text: str) -> str:
    """Return an SQL literal, for the statements that take no parameters."""
    return "'" + text.replace("'", "''") + "'"
