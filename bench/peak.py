"""How much memory a process takes for a piece of work."""

import ctypes
import re
from pathlib import Path

_OWN = Path("/proc/self")


class Peak:
    """The highest resident memory of this process since now, above what it holds now (Linux, glibc)."""

    def __init__(self) -> None:
        # what was freed before is not held, though glibc keeps more or less of it
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        # a child process inherits the peak of the one that started it
        (_OWN / "clear_refs").write_text("5")
        self._before = _kilobytes("VmRSS")

    def megabytes(self) -> float:
        return (_kilobytes("VmHWM") - self._before) / 1024


def _kilobytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", (_OWN / "status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])
