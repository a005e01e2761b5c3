"""What a run is asked to do."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class RunRequest:
    """The days that a run analyses, and how."""

    flow: str
    """What is run: nightly, backfill or retry."""
    days: tuple[date, ...]
    """The days, in the order in which they begin."""
    model: str | None = None
    """Name of a model of the configuration; the one of [inference] when left out."""
    force: bool = False
    """Analyse also what the lake holds, and replace it."""
    retried: tuple[str, ...] | None = None
    """Analyse only what is quarantined for one of these reasons, for any when it is empty; everything when left out."""
    parallel_days: int = 1
    """Days under way at once."""
