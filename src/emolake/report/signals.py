"""What is odd of the signals of a range of days."""

from dataclasses import dataclass
from datetime import date

from emolake.lake.schema import missing_columns
from emolake.lake.transact import Lake
from emolake.schemas.columns import SIGNAL_NOTES
from emolake.sql import statement


@dataclass(frozen=True)
class OddSignals:
    """One oddity, how many recordings have it, and one of them."""

    note: str
    recordings: int
    example: str

    @property
    def meaning(self) -> str:
        """What it is, and the remedy."""
        return SIGNAL_NOTES[self.note]


def has_signals(lake: Lake) -> bool:
    """Tell whether the lake has the columns of signals, which a run of this version adds to an older one."""
    return not any(name == "recordings" for name, _ in missing_columns(lake.connection))


def odd_signals(lake: Lake, *, first: date, last: date) -> list[OddSignals]:
    """Return what is odd of the signals of some days, the commonest first; the lake has their columns."""
    return [OddSignals(*row) for row in lake.rows(statement("odd_signals"), {"first": first, "last": last})]
