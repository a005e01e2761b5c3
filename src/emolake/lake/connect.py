"""Opening the lake: the one way to a DuckLake connection."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Lock

import duckdb
from duckdb_extensions import import_extension

from emolake.errors import ConfigurationError
from emolake.lake.memory import spill_apart
from emolake.lake.s3_secret import S3Secret
from emolake.lake.schema import add_temporary_views, create_tables, outdated_views
from emolake.lake.transact import Lake, LakeError, interruptible
from emolake.lake.unopened import NoLakeError, PresentError, unopened
from emolake.lake.warehouse import WarehouseOptions
from emolake.sql import literal


@contextmanager
def open_lake(
    warehouse: WarehouseOptions,
    *,
    read_only: bool = False,
    create: bool = True,
    any_data: bool = False,
    timezone: str = "UTC",
) -> Iterator[Lake]:
    """Open the lake; a writer makes it when it is not there yet.

    Args:
        warehouse: where catalog and data lie.
        read_only: refuse every write, and to make a lake that is not there.
        create: whether a writer makes what is not there.
        any_data: open it also where the catalog belongs to other data, whose files are then not found.
        timezone: of a reader's session, which hour() and dates of timestamps are in. A writer's is UTC: DuckLake keeps
            the bounds of its files as texts.

    Raises:
        NoLakeError: there is no lake, and none is made.
        OtherDataError: the catalog belongs to other data.
        LakeError: the catalog cannot be reached; in the block, a disk is full, a server fails or refuses.
    """
    create = create and not read_only
    with _connected(warehouse) as (connection, secret):
        with interruptible(connection):
            if read_only:
                _set_zone(connection, timezone)
            _attach(connection, warehouse, read_only=read_only, create=create, any_data=any_data)
        lake = Lake(connection, warehouse, renew=secret.renew if secret else None)
        with lake.explained():
            if not create and not lake.exists():
                raise NoLakeError(warehouse.parsed_catalog.where)
            # A whole lake gets no snapshot from this.
            if not read_only and (lake.is_of_earlier_version() or outdated_views(connection)):
                lake.transact(create_tables, author="emolake", message="create the lake", extra={})
            connection.execute("USE lake")
            if read_only:
                add_temporary_views(connection)
            yield lake


@contextmanager
def connected(warehouse: WarehouseOptions) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB with all that the lake needs loaded and set, and nothing attached."""
    with _connected(warehouse) as (connection, _):
        yield connection


@contextmanager
def _connected(warehouse: WarehouseOptions) -> Iterator[tuple[duckdb.DuckDBPyConnection, S3Secret | None]]:
    secret = None
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})  # until ours are loaded
    try:
        with interruptible(connection):
            spill_apart(connection)
            _load_extensions(connection, warehouse)
            connection.execute("SET TimeZone = 'UTC'")
            if warehouse.is_on_s3:
                secret = S3Secret(connection, warehouse)
        yield connection, secret
    finally:
        connection.close()


@contextmanager
def lake_if_any(warehouse: WarehouseOptions) -> Iterator[Lake | None]:
    """Open the lake to read, or give None when there is none yet."""
    with ExitStack() as stack:
        try:
            lake = stack.enter_context(open_lake(warehouse, read_only=True))
        except NoLakeError:
            lake = None
        yield lake


def _load_extensions(connection: duckdb.DuckDBPyConnection, warehouse: WarehouseOptions) -> None:
    names = ["ducklake", f"{warehouse.parsed_catalog.kind}_scanner"]
    if warehouse.is_on_s3:
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


def _set_zone(connection: duckdb.DuckDBPyConnection, timezone: str) -> None:
    try:
        connection.execute(f"SET TimeZone = {literal(timezone)}")
    except duckdb.NotImplementedException as error:
        raise ConfigurationError(
            f"DuckDB knows no time zone {timezone!r}; set source.timezone to an IANA name such as Europe/Berlin"
        ) from error


def _attach(
    connection: duckdb.DuckDBPyConnection,
    warehouse: WarehouseOptions,
    *,
    read_only: bool,
    create: bool,
    any_data: bool,
) -> None:
    catalog = warehouse.parsed_catalog
    options = [f"DATA_PATH {literal(warehouse.data)}", "DATA_INLINING_ROW_LIMIT 0"]
    if catalog.file is not None:
        if catalog.is_absent and not create:
            raise NoLakeError(catalog.where)
        try:
            catalog.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LakeError(
                f"{catalog.where} cannot be made ({error.strerror}); correct warehouse.catalog, or its permissions"
            ) from error
        options += ["META_JOURNAL_MODE 'WAL'", "META_BUSY_TIMEOUT 10000"]
    if any_data:
        options.append("OVERRIDE_DATA_PATH true")
    if read_only:
        options.append("READ_ONLY")
    elif not create:
        options.append("CREATE_IF_NOT_EXISTS false")
    attach = f"ATTACH {literal(f'ducklake:{catalog}')} AS lake ({', '.join(options)})"
    for is_last in (False, True):
        try:
            connection.execute(attach)
            return
        except duckdb.Error as error:
            refused = unopened(connection, warehouse, error, making=create)
        if is_last or not isinstance(refused, PresentError):
            raise refused from None  # its cause may repeat the connection string
