"""Aggregate: recompute the daily table of the days whose ledger has changed, each in a transaction of its own."""

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
    lake: Lake, days: DayRange, *, dimensions: Sequence[str], run_id: str
) -> Iterator[tuple[date, int]]:
    """Aggregate every stale day of a range; yield each with its number of rows.

    Stale is a day whose aggregates were not made from its ledger as it is: also one whose run died between
    commit and aggregation. A day that is not stale costs a query and no snapshot. A model that was found flat keeps
    its older aggregates of a day, and is no hindrance to the others; see `held_back`.

    Args:
        lake: the open lake.
        days: the range.
        dimensions: names that the table is broken down by; one that a recording lacks is the empty string.
        run_id: tags the snapshots.
    """
    for stale in stale_days(lake.connection, days, dimensions):
        yield stale.date, _aggregate(lake, stale.date, dimensions, run_id)


def _aggregate(lake: Lake, day: date, dimensions: Sequence[str], run_id: str) -> int:
    def work(connection: duckdb.DuckDBPyConnection) -> int:
        take_guards(connection, [day])
        return aggregate_within(connection, day, dimensions=dimensions, run_id=run_id)

    return lake.transact(
        work, author=run_id, message=f"aggregate {day}", extra={"run_id": run_id, "date": str(day)}
    )


def aggregate_within(
    connection: duckdb.DuckDBPyConnection, day: date, *, dimensions: Sequence[str], run_id: str
) -> int:
    """Aggregate a day, when it is stale, in the transaction of the caller, who holds its guard; return its rows."""
    found = stale_days(connection, DayRange(day, day), dimensions)
    if not found:
        return 0  # another run was first, and made it from the same ledger
    (stale,) = found
    rows = daily_emotions(connection, day, dimensions=dimensions, without=stale.held_back)
    emotions = rows.cast(DAILY_EMOTIONS.schema)
    note = {
        "date": day,
        "ledger_state": stale.ledger_state + (_NO_INTERVALS if _seems_of_earlier_version(emotions) else ""),
        "run_id": run_id,
        "committed_at": datetime.now(UTC),
    }
    connection.execute(statement("delete_day_emotions"), {"date": day, "without": stale.held_back})
    connection.execute(statement("delete_day_aggregation"), {"date": day})
    connection.execute(statement("delete_day_drift"), {"date": day})  # of what the day no longer is
    append(connection, DAILY_EMOTIONS, emotions)
    append(connection, AGGREGATIONS, pa.Table.from_pylist([note], schema=AGGREGATIONS.schema))
    return int(emotions.num_rows)


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
