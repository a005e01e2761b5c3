"""Gaps: days and sites far below their usual are reported, whatever else the lake holds."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from emolake.cli.arguments import TableFormat
from emolake.cli.presenting import show_gaps
from emolake.errors import ConfigurationError
from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.lake.transact import Lake
from emolake.schemas.days import DayRange
from emolake.schemas.tables import RECORDINGS
from emolake.settings import GapOptions, Settings
from emolake.upkeep.gaps import find_gaps, judged_days

from made_lake import Call, shard_rows, sqlite_warehouse

LAST = date(2026, 11, 20)  # a Friday
WEEKS = 9
# Six recordings a working day in Oslo, two on Sundays, none on Saturdays; Berlin has one a day and 30 on Mondays.
OSLO = {0: 6, 1: 6, 2: 6, 3: 6, 4: 6, 5: 0, 6: 2}
BERLIN = {0: 30} | dict.fromkeys(range(1, 7), 1)
SETTINGS = Settings(gaps=GapOptions(weeks=4))
THURSDAY, MONDAY = LAST - timedelta(days=1), LAST - timedelta(days=4)


def fill(lake: Lake, missing: dict[tuple[date, str], int]) -> None:
    """Rows of nine weeks; `missing` replaces the number of a day and site."""
    calls = []
    for back in range(7 * WEEKS):
        day = LAST - timedelta(days=back)
        for site, usual in (("oslo", OSLO), ("berlin", BERLIN)):
            number = missing.get((day, site), usual[day.weekday()])
            calls += [Call(f"{day}/{site}/{n}.wav", day=day, site=site) for n in range(number)]
    append(lake.connection, RECORDINGS, shard_rows(calls).recordings)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with open_lake(sqlite_warehouse(tmp_path_factory.mktemp("lake"))) as opened:
        fill(opened, {(LAST, "oslo"): 0, (LAST, "berlin"): 0, (THURSDAY, "oslo"): 3, (MONDAY, "berlin"): 14,
                      (MONDAY - timedelta(days=7), "berlin"): 0})  # fmt: skip
        yield opened


def found(
    lake: Lake, first: date, last: date = LAST, settings: Settings = SETTINGS
) -> list[tuple[object, ...]]:
    return [
        (gap.date, *gap.dimensions, gap.recordings, gap.usual)
        for gap in find_gaps(lake, settings, DayRange(first, last))
    ]


def test_days_far_below_their_weekday_are_found(lake: Lake) -> None:
    assert found(lake, MONDAY) == [
        (MONDAY, "berlin", 14, 30.0),  # one empty Monday before it does not move the median
        (LAST, "oslo", 0, 6.0),  # a day that is missing altogether; Berlin's usual one is too few to judge
    ]


def test_saturdays_and_half_of_the_usual_are_no_gap(lake: Lake) -> None:
    assert found(lake, THURSDAY, THURSDAY) == []  # three of six are not below the half
    saturday = LAST - timedelta(days=6)
    assert found(lake, saturday, saturday) == []


def test_the_thresholds_are_settings(lake: Lake) -> None:
    strict = Settings(gaps=GapOptions(weeks=4, least_share=0.6, least_usual=1))
    assert (THURSDAY, "oslo", 3, 6.0) in found(lake, THURSDAY, settings=strict)
    assert (LAST, "berlin", 0, 1.0) in found(lake, THURSDAY, settings=strict)


def test_the_first_weeks_of_a_site_are_not_held_against_it(lake: Lake) -> None:
    begun = LAST - timedelta(days=7 * WEEKS - 1)
    assert found(lake, begun - timedelta(days=60), begun + timedelta(days=7)) == []


def test_without_dimensions_the_whole_day_counts(lake: Lake) -> None:
    from emolake.lake.warehouse import AggregateOptions

    whole = SETTINGS.model_copy(update={"aggregate": AggregateOptions(by=())})
    assert found(lake, LAST, settings=whole) == [(LAST, 0, 7.0)]


def test_the_default_range_ends_yesterday() -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert judged_days(SETTINGS, None, None) == DayRange(yesterday - timedelta(days=27), yesterday)
    assert judged_days(SETTINGS, None, LAST) == DayRange(LAST - timedelta(days=27), LAST)
    assert judged_days(SETTINGS, MONDAY, LAST) == DayRange(MONDAY, LAST)
    with pytest.raises(ConfigurationError, match="give the earlier date first"):
        judged_days(SETTINGS, LAST, MONDAY)


def test_table_and_json_name_the_dimensions(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    gaps = find_gaps(lake, SETTINGS, DayRange(LAST, LAST))
    show_gaps(gaps, SETTINGS.aggregate.by, TableFormat.json)
    assert json.loads(capsys.readouterr().out) == [
        {"date": "2026-11-20", "weekday": "Friday", "site": "oslo", "recordings": 0, "usual": 6.0, "weeks": 4}
    ]
    show_gaps(gaps, SETTINGS.aggregate.by, TableFormat.table)
    assert "oslo" in capsys.readouterr().out
