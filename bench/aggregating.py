"""Are many days aggregated quicker one by one, by several connections at once, or several in one transaction?

python -m bench.aggregating

The lake's catalog is a PostgreSQL; each way aggregates the same stale days of a lake of its own.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from time import perf_counter

from bench.commits import processor_s
from bench.common import folder, main, table
from bench.made_rows import KEY, made_shard
from emolake.lake.connect import open_lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.schemas.days import DayRange
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard

from chaos.servers import new_database, postgres_server

FIRST = date(2026, 6, 1)
SEGMENTS = 36
# Days, and recordings of a day.
_PLAN = {"short": (16, 100), "full": (64, 1_000)}
_COLUMNS = (
    "date, model, dimensions, emotion, segments, round(speech_seconds, 6), round(share, 9), round(share_low, 9), "
    "round(share_high, 9), recordings"
)


def together(warehouse: WarehouseOptions, days: DayRange, number: int) -> None:
    """Aggregate so many days in a transaction."""
    with open_lake(warehouse) as lake:
        list(aggregate_days(lake, days, dimensions=["site"], run_id="bench", together=number))


def abreast(warehouse: WarehouseOptions, days: DayRange, connections: int) -> None:
    """Aggregate a day in a transaction, by several connections at once."""
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(lambda day: together(warehouse, DayRange(day, day), 1), days))


WAYS: dict[str, Callable[[WarehouseOptions, DayRange], None]] = {
    "one day in a transaction": partial(together, number=1),
    "one day in a transaction, 4 connections": partial(abreast, connections=4),
    "8 days in a transaction": partial(together, number=8),
    "16 days in a transaction": partial(together, number=16),
}


def measure(size: str) -> str:
    number, recordings = _PLAN[size]
    days = DayRange(FIRST, FIRST + timedelta(days=number - 1))
    rows, found = [], []
    with folder() as place, postgres_server() as server:
        for position, (way, aggregate) in enumerate(WAYS.items()):
            catalog = f"postgres:{new_database(server.get_uri(), f'bench{position}')}"
            warehouse = WarehouseOptions(catalog=catalog, data=str(place / str(position)))
            fill(warehouse, days, recordings)
            before, begun = processor_s(server), perf_counter()
            aggregate(warehouse, days)
            took, used = perf_counter() - begun, processor_s(server) - before
            with open_lake(warehouse, read_only=True) as lake:
                found.append(lake.rows(f"SELECT {_COLUMNS} FROM daily_emotions ORDER BY ALL"))
                ((snapshots,),) = lake.rows(
                    "SELECT count(*) FROM ducklake_snapshots('lake') WHERE commit_message LIKE 'aggregate%'"
                )
            files = len(list(Path(warehouse.data).glob("*/daily_emotions/**/*.parquet")))
            rows.append((way, f"{number / took:.1f}", f"{1000 * used / number:.0f}", snapshots, files))
    assert all(each == found[0] for each in found)
    columns = ("", "days a second", "processor time a day, ms", "snapshots", "files of the daily table")
    return (
        f"{number} days of {recordings:,} recordings and {recordings * SEGMENTS:,} segments; the rows are the same "
        f"whichever way. Processor time is of emolake and PostgreSQL together.\n\n{table(columns, rows)}"
    )


def fill(warehouse: WarehouseOptions, days: DayRange, recordings: int) -> None:
    with open_lake(warehouse) as lake:
        rows = made_shard(*days, recordings=recordings, segments=SEGMENTS)
        commit_shard(lake, rows, key=KEY, run_id="bench", message="bench")


if __name__ == "__main__":
    main(measure)
