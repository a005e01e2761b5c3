"""How long does the report of 10,000 recordings take, and how much does it weigh?

python -m bench.reporting

Each report is written in a process of its own; seconds are of the report alone, the lake being open. A recording has
two channels of some 14 segments each, roles, a site and a queue; the days are the last 31.
"""

import json
import sys
from datetime import timedelta
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from bench.common import by_itself, folder, main, table
from bench.made_story import Story, tell
from emolake.lake.connect import open_lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.report.build import MOST_DAYS, write_report

_RECORDINGS = {"short": (1_000, 10_000), "full": (1_000, 10_000, 40_000)}
_MODELS = (("default",), ("default", "small"))
_REPEATS = 3


def measure(size: str) -> str:
    rows = []
    with folder() as place:
        for recordings in _RECORDINGS[size]:
            for models in _MODELS:
                name = f"{recordings}-{len(models)}"
                warehouse = WarehouseOptions(catalog=f"sqlite:{place}/{name}.sqlite", data=f"{place}/{name}")
                story = Story(days=MOST_DAYS, calls=recordings, segments=14, models=models)
                with open_lake(warehouse) as lake:
                    tell(lake, story)
                    ((segments,),) = lake.rows("SELECT count(*) FROM segments")
                found = [_alone(warehouse, place / f"{name}.html") for _ in range(_REPEATS)]
                rows.append(
                    (
                        f"{recordings:,}",
                        str(len(models)),
                        f"{segments:,}",
                        f"{median(each['seconds'] for each in found):.2f}",
                        f"{median(each['cpu'] for each in found):.2f}",
                        f"{found[0]['megabytes']:.2f}",
                    )
                )
    columns = ("recordings", "models", "segments", "seconds", "processor seconds", "MB")
    return f"`emolake report` of {MOST_DAYS} days; medians of {_REPEATS}.\n\n{table(columns, rows)}"


def _alone(warehouse: WarehouseOptions, out: Path) -> dict[str, float]:
    found: dict[str, float] = by_itself("bench.reporting", "written", warehouse.model_dump_json(), str(out))
    return found


def written(warehouse: str, out: str) -> dict[str, float]:
    """Write the report, in this process."""
    with open_lake(WarehouseOptions.model_validate_json(warehouse), read_only=True) as lake:
        cpu, started = process_time(), perf_counter()
        summary = write_report(lake, first=None, last=None, out=Path(out))
        seconds, used = perf_counter() - started, process_time() - cpu
    assert summary.first is not None
    assert summary.last == summary.first + timedelta(days=MOST_DAYS - 1)
    return {"seconds": seconds, "cpu": used, "megabytes": Path(out).stat().st_size / 1e6}


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "written":
        print(json.dumps(written(*sys.argv[2:])))
    else:
        main(measure)
