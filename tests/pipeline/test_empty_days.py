"""Nights that find nothing: a row, a warning with names, and a failure where earlier days had recordings."""

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from emolake.lake.connect import open_lake
from emolake.lake.transact import Lake
from emolake.pipeline.empty_days import judge_listings, listing_notes
from emolake.pipeline.run_request import RunRequest
from emolake.pipeline.runs import Run, RunFailedError, recorded
from emolake.run_options import RunOptions
from emolake.schemas.records import NOT_AUDIO, NOT_MATCHED, Listing
from emolake.settings import Settings
from emolake.source.access import SourceOptions
from emolake.sql import statement
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, shard_rows, sqlite_warehouse

FRIDAY = DAY
NIGHT = [FRIDAY - timedelta(days=back) for back in range(3, -1, -1)]
NOTHING = Listing()
STRANGERS = Listing(not_matched=2, named_keys=(f"{NOT_MATCHED}: calls/a.wav", f"{NOT_MATCHED}: calls/b.wav"))
TEXTS = Listing(not_audio=1, named_keys=(f"{NOT_AUDIO}: 2026/11/20/oslo/a.txt",))
SOME = Listing(found=5, skipped=5)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with open_lake(sqlite_warehouse(tmp_path_factory.mktemp("lake"))) as lake:
        yield lake


@pytest.fixture
def lake(shared: Lake) -> Lake:
    for table in ("recordings", "analyses", "segments", "runs"):
        shared.connection.execute(f"DELETE FROM lake.{table}")
    return shared


def hold(lake: Lake, days: Sequence[date], *, deleted: bool = False) -> None:
    """Let the lake hold a recording of each day."""
    calls = [Call(f"{day:%Y/%m/%d}/oslo/a.wav", day=day) for day in days]
    commit_shard(lake, shard_rows(calls), key=KEY, run_id="run-1", message="made")
    if deleted:
        lake.connection.execute(
            "UPDATE lake.recordings SET deleted_at = TIMESTAMPTZ '2026-01-01 00:00:00+00'"
        )


def night(
    lake: Lake,
    listings: dict[date, Listing],
    empty: Literal["warn", "fail", "allow"] = "fail",
    flow: str = "nightly",
    retried: tuple[str, ...] | None = None,
) -> Run:
    """A run of which every listing reached its end, judged and recorded as a flow does it."""
    settings = Settings(run=RunOptions(empty=empty))
    run = Run(RunRequest(flow, tuple(listings), retried=retried), KEY, settings)
    with recorded(run, lake, logging.getLogger("test")):
        for day, listing in listings.items():
            run.list_more(listing)
            run.whole_listings[day] = listing
        run.failures += judge_listings(run, lake)
    return run


def rows(lake: Lake) -> list[tuple[str, int, list[str]]]:
    return lake.rows("SELECT outcome, found, warnings FROM runs ORDER BY started_at")


@pytest.mark.parametrize("listing", [NOTHING, STRANGERS, TEXTS])
@pytest.mark.parametrize(
    ("empty", "outcome"), [("fail", "failed"), ("warn", "completed"), ("allow", "completed")]
)
def test_a_night_without_a_recording_after_others_had_some(
    lake: Lake, listing: Listing, empty: Literal["warn", "fail", "allow"], outcome: str
) -> None:
    hold(lake, [FRIDAY - timedelta(days=9)])
    run = night(lake, dict.fromkeys(NIGHT, listing), empty)
    ((found, number, warnings),) = rows(lake)
    assert (found, number) == (outcome, 0)
    said = " ".join([*warnings, *run.failures])
    if empty == "allow":
        assert said == ""
        return
    assert f"no recording was found on any of the 4 days {NIGHT[0]} to {FRIDAY}" in said
    assert "the lake holds recordings of 2026-11-11" in said
    assert "check source.uri and source.pattern" in said
    for named in listing.named_keys[:1]:
        assert named.partition(": ")[2] in said
    assert ('run.empty = "warn"' in said) == (empty == "fail")


