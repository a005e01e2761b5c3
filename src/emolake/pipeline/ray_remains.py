"""What a cluster of a run leaves behind when the process of the run is killed, ended by a process beside it.

Ray's own processes end with the one that started them, or soon after; some of them wait a minute for a head that is
gone, and their folder stays.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from emolake.pipeline.process_beside import end_beside, is_left_alone, started_beside

MARK = "EMOLAKE_RAY_FOLDER"
"""The variable by which processes of a cluster are known, with its folder."""
_AGAIN_S = 0.2
_ATTEMPTS = 25


@contextmanager
def remains_ended(folder: Path) -> Iterator[None]:
    """End in the end, however this process does, what the cluster of a folder consists of, and remove the folder."""
    watch = started_beside(__name__, [str(folder)])
    try:
        yield
    finally:
        end_remains(folder)
        end_beside(watch)


def end_remains(folder: Path) -> None:
    """Kill the processes of the cluster of a folder, and remove the folder."""
    for _ in range(_ATTEMPTS):
        found = _processes(folder)
        if not found:
            break
        for process in found:
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
        time.sleep(_AGAIN_S)
    shutil.rmtree(folder, ignore_errors=True)


def _processes(folder: Path) -> list[int]:
    """Return the processes that bear the mark of a folder, or have a file of it open, where the system shows that."""
    return [
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if int(process.name) != os.getpid() and (_is_marked(process, folder) or _has_open(process, folder))
    ]


def _is_marked(process: Path, folder: Path) -> bool:
    with suppress(OSError):
        return f"{MARK}={folder}".encode() in (process / "environ").read_bytes().split(b"\0")
    return False


def _has_open(process: Path, folder: Path) -> bool:
    """Return whether a process of Ray has a file open: some write their title over what they were started with."""
    with suppress(OSError):
        if b"ray" not in (process / "cmdline").read_bytes():
            return False
        for each in (process / "fd").iterdir():
            with suppress(OSError):
                if each.readlink().is_relative_to(folder):
                    return True
    return False


def main() -> None:
    """Wait for the end of the process at the other end of standard input, and end what it left."""
    folder = Path(sys.argv[1])
    if is_left_alone():
        end_remains(folder)
    os._exit(0)
