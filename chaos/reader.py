"""A reader in a process of its own: `python reader.py CONFIG TOTALS once|each-time`, which reads until its input ends.

TOTALS is a JSON object of the sums of segments that the daily table may show for each day, besides none at all. The
lake is opened once, or for each reading. What was wrong, and the number of readings, goes to standard output as JSON.
"""

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from select import select

from emolake.lake.connect import open_lake
from emolake.lake.transact import Lake
from emolake.settings import load_settings

_LEDGER = "SELECT recording_id, segments FROM analyses WHERE segments > 0 ORDER BY ALL"
_SEGMENTS = "SELECT recording_id, count(*) FROM segments GROUP BY ALL ORDER BY ALL"
_DAILY = "SELECT date::VARCHAR, sum(segments)::INT FROM daily_emotions GROUP BY ALL"


def wrong_in(lake: Lake, totals: dict[str, list[int]]) -> str | None:
    """Read the lake in one transaction; tell what does not fit together, or None."""
    lake.connection.execute("BEGIN")
    ledger, segments, daily = (lake.rows(sql) for sql in (_LEDGER, _SEGMENTS, _DAILY))
    lake.connection.execute("COMMIT")
    if ledger != segments:
        return f"the ledger says {ledger}, and there are {segments}"
    parts = [(day, total) for day, total in daily if total not in totals[day]]
    return f"the daily table shows {parts}, expected {totals}" if parts else None


def main() -> None:
    """Read until the input ends, or something is wrong."""
    warehouse = load_settings(Path(sys.argv[1])).warehouse
    totals, mode = json.loads(sys.argv[2]), sys.argv[3]
    readings, wrong = 0, None
    with ExitStack() as kept:
        opened = kept.enter_context(open_lake(warehouse, read_only=True)) if mode == "once" else None
        while wrong is None and not select([sys.stdin], [], [], 0.01)[0]:
            with ExitStack() as closing:
                lake = opened or closing.enter_context(open_lake(warehouse, read_only=True))
                wrong = wrong_in(lake, totals)
            readings += 1
    print(json.dumps({"readings": readings, "wrong": wrong}))


if __name__ == "__main__":
    main()
