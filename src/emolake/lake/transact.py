"""Transactions on an open lake, which are repeated when another writer was first."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import duckdb
from tenacity import (
    Retrying,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from emolake import telemetry
from emolake.errors import EmolakeError
from emolake.lake.questions import Answer, ask, asking
from emolake.lake.schema import GUARD_SLOTS, missing_columns, missing_tables
from emolake.lake.trouble import trouble
from emolake.lake.turns import turn
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
    "duplicate key value",
    "unsuccessful or closed pending query result",
)

# How often a question is asked whose snapshot is taken away from under it.
_READ_ATTEMPTS = 10
# How often of these beside writers; then it takes a turn, and they wait.
_READ_ATTEMPTS_BESIDE_WRITERS = 4

T = TypeVar("T")


class LakeError(EmolakeError):
    """The lake cannot be opened, read or written."""


class SnapshotExpiredError(LakeError):
    """Something of the snapshot that is read was taken away before the end: rows may be missing, or be there twice."""


@dataclass(frozen=True)
class _Seen:
    """What a catalog held at a moment: its newest snapshot, and a sum of the files that a snapshot needs."""

    newest: int
    files: tuple[int, ...]


class Lake:
    """An open lake; `connection` has it attached as `lake`, is its default schema, and times in its own zone."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        warehouse: WarehouseOptions,
        *,
        renew: Callable[[], None] | None = None,
    ) -> None:
        """Wrap a connection.

        Args:
            connection: has the lake attached.
            warehouse: where it lies.
            renew: brings the credentials of its data up to date, before each transaction.
        """
        self.connection = connection
        self._renew = renew or (lambda: None)
        self._commit_attempts = warehouse.commit_attempts
        self._catalog = warehouse.parsed_catalog.target
        self._catalog_file = warehouse.parsed_catalog.file

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

        The commit is tagged with author, message and `extra` as JSON, so that a row leads to its snapshot. The tag
        also says which snapshot was the newest at which moment (`based_on`, `based_at`): snapshots expire by it.

        Raises:
            LakeError: the transaction lost against other writers in every attempt.
        """
        return self.retried(lambda: self._once(work, author, message, extra), what=f"the commit {message!r}")

    def retried(self, work: Callable[[], T], *, what: str = "the call") -> T:
        """Do `work` when it is this writer's turn, and do it again when another writer was first nevertheless.

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
            result: T = retrying(self._in_turn, work)
            telemetry.count("emolake.commit.retries", retrying.statistics["attempt_number"] - 1)
        except (duckdb.Error, SnapshotExpiredError) as error:
            if not is_conflict(error):
                raise
            raise LakeError(
                f"{what} lost against other writers {self._commit_attempts} times; "
                "run again, or raise warehouse.commit_attempts"
            ) from error
        return result

    def _in_turn(self, work: Callable[[], T]) -> T:
        with turn(self._catalog_file):
            return work()

    def _once(
        self,
        work: Callable[[duckdb.DuckDBPyConnection], T],
        author: str,
        message: str,
        extra: Mapping[str, str],
    ) -> T:
        self._renew()
        seen = self._seen_before()
        self.connection.execute("BEGIN")
        try:
            with interruptible(self.connection):
                base = self._current_snapshot()
                based = {"based_on": str(base), "based_at": datetime.now(UTC).isoformat()}
                with self._read_from(base, seen):
                    result = work(self.connection)
                tag = {"author": author, "message": message, "extra": json.dumps({**extra, **based})}
                self.connection.execute(statement("tag_commit"), tag)
                self.connection.execute("COMMIT")
        except BaseException:
            # A commit that failed has ended the transaction already.
            if _in_transaction(self.connection):
                self.connection.execute("ROLLBACK")
            raise
        return result

    def answer(self, read: Callable[[], T]) -> T:
        """Return what `read` gives, all of it from one snapshot, whatever is committed or expires meanwhile.

        DuckLake reads a snapshot that expires under it without an error: rows are missing, or there twice. In an SQLite
        catalog a commit of somebody else is enough, if it replaces a list of deleted rows. So the answer counts only
        where nothing of its snapshot was taken away; otherwise `read` is called again, in the end in a turn
        of its own.

        Args:
            read: queries on `connection`, or `rows`, that shows nothing to anybody and may be repeated.

        Raises:
            SnapshotExpiredError: something was taken away in every attempt.
        """
        attempts = Retrying(
            stop=stop_after_attempt(_READ_ATTEMPTS),
            retry=retry_if_exception_type(SnapshotExpiredError),
            reraise=True,
        )
        for attempt in attempts:
            alone = attempt.retry_state.attempt_number > _READ_ATTEMPTS_BESIDE_WRITERS
            with attempt, turn(self._catalog_file if alone else None):
                return self._answered(read)
        raise AssertionError("the last attempt raises")

    def _answered(self, read: Callable[[], T]) -> T:
        self._renew()
        seen = self._seen_before()
        self.connection.execute("BEGIN")
        try:
            with self._read_from(self._current_snapshot(), seen):
                return read()
        finally:
            self.connection.execute("ROLLBACK")

    @contextmanager
    def _read_from(self, base: int, seen: _Seen | None) -> Iterator[None]:
        """Check at the end of the block, failed or not, that nothing of its snapshot was taken away.

        Neither may have expired: the snapshot itself, whose files would not be known any more, and newer ones, which a
        commit finds its conflicts by. Nor may a file of it have been replaced, as far as an SQLite catalog shows that:
        DuckDB reads each of its tables as it is at that moment, but only up to the last row that there was when the
        transaction began. DuckLake replaces the lists of deleted rows, and the files that it merges: of those the
        transaction sees neither the old nor the new ones.

        Args:
            base: the snapshot.
            seen: what was there before the transaction began; None where a server shows it one state of the catalog.
        """
        if seen is not None and seen.newest != base:
            raise _expired(base)
        try:
            yield
        except Exception as error:
            if _is_of_signal(error) or self._is_whole(base, seen):
                raise
            raise _expired(base) from error
        if not self._is_whole(base, seen):
            raise _expired(base)

    def _is_whole(self, base: int, seen: _Seen | None) -> bool:
        ((is_whole,),) = self._beside("is_whole_since", base)
        return bool(is_whole) and (seen is None or self._seen(base).files == seen.files)

    def _seen_before(self) -> _Seen | None:
        return None if self._catalog_file is None else self._seen()

    def _seen(self, base: int | None = None) -> _Seen:
        ((newest, *files),) = self._beside("visible_files", base)
        return _Seen(newest, tuple(files))

    def _beside(self, name: str, base: int | None) -> list[tuple[Any, ...]]:
        # On a connection of its own, in a transaction of its own: that of the caller may see the catalog as it was.
        with self.connection.cursor() as other:
            return other.execute(statement(name), {"base": base}).fetchall()

    def _current_snapshot(self) -> int:
        return int(self.rows(statement("current_snapshot"))[0][0])

    def exists(self) -> bool:
        """Return whether tables have been made: a catalog may be empty."""
        return len(missing_tables(self.connection)) < len(TABLES)

    def is_of_earlier_version(self) -> bool:
        """Return whether tables or columns are missing, which the next writer adds."""
        return bool(missing_tables(self.connection) or missing_columns(self.connection))

    def latest_snapshot(self) -> int:
        """Return the id of the newest snapshot."""
        return int(self.rows(statement("latest_snapshot"))[0][0])

    def query(self, sql: str) -> Answer:
        """Return the answer to one reading statement by itself, all of it from one snapshot; see `answer`.

        Raises:
            QueryError: not exactly one SELECT (or EXPLAIN), or an error in it.
        """
        with asking():
            return Answer(self.answer(lambda: ask(self.connection, sql).to_arrow_table()))

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query, which is a part of a transaction, or changes something.

        What is only read, and by itself, is asked with `answered_rows`.
        """
        return self.connection.execute(sql, dict(parameters or {})).fetchall()

    def answered_rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query by itself; see `answer`."""
        return self.answer(lambda: self.rows(sql, parameters))


