"""What a cluster of a run leaves behind when the process of the run is killed, ended by a process beside it.

Ray's own processes end with the one that started them, or soon after; some of them wait a minute for a head that is
gone, and their folder stays.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from emolake.pipeline.interrupts import stop_signals_blocked

MARK = "EMOLAKE_RAY_FOLDER"
"""The variable by which processes of a cluster are known, with its folder."""
_ENDED = b"ended\n"
_REAP_S = 10.0
_AGAIN_S = 0.2
_ATTEMPTS = 25


@contextmanager
def remains_ended(folder: Path) -> Iterator[None]:
    """End in the end, however this process does, what the cluster of a folder consists of, and remove the folder."""
    command = [
        sys.executable,
        "-P",
        "-c",
        "from emolake.pipeline.ray_remains import main; main()",
        str(folder),
    ]
    with stop_signals_blocked():
        watch = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield
    finally:
        end_remains(folder)
        try:
            watch.communicate(_ENDED, timeout=_REAP_S)
        except subprocess.TimeoutExpired:
            watch.kill()
            watch.wait()


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
    if sys.stdin.buffer.readline() != _ENDED:
        end_remains(folder)
    os._exit(0)