def test_a_first_night_that_finds_nothing_warns_and_has_a_row(lake: Lake) -> None:
    night(lake, dict.fromkeys(NIGHT, NOTHING))
    ((outcome, _, (warning,)),) = rows(lake)
    assert outcome == "completed"
    assert "no key is listed, and the source has no key at all; check source.uri" in warning


def test_keys_that_no_prefix_of_the_day_has_are_named(lake: Lake, tmp_path: Path) -> None:
    for key in ("2026-11/a.wav", "2026-12/x/b.wav", "2026-12/y/c.wav"):
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(b"x")
    settings = Settings(source=SourceOptions(uri=str(tmp_path)))
    run = Run(RunRequest("nightly", (FRIDAY,)), KEY, settings)
    run.whole_listings[FRIDAY] = NOTHING
    hold(lake, [FRIDAY - timedelta(days=1)])
    (failure,) = judge_listings(run, lake)
    assert "the source has keys such as 2026-11/a.wav, 2026-12/y/c.wav; check source.uri" in failure


def test_days_before_the_first_recordings_are_no_failure_in_a_backfill(lake: Lake) -> None:
    hold(lake, [FRIDAY + timedelta(days=30)])
    assert night(lake, dict.fromkeys(NIGHT, NOTHING), flow="backfill").failures == []


def test_days_whose_recordings_are_gone_now_fail_and_those_known_to_be_gone_do_not(lake: Lake) -> None:
    hold(lake, NIGHT)
    assert night(lake, dict.fromkeys(NIGHT, NOTHING), flow="backfill").failures
    hold(lake, NIGHT, deleted=True)
    assert night(lake, dict.fromkeys(NIGHT, NOTHING), flow="backfill").failures == []


def test_one_day_without_keys_among_others_warns_once_in_the_table(lake: Lake) -> None:
    listings = dict.fromkeys(NIGHT, SOME) | {NIGHT[2]: NOTHING}
    hold(lake, [NIGHT[0]])
    assert night(lake, listings).failures == []
    ((outcome, found, (warning,)),) = rows(lake)
    assert (outcome, found) == ("completed", 15)
    assert warning.startswith(f"{NIGHT[2]}: no key is listed, and other days list some")
    again = night(lake, listings)
    assert again.warnings == [warning]
    assert len(rows(lake)) == 1, "a night that says nothing new commits nothing"


@pytest.mark.parametrize("empty", ["allow", "warn", "fail"])
@pytest.mark.parametrize("weeks", [1, 2])
def test_a_holiday_that_a_nightly_has_seen_is_noted_once_and_not_late(
    lake: Lake, empty: Literal["warn", "fail", "allow"], weeks: int
) -> None:
    others = [FRIDAY - timedelta(days=back) for back in range(1, 21) if back % 7 or back == 7 * weeks]
    hold(lake, others)
    late = {"first": FRIDAY, "last": FRIDAY, "zone": "UTC"}
    assert lake.rows(statement("late_days"), late) == [(FRIDAY,)]
    for _ in range(2):
        assert night(lake, dict.fromkeys(NIGHT, SOME) | {FRIDAY: NOTHING}, empty).failures == []
        assert lake.rows(statement("late_days"), late) == []
        assert len(rows(lake)) == 1


def test_a_day_that_is_not_over_is_not_noted(lake: Lake) -> None:
    today = datetime.now(UTC).date()
    hold(lake, [today - timedelta(days=7)])
    assert night(lake, {today - timedelta(days=7): SOME, today: NOTHING}, "allow").failures == []
    assert rows(lake) == []


def test_a_night_with_nothing_new_is_recorded_where_the_one_before_failed_and_once(lake: Lake) -> None:
    hold(lake, NIGHT)
    assert night(lake, dict.fromkeys(NIGHT, NOTHING)).failures
    done = dict.fromkeys(NIGHT, Listing(found=1, skipped=1))
    assert night(lake, done, flow="backfill").failures == []
    assert [row[0] for row in rows(lake)] == ["failed"], "a backfill says nothing of the nightly"
    assert night(lake, done).failures == []
    assert sorted(row[0] for row in rows(lake)) == ["completed", "failed"]
    assert night(lake, done).failures == []
    assert len(rows(lake)) == 2


