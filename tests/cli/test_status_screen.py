"""The screen of the status: one zone, and lists that say what they leave out."""

from datetime import UTC, date, datetime

import pytest

from emolake.cli.arguments import TableFormat
from emolake.cli.status_screen import show_status
from emolake.settings import Settings
from emolake.source.access import SourceOptions
from emolake.upkeep.gaps import Gap
from emolake.upkeep.schedule import DueRun, Schedule
from emolake.upkeep.status import Status

NOW = datetime(2026, 11, 27, 23, 30, tzinfo=UTC)
DAY = date(2026, 11, 20)
RUN = {
    "run_id": "nightly-1", "first_date": DAY, "last_date": DAY, "started_at": NOW, "outcome": "completed",
    "done": 1, "quarantined": 0, "audio_seconds": 60.0, "real_time_factor": None,
}  # fmt: skip
DRIFT = {
    "date": DAY, "model": "m", "dimension": "site", "dimension_value": "oslo", "measure": "confidence",
    "value": 0.1, "usual": 0.2, "verdict": "warn",
}  # fmt: skip


@pytest.mark.parametrize("number", [1, 5, 6, 12])
def test_a_list_that_is_cut_says_so(capsys: pytest.CaptureFixture[str], number: int) -> None:
    gap = Gap(DAY, "Friday", ("oslo",), 0, 4.0, 3)
    found = Status(NOW, since=DAY, gaps=[gap] * number, drift=[DRIFT] * number)
    show_status(found, Settings(), TableFormat.table)
    shown = capsys.readouterr().out
    for command in ("emolake gaps", "emolake query 'FROM drift'"):
        assert (f"\nand {number - 5} more: `{command}`\n" in shown) == (number > 5)


def test_every_time_is_in_the_configured_zone_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    due = Schedule((DueRun("nightly", NOW, "Scheduled"),))
    settings = Settings(source=SourceOptions(timezone="Asia/Tokyo"))
    show_status(Status(NOW, runs=[RUN], schedule=due), settings, TableFormat.table)
    shown = capsys.readouterr().out
    assert shown.count("2026-11-28 08:30 JST") == 3, shown
    assert "23:30" not in shown
