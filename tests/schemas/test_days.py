"""Ranges of days: both ends belong to them, and none runs backwards."""

import re
from datetime import date, timedelta

import pytest
from hypothesis import example, given, strategies

from emolake.errors import ConfigurationError
from emolake.schemas.days import DAY_PATTERN, DayRange

MONDAY = date(2026, 11, 16)


def test_both_ends_belong_to_a_range() -> None:
    assert list(DayRange(MONDAY, MONDAY)) == [MONDAY]
    assert list(DayRange(MONDAY, MONDAY + timedelta(days=2))) == [
        MONDAY, MONDAY + timedelta(days=1), MONDAY + timedelta(days=2)
    ]  # fmt: skip


def test_a_range_that_ends_before_it_begins_is_a_wrong_call() -> None:
    with pytest.raises(
        ConfigurationError, match="ends on 2026-11-15, before it begins on 2026-11-16; give the ea"
    ):
        DayRange(MONDAY, MONDAY - timedelta(days=1))


def test_a_side_that_is_left_out_has_no_end() -> None:
    assert DayRange.between(None, MONDAY) == DayRange(date.min, MONDAY)
    assert DayRange.between(MONDAY, None) == DayRange(MONDAY, date.max)


def test_the_smallest_range_around_days_in_any_order() -> None:
    days = [MONDAY + timedelta(days=offset) for offset in (3, 0, 9)]
    assert DayRange.around(days) == DayRange(MONDAY, MONDAY + timedelta(days=9))


@given(strategies.integers(0, 9999), strategies.integers(0, 14), strategies.integers(0, 33))
@example(2000, 2, 29)
@example(1900, 2, 29)
@example(2024, 2, 29)
@example(2026, 2, 29)
def test_the_pattern_takes_days_that_there_are(year: int, month: int, day: int) -> None:
    try:
        date(year, month, day)
    except ValueError:
        exists = False
    else:
        exists = True
    assert bool(re.search(DAY_PATTERN, f"{year:04}-{month:02}-{day:02}")) is exists


@pytest.mark.parametrize(
    "text", ["20.11.2026", "2026-1-1", "2026-11-20T00:00", " 2026-11-20", "٢٠٢٦-11-20", ""]
)
def test_the_pattern_takes_nothing_else(text: str) -> None:
    assert not re.search(DAY_PATTERN, text)
