"""Ranges of calendar days."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Self

from pydantic import Field

from emolake.errors import ConfigurationError

Day = Annotated[date, Field(json_schema_extra={"pattern": r"^\d{4}-\d{2}-\d{2}$"})]
"""A date as a parameter of a flow: before a run begins Prefect checks the pattern, and not the format."""


@dataclass(frozen=True)
class DayRange:
    """Days from `first` to `last`, inclusive.

    Raises:
        ConfigurationError: the range ends before it begins.
    """

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ConfigurationError(
                f"the range ends on {self.last}, before it begins on {self.first}; give the earlier date first"
            )

    @classmethod
    def between(cls, first: date | None, last: date | None) -> Self:
        """Return the range from `first` to `last`; without one of them it has no end on that side."""
        return cls(first or date.min, last or date.max)

    @classmethod
    def around(cls, days: Collection[date]) -> Self:
        """Return the smallest range that holds some days."""
        return cls(min(days), max(days))

    def __str__(self) -> str:
        """Name the days in a sentence.

        >>> str(DayRange(date(2026, 11, 1), date(2026, 11, 3))), str(DayRange(date(2026, 11, 1), date(2026, 11, 1)))
        ('2026-11-01 to 2026-11-03', '2026-11-01')
        """
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"

    def __iter__(self) -> Iterator[date]:
        for offset in range((self.last - self.first).days + 1):
            yield self.first + timedelta(days=offset)
