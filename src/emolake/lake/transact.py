"""Transactions on an open lake, which are repeated when another writer was first."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any, TypeVar

import duckdb
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from emolake.errors import EmolakeError
from emolake.lake.schema import GUARD_SLOTS, missing_columns, missing_tables
from emolake.lake.trouble import trouble
from emolake.lake.warehouse import WarehouseOptions
from emolake.messages import redacted
from emolake.schemas.tables import TABLES
from emolake.sql import statement

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


class Lake:
    """An open lake; `connection` has it attached as `lake`, is its default schema, and times in its own zone."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, warehouse: WarehouseOptions) -> None:
        self.connection = connection
        self._commit_attempts = warehouse.commit_attempts
        self._catalog = warehouse.parsed_catalog.target

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Let what disks and servers do to the lake in the block end as a LakeError that names the remedy."""
        try:
            with interruptible(self.connection):
                yield
        except duckdb.Error as error:
            said = trouble(error, self._catalog)
            if said is None:
                raise
            # A traceback repeats what the error says, the connection string perhaps.
            is_secret = self._catalog in str(error) or redacted(str(error)) != str(error)
            raise LakeError(said) from (None if is_secret else error)

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
            with interruptible(self.connection):
                result = work(self.connection)
                tag = {"author": author, "message": message, "extra": extra}
                self.connection.execute(statement("tag_commit"), tag)
                self.connection.execute("COMMIT")
        except BaseException:
            # A commit that failed has ended the transaction already.
            if _in_transaction(self.connection):
                self.connection.execute("ROLLBACK")
            raise
        return result

    @contextmanager
    def one_snapshot(self) -> Iterator[None]:
        """Let every query of the block read the same snapshot, whatever is committed meanwhile."""
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.execute("ROLLBACK")

    def exists(self) -> bool:
        """Return whether tables have been made: a catalog may be empty."""
        return len(missing_tables(self.connection)) < len(TABLES)

    def is_of_earlier_version(self) -> bool:
        """Return whether tables or columns are missing, which the next writer adds."""
        return bool(missing_tables(self.connection) or missing_columns(self.connection))

    def latest_snapshot(self) -> int:
        """Return the id of the newest snapshot."""
        return int(self.rows(statement("latest_snapshot"))[0][0])

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self.connection.execute(sql, dict(parameters or {})).fetchall()


def take_guards(connection: duckdb.DuckDBPyConnection, days: Sequence[date]) -> None:
    """Make this transaction conflict with every other one that writes one of the days."""
    for slot in sorted({day.toordinal() % GUARD_SLOTS for day in days}):
        connection.execute(statement("take_guard"), {"guard": slot})


def is_conflict(error: BaseException) -> bool:
    """Return whether a transaction failed because another writer was first, and may be tried again."""
    text = str(error).lower()
    return isinstance(error, duckdb.Error) and any(sign in text for sign in _CONFLICTS)


@contextmanager
def interruptible(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
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


def _in_transaction(connection: duckdb.DuckDBPyConnection) -> bool:
    try:
        connection.execute("BEGIN")
    except duckdb.TransactionException:
        return True
    connection.execute("ROLLBACK")
    return False
