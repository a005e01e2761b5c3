"""Ranges of calendar days."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Self

from pydantic import Field

from emolake.errors import ConfigurationError

_LEAP = "[0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00"
DAY_PATTERN = (
    "^(?!0000)([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    f"|02-(0[1-9]|1[0-9]|2[0-8]))|({_LEAP})-02-29)$"
)
Day = Annotated[date, Field(json_schema_extra={"pattern": DAY_PATTERN})]
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
