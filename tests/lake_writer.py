"""A writer in a process of its own: `python lake_writer.py SETTINGS_JSON RUN_ID commit|hang`.

It says "ready" when its rows are made, waits for a line, and then commits them, or hangs in mid-transaction.
"""

import sys
import time

from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.lake.transact import take_guards
from emolake.lake.warehouse import WarehouseOptions
from emolake.schemas.days import DayRange
from emolake.schemas.tables import RECORDINGS, SEGMENTS
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, shard_rows, tiled

CALLS = [Call(f"{number}.wav", pieces=tiled(["anger", "neutral", None])) for number in range(8)]


def main() -> None:
    warehouse = WarehouseOptions.model_validate_json(sys.argv[1])
    run_id, mode = sys.argv[2:]
    with open_lake(warehouse) as lake:
        rows = shard_rows(CALLS, run_id=run_id)
        print("ready", flush=True)
        sys.stdin.readline()
        if mode == "hang":
            lake.connection.execute("BEGIN")
            take_guards(lake.connection, [DAY])
            append(lake.connection, SEGMENTS, rows.segments)
            append(lake.connection, RECORDINGS, rows.recordings)
            print("in mid-transaction", flush=True)
            time.sleep(120)
        committed = commit_shard(lake, rows, key=KEY, run_id=run_id, message="made")
        list(aggregate_days(lake, DayRange(DAY, DAY), dimensions=["site"], run_id=run_id))
    print(len(committed.written), len(committed.already_done), flush=True)


if __name__ == "__main__":
    main()