def take_guards(connection: duckdb.DuckDBPyConnection, days: Sequence[date]) -> None:
    """Make this transaction conflict with every other one that writes one of the days."""
    for slot in sorted({day.toordinal() % GUARD_SLOTS for day in days}):
        connection.execute(statement("take_guard"), {"guard": slot})


def is_conflict(error: BaseException) -> bool:
    """Return whether a transaction failed because another writer was first, and may be tried again."""
    text = str(error).lower()
    return isinstance(error, SnapshotExpiredError) or (
        isinstance(error, duckdb.Error) and any(sign in text for sign in _CONFLICTS)
    )


def _expired(base: int) -> SnapshotExpiredError:
    return SnapshotExpiredError(
        f"snapshot {base} expired or was changed while it was read, in each of {_READ_ATTEMPTS} attempts; ask again "
        "when nothing erases, maintains or replaces, and keep maintain.snapshot_days longer than any query"
    )


@contextmanager
def interruptible(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Let an interrupt that strikes within a query of the block end it, and out as what it is.

    DuckDB makes another error of it, and leaves the threads at work on the query: the next statement, or the end of
    the connection, would wait until they have done all of it.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_of_signal(error):
            raise
        connection.interrupt()
        raise error.__cause__ from None  # type: ignore[misc]


def _is_of_signal(error: Exception) -> bool:
    """Return whether it is not an error but a signal's: Ctrl-C, or the termination that Prefect raises."""
    return error.__cause__ is not None and not isinstance(error.__cause__, Exception)


def _in_transaction(connection: duckdb.DuckDBPyConnection) -> bool:
    try:
        connection.execute("BEGIN")
    except duckdb.TransactionException:
        return True
    connection.execute("ROLLBACK")
    return False
