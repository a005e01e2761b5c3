"""A process beside a run that outlives it when it is killed, to make its row true: no handler of its own runs then.

A worker of Prefect that is stopped kills its runs so, a system that lacks memory does, and an impatient person.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from emolake.pipeline.process_beside import end_beside, is_left_alone, started_beside

if TYPE_CHECKING:
    from emolake.pipeline.runs import Run


@contextmanager
def watched(run: "Run") -> Iterator[Callable[[], None]]:
    """Give a function that begins the watch over a run; it ends with the block, in which the run writes its own end."""
    watches: list[subprocess.Popen[bytes]] = []

    def begin() -> None:
        if not watches:
            watches.append(_started(run))

    try:
        yield begin
    finally:
        for watch in watches:
            end_beside(watch)


def _started(run: "Run") -> subprocess.Popen[bytes]:
    process = started_beside(__name__)
    assert process.stdin is not None
    told = {"run_id": run.run_id, "settings": run.settings.model_dump(mode="json")}
    process.stdin.write(json.dumps(told).encode() + b"\n")
    process.stdin.flush()
    return process


def main() -> None:
    """Run the watch: wait for the end of the run at the other end of standard input, and write its row if need be."""
    told = json.loads(sys.stdin.buffer.readline())
    if is_left_alone():
        _write_row(told["run_id"], told["settings"])
    os._exit(0)


def _write_row(run_id: str, settings_json: object) -> None:
    from emolake.lake.connect import open_lake
    from emolake.pipeline.runs import mark_ended
    from emolake.settings import Settings

    warehouse = Settings.model_validate(settings_json).warehouse
    if not warehouse.parsed_catalog.is_absent:
        with open_lake(warehouse) as lake:
            mark_ended(lake, run_id)
