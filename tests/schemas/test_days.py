"""Ranges of days: both ends belong to them, and none runs backwards."""

from datetime import date, timedelta

import pytest

from emolake.errors import ConfigurationError
from emolake.schemas.days import DayRange

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
