"""Aggregate: recompute the daily table of the days whose ledger has changed, several days in a transaction."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from emolake.lake.schema import append
from emolake.lake.transact import Lake, take_guards
from emolake.schemas.days import DayRange
from emolake.schemas.tables import AGGREGATIONS, DAILY_EMOTIONS
from emolake.sql import statement
from emolake.tasks.adjust_shares import reliability_of_day, with_adjusted_shares

DAILY_STATEMENT = statement("daily_emotions", share_bounds=statement("share_bounds"))
"""What gives the rows of a day, and with each the labelled speech behind it."""

DAYS_TOGETHER = 8
"""Most days of a transaction: more would take all guards, which a writer of any day would wait for."""

# In the state of a day with several recordings that has no interval nevertheless, as all but one are without speech.
_NO_INTERVALS = ", without intervals"


class HeldBack(NamedTuple):
    """A model whose rows of a day are not aggregated: a run that wrote some of them found it flat."""

    date: date
    model: str


class StaleDay(NamedTuple):
    """A day whose aggregates were not made from its ledger as it is: with that ledger's state, and who is held back."""

    date: date
    ledger_state: str
    held_back: list[str]
    lacks_intervals: bool
    """It is stale only in that a version without intervals aggregated it."""


def aggregate_days(
    lake: Lake, days: DayRange, *, dimensions: Sequence[str], run_id: str, together: int = DAYS_TOGETHER
) -> Iterator[tuple[date, int]]:
    """Aggregate every stale day of a range, several in a transaction; yield each with its number of rows.

    Stale is a day whose aggregates were not made from its ledger as it is: also one whose run died between
    commit and aggregation. A day that is not stale costs a query and no snapshot. A model that was found flat keeps
    its older aggregates of a day, and is no hindrance to the others; see `held_back`.

    Args:
        lake: the open lake.
        days: the range.
        dimensions: names that the table is broken down by; one that a recording lacks is the empty string.
        run_id: tags the snapshots.
        together: most days of a transaction.
    """
    stale = [each.date for each in stale_days(lake.connection, days, dimensions)]
    for first in range(0, len(stale), together):
        yield from _aggregate(lake, stale[first : first + together], dimensions, run_id)


def _aggregate(
    lake: Lake, days: Sequence[date], dimensions: Sequence[str], run_id: str
) -> list[tuple[date, int]]:
    def work(connection: duckdb.DuckDBPyConnection) -> dict[date, int]:
        take_guards(connection, days)
        return aggregate_within(connection, days, dimensions=dimensions, run_id=run_id)

    named = str(DayRange.around(days))
    made = lake.transact(
        work, author=run_id, message=f"aggregate {named}", extra={"run_id": run_id, "date": named}
    )
    return [(day, made.get(day, 0)) for day in days]  # none where another run was first, from the same ledger


def aggregate_within(
    connection: duckdb.DuckDBPyConnection, days: Sequence[date], *, dimensions: Sequence[str], run_id: str
) -> dict[date, int]:
    """Aggregate those of some days that are stale, in the transaction of the caller, who holds their guards.

    Returns:
        The number of rows of each day that was stale.
    """
    asked = stale_days(connection, DayRange.around(days), dimensions)
    found = [stale for stale in asked if stale.date in days]
    if not found:
        return {}
    made: dict[date, pa.Table] = {}
    notes = []
    for stale in found:
        rows = daily_emotions(connection, stale.date, dimensions=dimensions, without=stale.held_back)
        made[stale.date] = rows.cast(DAILY_EMOTIONS.schema)
        mark = _NO_INTERVALS if _seems_of_earlier_version(made[stale.date]) else ""
        notes.append(
            {
                "date": stale.date,
                "ledger_state": stale.ledger_state + mark,
                "run_id": run_id,
                "committed_at": datetime.now(UTC),
            }
        )
    _delete(connection, found)
    append(connection, DAILY_EMOTIONS, pa.concat_tables(made.values()))
    append(connection, AGGREGATIONS, pa.Table.from_pylist(notes, schema=AGGREGATIONS.schema))
    return {day: int(rows.num_rows) for day, rows in made.items()}


def _delete(connection: duckdb.DuckDBPyConnection, stale: Sequence[StaleDay]) -> None:
    """Delete what the lake holds of how days were aggregated, and the drift of what they no longer are."""
    for without in {tuple(each.held_back) for each in stale}:
        days = [each.date for each in stale if tuple(each.held_back) == without]
        asked = {"dates": days, "first": days[0], "last": days[-1]}
        connection.execute(statement("delete_days_emotions"), {**asked, "without": list(without)})
        for table in ("aggregations", "drift"):
            connection.execute(statement("delete_days", table=table), asked)


def _seems_of_earlier_version(emotions: pa.Table) -> bool:
    """Return whether rows of a day have no interval, and recordings enough for one; `stale_days` takes such for old."""
    of_several = emotions.filter(
        pc.and_(pc.is_valid(emotions["share"]), pc.greater(emotions["recordings"], 1))
    )
    return bool(of_several.num_rows) and bool(emotions["share_low"].null_count == emotions.num_rows)


def daily_emotions(
    connection: duckdb.DuckDBPyConnection, day: date, *, dimensions: Sequence[str], without: Sequence[str]
) -> pa.Table:
    """Return what the segments of a day give as the daily table's rows, without those of some models."""
    records = reliability_of_day(connection, day)
    parameters = {
        "date": day,
        "dimensions": list(dimensions),
        "without": list(without),
        "with_segments": list(records),
    }
    rows = connection.execute(DAILY_STATEMENT, parameters).to_arrow_table()
    return with_adjusted_shares(rows, records).select(DAILY_EMOTIONS.schema.names)


def held_back(lake: Lake, days: DayRange) -> list[HeldBack]:
    """Return the days and models that are not aggregated, in their order."""
    parameters = {"first": days.first, "last": days.last}
    return [HeldBack(*row) for row in lake.rows(statement("held_back"), parameters)]


def stale_days(
    connection: duckdb.DuckDBPyConnection, days: DayRange, dimensions: Sequence[str]
) -> list[StaleDay]:
    """Return the days whose aggregates were not made from their ledger as it is, in their order."""
    parameters = {
        "first": days.first,
        "last": days.last,
        "dimensions": list(dimensions),
        "mark": _NO_INTERVALS,
    }
    return [StaleDay(*row) for row in connection.execute(statement("stale_days"), parameters).fetchall()]
