"""How much memory a process takes for a piece of work."""

import re
from pathlib import Path

_OWN = Path("/proc/self")


class Peak:
    """The highest resident memory of this process since now, above what it holds now (Linux)."""

    def __init__(self) -> None:
        # a child process inherits the peak of the one that started it
        (_OWN / "clear_refs").write_text("5")
        self._before = _kilobytes("VmRSS")

    def megabytes(self) -> float:
        return (_kilobytes("VmHWM") - self._before) / 1024


def _kilobytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", (_OWN / "status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])
