"""Presence: which recordings of a day are no longer at the source, by a listing that came to its end."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import duckdb
import pyarrow as pa

from emolake.lake.registration import registered
from emolake.lake.transact import Lake, take_guards
from emolake.schemas.records import SourceObject
from emolake.schemas.tables import RECORDINGS
from emolake.source.pattern import KeyPattern
from emolake.source.store import Source
from emolake.sql import statement

_MARKED = pa.schema([RECORDINGS.schema.field(name) for name in ("recording_id", "version", "committed_at")])
_JUDGED_AT_ONCE = 10_000


class Presence:
    """What the lake holds of a day before it is listed, and what the listing has shown of it.

    Of a recording that the listing has not shown yet it keeps 29 bytes in a table of DuckDB, which goes to the disk
    where there is no room; days that are listed side by side share it. What another run commits after the listing began
    is not known here, and so never taken for absent.
    """

    def __init__(self, lake: Lake, source: Source, pattern: KeyPattern, day: date) -> None:
        """Make it before the listing of the day begins."""
        self._lake = lake
        self._source = source
        self._pattern = pattern
        self._day = day
        self._saw_any = False
        for table in ("create_known_before", "create_seen_again"):
            lake.connection.execute(statement(table))
        self._forget()
        self._of_source = {"date": day, "source": source.object_uri("")}
        lake.connection.execute(statement("note_known"), self._of_source)

    def see(self, objects: Sequence[SourceObject]) -> None:
        """Take note of listed recordings."""
        if not objects:
            return
        self._saw_any = True
        listed = pa.table({"recording_id": [item.recording_id for item in objects]})
        with registered(self._lake.connection, listed_now=listed):
            for noted in ("note_seen_again", "forget_listed"):
                self._lake.connection.execute(statement(noted), {"date": self._day})

    def settle(self, run_id: str) -> tuple[int, int]:
        """Mark what the whole listing lacked, and take the mark from what is back; return how many of each.

        Only to be called when the listing came to its end without an error. Nothing is marked where the source holds
        nothing at all: a share that is not mounted looks like that.
        """
        absent = self._lake.answer(lambda: self._judged("absent_recordings"))
        if absent.num_rows and not self._saw_any and next(iter(self._source.list("")), None) is None:
            absent = absent.slice(0, 0)
        reappeared = self._lake.answer(lambda: self._judged("reappeared_recordings"))
        for rows, deleted_at, message in (
            (absent, datetime.now(UTC), "deleted at the source"),
            (reappeared, None, "back at the source"),
        ):
            if rows.num_rows:
                self._mark(rows, deleted_at, f"{self._day}: {message}", run_id)
        self._forget()
        return absent.num_rows, reappeared.num_rows

    def _forget(self) -> None:
        for table in ("forget_known", "forget_seen_again"):
            self._lake.connection.execute(statement(table), {"date": self._day})

    def _judged(self, name: str) -> pa.Table:
        """Return the recordings that a statement finds, but for those that today's pattern would not list."""
        found = self._lake.connection.execute(statement(name), self._of_source)
        kept = [_MARKED.empty_table()]
        for batch in found.to_arrow_reader(_JUDGED_AT_ONCE):
            listed = [self._would_be_listed(uri) for uri in batch.column("uri").to_pylist()]
            named = pa.Table.from_batches([batch]).filter(pa.array(listed, pa.bool_()))
            kept.append(named.select(_MARKED.names).cast(_MARKED))
        return pa.concat_tables(kept)

    def _would_be_listed(self, uri: object) -> bool:
        """Return whether today's pattern lists the key on this day: what it leaves out has not been deleted."""
        matched = self._pattern.match(str(uri).removeprefix(self._source.object_uri("")))
        return matched is not None and matched.date in (None, self._day)

    def _mark(self, marked: pa.Table, deleted_at: datetime | None, message: str, run_id: str) -> None:
        def work(connection: duckdb.DuckDBPyConnection) -> None:
            take_guards(connection, [self._day])
            with registered(connection, marked=marked):
                connection.execute(statement("mark_deleted"), {"date": self._day, "deleted_at": deleted_at})

        self._lake.transact(work, author=run_id, message=message, extra={"run_id": run_id})
