"""A worker of a cluster as the process of the run sees it: where it is, what it says, and how far its portion is."""

from dataclasses import dataclass, field
from typing import Any

from emolake import telemetry
from emolake.errors import Reason
from emolake.output import logs
from emolake.pipeline import run_progress
from emolake.pipeline.ray_worker import Beat
from emolake.pipeline.run_progress import Advanced


@dataclass
class SeenWorker:
    """A worker of the run."""

    number: int
    actor: Any
    name: str = ""
    node: str = ""
    signs: int = -1
    progress: Advanced = field(default_factory=Advanced)
    """What the portion at work has advanced."""
    killed_for: tuple[Reason, str] | None = None
    """Why it was ended from here."""

    def note(self, beat: Beat) -> bool:
        """Show, log and count what the worker says; return whether it has got further."""
        for day, (seconds, recordings) in beat.progress.items():
            self.progress.note(day, seconds, recordings)
            run_progress.add(day, seconds, recordings)
        for line in beat.lines:
            logs.relay(line)
        for name, amount, labels in beat.counted:
            telemetry.count(name, amount, **labels)
        further = beat.signs != self.signs
        self.signs = beat.signs
        return further
