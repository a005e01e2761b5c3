"""Gaps: days and sites with far fewer recordings than usual, which an upload that failed leaves behind."""

from datetime import date, datetime, timedelta
from typing import NamedTuple

from emolake.lake.transact import Lake
from emolake.schemas.days import DayRange
from emolake.settings import Settings
from emolake.sql import statement

_DAYS = 28


class Gap(NamedTuple):
    """Too few recordings of one day and one value of the dimensions; `usual` is a median over so many `weeks`."""

    date: date
    weekday: str
    dimensions: tuple[str, ...]
    recordings: int
    usual: float
    weeks: int


def judged_days(settings: Settings, first: date | None, last: date | None) -> DayRange:
    """Return the days that are judged: up to yesterday in the configured zone, and four weeks of them, by default."""
    last = last or datetime.now(settings.source.zone).date() - timedelta(days=1)
    return DayRange(first or last - timedelta(days=_DAYS - 1), last)


def find_gaps(lake: Lake, settings: Settings, days: DayRange) -> list[Gap]:
    """Return the gaps of some days, in their order.

    Args:
        lake: the open lake.
        settings: say the dimensions, and what is far below usual.
        days: the days.
    """
    options = settings.gaps
    parameters = {
        "first": days.first,
        "last": days.last,
        "dimensions": list(settings.recording_breakdown),
        "weeks": options.weeks,
        "least_share": options.least_share,
        "least_usual": options.least_usual,
    }
    found = lake.answered_rows(statement("gaps"), parameters)
    return [
        Gap(day, weekday, tuple(dimensions), recordings, usual, weeks)
        for day, weekday, dimensions, recordings, usual, weeks in found
    ]
