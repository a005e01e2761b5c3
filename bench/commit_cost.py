"""What does a commit cost, by the shards in it and by what the lake holds already?

python -m bench.commit_cost

The lake's catalog is a PostgreSQL with the recordings of a hundred days; all that is committed is of one more day.
"""

from datetime import date, timedelta
from itertools import islice
from statistics import median
from time import perf_counter

from bench.commits import RECORDINGS, SEGMENTS, made_shards, processor_s
from bench.common import folder, main, ranged, table
from bench.made_rows import KEY, made_shard
from emolake.lake.connect import open_lake
from emolake.lake.transact import Lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.schemas.days import DayRange
from emolake.tasks.commit import commit_shard, commit_shards

from chaos.servers import new_database, postgres_server

DAYS = 100
# Recordings that the lake holds, and whether keys begin with the site instead of the date: then the URIs of every file
# span all sites, and no file can be passed over.
_HELD = {
    "short": ((0, False), (100_000, False), (100_000, True)),
    "full": ((0, False), (100_000, False), (1_000_000, False), (1_000_000, True)),
}
GROUPS = (1, 8, 32)
_REPEATS = 5
_TABLES = (
    "snapshot", "snapshot_changes", "data_file", "delete_file", "file_column_stats", "file_partition_value",
    "files_scheduled_for_deletion",
)  # fmt: skip


def measure(size: str) -> str:
    rows = []
    with folder() as place, postgres_server() as server:
        for held, site_first in _HELD[size]:
            name = f"bench{held}{'site' if site_first else ''}"
            catalog = f"postgres:{new_database(server.get_uri(), name)}"
            with open_lake(WarehouseOptions(catalog=catalog, data=str(place / name))) as lake:
                fill(lake, held, site_first=site_first)
                number = (_REPEATS + 1) * sum(GROUPS)
                shards = made_shards(number, date(2026, 7, 3), site_first=site_first)
                for group in GROUPS:
                    taken, used, before = [], [], catalog_rows(lake)
                    for repeat in range(_REPEATS + 1):
                        given = list(islice(shards, group))
                        cpu, begun = processor_s(server), perf_counter()
                        commit_shards(lake, given, key=KEY, run_id="bench", message="bench")
                        if repeat:  # the first one loads what it needs
                            taken.append(1000 * (perf_counter() - begun))
                            used.append(1000 * (processor_s(server) - cpu))
                    after = catalog_rows(lake)
                    commits = _REPEATS + 1
                    rows.append(
                        (
                            f"{held:,}", "SITE/DATE" if site_first else "DATE/SITE", group,
                            f"{median(used):.0f}", ranged(taken, digits=0),
                            f"{(after[1] - before[1]) / commits:.0f}", f"{(after[0] - before[0]) / commits:.0f}",
                        )
                    )  # fmt: skip
    columns = (
        "recordings in the lake", "keys", "shards", "processor time, ms", "wall, ms", "files", "catalog rows",
    )  # fmt: skip
    return (
        f"Shards of {RECORDINGS} recordings and {RECORDINGS * SEGMENTS} segments; {_REPEATS} commits each, one "
        f"connection. Processor time is of emolake and PostgreSQL together; wall time is the machine's as it was.\n\n"
        f"{table(columns, rows)}"
    )


def fill(lake: Lake, recordings: int, *, site_first: bool) -> None:
    """Let a lake hold recordings of a hundred days, with a segment each."""
    first = date(2026, 1, 1)
    days = DayRange(first, first + timedelta(days=DAYS - 1))
    if recordings:
        rows = made_shard(*days, recordings=recordings // DAYS, segments=1, site_first=site_first)
        commit_shard(lake, rows, key=KEY, run_id="bench", message="bench")


def catalog_rows(lake: Lake) -> tuple[int, int]:
    """Return the rows of the catalog's growing tables, and the files that it has known."""
    counts = {
        name: int(lake.rows(f"SELECT count(*) FROM __ducklake_metadata_lake.ducklake_{name}")[0][0])
        for name in _TABLES
    }
    return sum(counts.values()), counts["data_file"] + counts["delete_file"]


if __name__ == "__main__":
    main(measure)
