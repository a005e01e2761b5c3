"""What begins runs for Prefect, kept by a process that lets the runs drain before it ends.

Prefect's worker kills the processes of its runs when it is stopped, and its `serve` does so after 30 s. So neither gets
a signal before the runs have had it, and have ended.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

from emolake.child_processes import end
from emolake.errors import ConfigurationError, EmolakeError
from emolake.messages import counted
from emolake.output.notices import complain
from emolake.pipeline.interrupts import GIVE_UP_S, StopRequest
from emolake.settings import Settings

_POLL_S = 0.2
_END_S = 60.0


def work(pool: str, settings: Settings) -> None:
    """Run a worker of Prefect for a process work pool until a signal ends it; the pool is made where it is not there.

    Raises:
        ConfigurationError: no server of Prefect is configured.
        EmolakeError: the worker ended by itself.
    """
    from emolake.environment import has_prefect_server

    if not has_prefect_server():
        raise ConfigurationError(
            "a worker takes its runs from a server of Prefect, and none is configured: set PREFECT_API_URL, or run "
            "everything on this machine by `emolake serve`"
        )
    prefect = [sys.executable, "-P", "-m", "prefect", "--no-prompt"]
    keep([*prefect, "worker", "start", "--pool", pool, "--type", "process"], grace_s=settings.run.grace_s)


def keep(command: Sequence[str], *, grace_s: float) -> None:
    """Run a program whose children are runs until it ends, or until a signal asks for that and its runs have drained.

    SIGINT, SIGTERM and SIGHUP are handed to the runs as SIGTERM: their shards at work commit, within run.grace_s. Then
    the program gets it. A second signal does not wait for them.

    Args:
        command: the program, which the signals of a terminal do not reach.
        grace_s: run.grace_s.

    Raises:
        EmolakeError: the program ended by itself.
    """
    with _asked() as numbers:
        process = subprocess.Popen(command, start_new_session=True)
        try:
            while process.poll() is None and not numbers:
                time.sleep(_POLL_S)
            if not numbers:
                raise EmolakeError(
                    f"what begins the runs ended by itself, with exit status {process.returncode}"
                )
            _drain(process, numbers, grace_s)
        finally:
            end(process, _END_S)


@contextmanager
def _asked() -> Iterator[list[int]]:
    """Give a list of the signals that have come, a request one: of a service manager several mean the same."""
    numbers, request = list[int](), StopRequest()

    def note(number: int, _frame: FrameType | None) -> None:
        if request.is_repeated_by(number) or not numbers:
            numbers.append(number)

    before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield numbers
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _drain(process: subprocess.Popen[bytes], numbers: Sequence[int], grace_s: float) -> None:
    """Ask the runs to stop, those too that begin meanwhile, and wait for their ends."""
    asked, deadline = set[int](), time.monotonic() + grace_s + GIVE_UP_S
    while len(numbers) == 1 and time.monotonic() < deadline and process.poll() is None:
        runs = _runs(process.pid)
        if not runs:
            return
        new = [run for run in runs if run.pid not in asked]
        for run in new:
            asked.add(run.pid)
            _terminate(run)
        if new:
            complain(
                f"{signal.Signals(numbers[0]).name}: {counted(len(new), 'run')} may finish the shards at work, in "
                f"{grace_s:g} s at most; once more does not wait for them"
            )
        time.sleep(_POLL_S)


def _runs(pid: int) -> list[psutil.Process]:
    """Return the processes of runs below the one that begins them."""
    try:
        children = psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []
    return [child for child in children if _is_run(child)]


def _is_run(process: psutil.Process) -> bool:
    """Return whether a child is at work on a run: it has not ended, and is not what tidies up after such children."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and not any(
            "resource_tracker" in word for word in process.cmdline()
        )
    except psutil.Error:
        return False


def _terminate(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.terminate()
