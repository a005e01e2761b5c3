"""The recordings that could not be analysed, by day and reason."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from emolake.errors import ConfigurationError, Reason
from emolake.lake.transact import Lake
from emolake.schemas.days import DayRange
from emolake.sql import statement


class Quarantined(NamedTuple):
    """One recording, and what was wrong with it."""

    date: date
    recording_id: str
    uri: str
    error: str


def quarantined(lake: Lake, days: DayRange, reasons: Sequence[str] = ()) -> list[Quarantined]:
    """Return the quarantined recordings of a range, in order of day and URI.

    Args:
        lake: the open lake.
        days: the range.
        reasons: only those of these codes; every one when empty.

    Raises:
        ConfigurationError: there is no such reason.
    """
    unknown = sorted(set(reasons) - set(Reason))
    if unknown:
        raise ConfigurationError(
            f"no recording is quarantined for {', '.join(unknown)}; the reasons are {', '.join(Reason)}"
        )
    parameters = {"first": days.first, "last": days.last, "reasons": list(reasons)}
    return [Quarantined(*row) for row in lake.answered_rows(statement("quarantined"), parameters)]
