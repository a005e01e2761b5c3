"""`emolake` as a process of its own, as an operator starts it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import psutil

from chaos.outcomes import BrokenPromiseError

_LONGEST_S = 300.0
_ORPHAN_S = 30.0  # the watch of a killed run opens the lake once more, to write its row


@dataclass(frozen=True)
class Ended:
    """How a command ended; `said` is what is on standard error."""

    status: int
    said: str


class Command:
    """A running `emolake` command."""

    def __init__(self, config: Path, *arguments: str, environment: Mapping[str, str | None]) -> None:
        self.name = " ".join(arguments)
        self.was_killed = False
        wanted = {**os.environ, "PREFECT_LOGGING_LEVEL": None, **environment}
        self._said = config.with_name(f"{time.monotonic_ns()}.log")
        with self._said.open("wb") as output:
            self._process = subprocess.Popen(
                [Path(sys.executable).with_name("emolake"), *arguments, "--config", config],
                env={name: value for name, value in wanted.items() if value is not None},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def family(self, name: str = "") -> list[psutil.Process]:
        """Return the processes that the command and its own have started, whose names begin so."""
        found = []
        with suppress(psutil.NoSuchProcess):
            for each in psutil.Process(self._process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    program = each.cmdline() or [""]
                    if Path(program[0]).name.startswith(name):
                        found.append(each)
        return found

    def wait(self) -> Ended:
        """Wait for the end of the command."""
        status = self._process.wait(_LONGEST_S)
        return Ended(status, self._said.read_text("utf-8", "replace"))

    def succeed(self) -> None:
        """Wait for the end; raises BrokenPromiseError where it is none of success."""
        ended = self.wait()
        if ended.status:
            raise BrokenPromiseError(f"`emolake {self.name}` ended with {ended.status}: {ended.said[-2000:]}")

    def kill(self) -> bool:
        """Kill the process at once, and tell whether it still ran; raises BrokenPromiseError where a child lives on."""
        children = self.family()
        ran = self.running
        self.was_killed = True
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        _, alive = psutil.wait_procs(children, timeout=_ORPHAN_S)
        for child in alive:
            child.kill()
        if alive:
            raise BrokenPromiseError(f"killed, `emolake {self.name}` left {len(alive)} processes behind")
        return ran


@contextmanager
def started(
    config: Path, *arguments: str, environment: Mapping[str, str | None] = MappingProxyType({})
) -> Iterator[Command]:
    """Start `emolake` with arguments; what still runs when the block ends is killed.

    `environment` is added to this process', without the variables that are None.
    """
    command = Command(config, *arguments, environment=environment)
    try:
        yield command
    finally:
        if command.running:
            command.kill()


def clear_failure(ended: Ended, *needed: str) -> str:
    """Return the one sentence that a failed command said; raises BrokenPromiseError where it is not clear.

    Clear is: exit status 1, one line that begins with the program's name, the needed words in it, no internal error.
    """
    lines = [line for line in ended.said.splitlines() if line.startswith("emolake: ")]
    if ended.status != 1 or len(lines) != 1 or "internal error" in lines[0]:
        raise BrokenPromiseError(f"no clear failure, but status {ended.status} and {ended.said[-2000:]!r}")
    for word in needed:
        if word not in lines[0]:
            raise BrokenPromiseError(f"the failure does not say {word!r}: {lines[0]}")
    return lines[0]
