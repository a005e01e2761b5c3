"""A command in a terminal of its own, as a person runs it: what is typed reaches every process of its group."""

import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import psutil

# The new session takes its standard input for its terminal, and is then the command.
_BEGIN = f"import fcntl, os, sys; fcntl.ioctl(0, {termios.TIOCSCTTY}, 0); os.execv(sys.argv[1], sys.argv[1:])"
INTERRUPT = b"\x03"


class Terminal:
    """A running command, and what it has shown."""

    def __init__(self, command: Sequence[str | Path], folder: Path) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            start_new_session=True,
        )
        os.close(slave)
        self._shown = b""
        self._reader = Thread(target=self._read, args=(os.dup(self._master),), daemon=True)
        self._reader.start()

    @property
    def shown(self) -> str:
        """All that the command has written."""
        return self._shown.decode("utf-8", "replace")

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def family(self) -> list[psutil.Process]:
        """Return the command's process and all that it has started."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def _read(self, descriptor: int) -> None:
        with suppress(OSError):  # of Linux, when the last process has closed its side
            while content := os.read(descriptor, 1 << 16):
                self._shown += content
        os.close(descriptor)

    def close(self) -> None:
        """End what still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)
        os.close(self._master)


@contextmanager
def terminal(command: Sequence[str | Path], folder: Path) -> Iterator[Terminal]:
    """Run a command in a terminal while the block runs."""
    made = Terminal(command, folder)
    try:
        yield made
    finally:
        made.close()
