"""A process beside this one that waits for its end, however that comes, and does then what this one did not."""

import subprocess
import sys
from collections.abc import Sequence

from emolake.pipeline.interrupts import stop_signals_blocked

_ENDED = b"ended\n"
_REAP_S = 10.0


def started_beside(module: str, arguments: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start `main` of a module, with arguments; `end_beside` ends it, and `is_left_alone` is what it waits with."""
    # -P: the working folder is on no search path. In a session of its own, so that what ends ours leaves it.
    command = [sys.executable, "-P", "-c", f"from {module} import main; main()", *arguments]
    with stop_signals_blocked():
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def end_beside(process: subprocess.Popen[bytes]) -> None:
    """End the process: what it is there for is not needed any more."""
    try:
        process.communicate(_ENDED, timeout=_REAP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def is_left_alone() -> bool:
    """Wait, in the process beside, for the end of the other one; return whether that came without `end_beside`."""
    return sys.stdin.buffer.readline() != _ENDED