def test_the_lookback_before_the_first_recordings_is_no_news(lake: Lake) -> None:
    run = night(lake, dict.fromkeys(NIGHT, NOTHING) | {FRIDAY: SOME})
    assert (run.warnings, rows(lake)) == ([], [])
    assert night(lake, dict.fromkeys(NIGHT, NOTHING) | {FRIDAY: SOME}, flow="backfill").warnings


@pytest.mark.parametrize("lookback", [0, 3])
@pytest.mark.parametrize("weeks", [2, 4])
def test_days_on_which_nobody_works_are_usual_and_a_source_that_broke_never_becomes_so(
    lake: Lake, lookback: int, weeks: int
) -> None:
    """Sundays are closed for weeks; then the source breaks, and no night of the three weeks after passes."""
    begin = date(2026, 11, 2)  # a Monday
    open_days = [
        begin + timedelta(days=n) for n in range(7 * weeks) if (begin + timedelta(days=n)).weekday() != 6
    ]
    hold(lake, open_days)
    sunday = begin + timedelta(days=7 * weeks - 1)
    closed = {sunday - timedelta(days=n): NOTHING if n == 0 else SOME for n in range(lookback + 1)}
    run = night(lake, closed)
    assert run.failures == []
    if lookback:
        assert run.warnings == []
    for after in range(1, 22):
        last = sunday + timedelta(days=after)
        planned = [last - timedelta(days=n) for n in range(lookback + 1)]
        broken = {day: SOME if day in open_days else NOTHING for day in planned}
        if any(listing.found for listing in broken.values()) or last.weekday() == 6:
            continue
        broken_run = Run(RunRequest("nightly", tuple(broken)), KEY, Settings(), whole_listings=broken)
        assert list(judge_listings(broken_run, lake)), f"{last} passed"


def test_keys_that_match_nothing_are_named_and_alone_make_no_row(lake: Lake) -> None:
    mixed = Listing(found=3, skipped=3, not_matched=1, named_keys=(f"{NOT_MATCHED}: 2026/11/20/stray.wav",))
    run = night(lake, dict.fromkeys(NIGHT, SOME) | {FRIDAY: mixed})
    assert run.warnings == [
        f"{FRIDAY}: 1 of 4 keys does not match source.pattern, for example 2026/11/20/stray.wav"
    ]
    assert rows(lake) == []


def test_a_day_whose_keys_all_match_nothing_has_a_row(lake: Lake) -> None:
    night(lake, dict.fromkeys(NIGHT, SOME) | {FRIDAY: STRANGERS})
    ((_, _, warnings),) = rows(lake)
    assert warnings == [
        f"{FRIDAY}: 2 of 2 keys do not match source.pattern, for example calls/a.wav, calls/b.wav"
    ]


def test_a_retry_is_not_judged(lake: Lake) -> None:
    hold(lake, NIGHT)
    run = night(lake, dict.fromkeys(NIGHT, NOTHING), flow="retry", retried=())
    assert (run.failures, run.warnings, rows(lake)) == ([], [], [])


def test_a_listing_that_broke_off_is_not_taken_for_an_empty_day(lake: Lake) -> None:
    hold(lake, NIGHT)
    settings = Settings()
    run = Run(RunRequest("nightly", tuple(NIGHT)), KEY, settings)
    run.whole_listings |= dict.fromkeys(NIGHT[:3], NOTHING)
    assert list(judge_listings(run, lake)) == []


def test_many_days_are_said_in_few_lines() -> None:
    days = [FRIDAY + timedelta(days=n) for n in range(30)]
    notes = listing_notes(dict.fromkeys(days, STRANGERS), days)
    assert len(notes) == 22
    assert "keys of 20 more days do not match" in notes[10]
    assert notes[21] == "no key is listed on 20 more days"


def test_a_failed_run_carries_its_figures() -> None:
    assert RunFailedError("no", {"found": 0}).summary == {"found": 0}
