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

from emolake.pipeline.interrupts import stop_signals_blocked

if TYPE_CHECKING:
    from emolake.pipeline.runs import Run

_ENDED = b"ended\n"
_REAP_S = 10.0


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
            _end(watch)


def _started(run: "Run") -> subprocess.Popen[bytes]:
    # -P: the working folder is on no search path. In a session of its own, so that what ends the run's leaves it.
    command = [sys.executable, "-P", "-c", "from emolake.pipeline.run_watch import main; main()"]
    with stop_signals_blocked():
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    assert process.stdin is not None
    told = {"run_id": run.run_id, "settings": run.settings.model_dump(mode="json")}
    process.stdin.write(json.dumps(told).encode() + b"\n")
    process.stdin.flush()
    return process


def _end(watch: subprocess.Popen[bytes]) -> None:
    try:
        watch.communicate(_ENDED, timeout=_REAP_S)
    except subprocess.TimeoutExpired:
        watch.kill()
        watch.wait()


def main() -> None:
    """Run the watch: wait for the end of the run at the other end of standard input, and write its row if need be."""
    told = json.loads(sys.stdin.buffer.readline())
    if sys.stdin.buffer.readline() != _ENDED:
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
