"""Gaps: days and sites with far fewer recordings than usual, which an upload that failed leaves behind."""

from datetime import date, datetime, timedelta
from typing import IO, NamedTuple

from emolake.errors import ConfigurationError
from emolake.lake.transact import Lake
from emolake.output.table import print_table, write_json
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


def find_gaps(
    lake: Lake, settings: Settings, first: date | None = None, last: date | None = None
) -> list[Gap]:
    """Return the gaps of a range, in order of day.

    Args:
        lake: the open lake.
        settings: say the dimensions, and what is far below usual.
        first: first day; four weeks before the last one when left out.
        last: last day, inclusive; yesterday in the configured zone when left out.

    Raises:
        ConfigurationError: the range ends before it begins.
    """
    last = last or datetime.now(settings.source.zone).date() - timedelta(days=1)
    first = first or last - timedelta(days=_DAYS - 1)
    if last < first:
        raise ConfigurationError(
            f"the range ends on {last}, before it begins on {first}; give the earlier date first"
        )
    options = settings.gaps
    parameters = {
        "first": first,
        "last": last,
        "dimensions": list(settings.aggregate.by),
        "weeks": options.weeks,
        "least_share": options.least_share,
        "least_usual": options.least_usual,
    }
    return [
        Gap(day, weekday, tuple(dimensions), recordings, usual, weeks)
        for day, weekday, dimensions, recordings, usual, weeks in lake.rows(statement("gaps"), parameters)
    ]


def write_gaps(gaps: list[Gap], settings: Settings, format: str, output: IO[str]) -> None:
    """Write the gaps as a table or as JSON, a column for each dimension."""
    by = settings.aggregate.by
    names = ("date", "weekday", *by, "recordings", "usual", "weeks")
    rows = [(gap.date, gap.weekday, *gap.dimensions, gap.recordings, gap.usual, gap.weeks) for gap in gaps]
    if format == "json":
        write_json((dict(zip(names, row, strict=True)) for row in rows), output)
    elif rows:
        print_table(names, rows, output)
