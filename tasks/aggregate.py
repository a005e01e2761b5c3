"""Aggregate: recompute the daily table of the days whose ledger has changed, each in a transaction of its own."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime

import duckdb
import pyarrow as pa

from emolake.lake.schema import append
from emolake.lake.transact import Lake, take_guards
from emolake.schemas.days import DayRange
from emolake.schemas.tables import AGGREGATIONS, DAILY_EMOTIONS
from emolake.sql import statement


def aggregate_days(
    lake: Lake, days: DayRange, *, dimensions: Sequence[str], run_id: str
) -> Iterator[tuple[date, int]]:
    """Aggregate every stale day of a range; yield each with its number of rows.

    Stale is a day whose aggregates were not made from its ledger as it is: also one whose run died between
    commit and aggregation. A day that is not stale costs a query and no snapshot. A day with rows of a run whose
    model was found flat keeps its older aggregates; see `held_back_days`.

    Args:
        lake: the open lake.
        days: the range.
        dimensions: names that the table is broken down by; one that a recording lacks is the empty string.
        run_id: tags the snapshots.
    """
    for day, _ in stale_days(lake.connection, days, dimensions):
        yield day, _aggregate(lake, day, dimensions, run_id)


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
    stale = stale_days(connection, DayRange(day, day), dimensions)
    if not stale:
        return 0  # another run was first, and made it from the same ledger
    rows = connection.execute(statement("daily_emotions"), {"date": day, "dimensions": list(dimensions)})
    emotions = rows.to_arrow_table().cast(DAILY_EMOTIONS.schema)
    note = {"date": day, "ledger_state": stale[0][1], "run_id": run_id, "committed_at": datetime.now(UTC)}
    connection.execute(statement("delete_day_emotions"), {"date": day})
    connection.execute(statement("delete_day_aggregation"), {"date": day})
    append(connection, DAILY_EMOTIONS, emotions)
    append(connection, AGGREGATIONS, pa.Table.from_pylist([note], schema=AGGREGATIONS.schema))
    return int(emotions.num_rows)


def held_back_days(lake: Lake, days: DayRange, *, dimensions: Sequence[str]) -> list[date]:
    """Return the stale days that are not aggregated, because a flat model gave labels on them."""
    return [day for day, _ in stale_days(lake.connection, days, dimensions, held_back=True)]


def stale_days(
    connection: duckdb.DuckDBPyConnection,
    days: DayRange,
    dimensions: Sequence[str],
    *,
    held_back: bool = False,
) -> list[tuple[date, str]]:
    """Return the days whose aggregates were not made from their ledger as it is, with that ledger's state."""
    parameters = {
        "first": days.first,
        "last": days.last,
        "dimensions": list(dimensions),
        "held_back": held_back,
    }
    return connection.execute(statement("stale_days"), parameters).fetchall()
