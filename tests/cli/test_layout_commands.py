"""What `backfill --plan` and `doctor` show of zones and of what a pattern costs."""

from datetime import date
from itertools import takewhile
from pathlib import Path

from emolake.cli.running import show_plan
from emolake.schemas.days import DayRange
from emolake.settings import Settings, load_settings
from emolake.upkeep.doctor import examine


def configured(folder: Path, source: str) -> Settings:
    for day, hour in ((18, 22), (18, 23), (19, 0), (19, 22), (19, 23), (20, 22), (20, 23)):
        for key in (f"2026/11/{day}/{hour}3000_a.wav", f"b_202611{day}{hour:02d}3000.wav"):
            path = folder / "calls" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"RIFF")
    zones = 'timezone = "Europe/Berlin"\nkey_timezone = "UTC"'
    text = f'[source]\nuri = "calls"\n{zones}\n{source}\n[aggregate]\nby = []\n'
    (folder / "emolake.toml").write_text(text)
    return load_settings(folder / "emolake.toml")


def test_the_plan_counts_local_days_and_says_what_a_pattern_costs(tmp_path, capsys):
    patterns = [
        "{date:%Y/%m/%d}/{time:%-H%M%S}_{call_id}.{ext}",
        "{call_id}_{date:%Y%m%d}{time:%H%M%S}.{ext}",
    ]
    settings = configured(tmp_path, f"pattern = {patterns}")
    show_plan(settings, DayRange(date(2026, 11, 18), date(2026, 11, 21)), model=None, force=False)
    shown = capsys.readouterr()
    cells = [line.replace("│", " ").split() for line in shown.out.splitlines()]
    rows = [each[:2] for each in cells if each and each[0].startswith("2026")]
    assert rows == [["2026-11-18", "2"], ["2026-11-19", "6"], ["2026-11-20", "4"], ["2026-11-21", "2"]]
    assert (
        shown.err == f"emolake: {patterns[1]!r} lists every key of the source for each day that is planned\n"
    )


def test_doctor_says_what_a_day_costs_and_where_a_zone_changes_nothing(tmp_path):
    def listing(source: str) -> str:
        checks = examine(configured(tmp_path, source))
        list(takewhile(lambda check: check.name != "pattern", checks))
        check = next(checks)
        assert (check.name, check.ok) == ("listing", True)
        return check.detail

    assert (
        listing('pattern = "{date:%Y/%m/%d}/{time:%H%M%S}_{call_id}.{ext}"')
        == "a day is listed by prefixes of its own"
    )
    assert "lists every key below 'x/'" in listing('pattern = "x/{call_id}_{date:%Y%m%d}{time:%H%M%S}.{ext}"')
    assert "has no time: its dates are taken as they are" in listing(
        'pattern = "{date:%Y/%m/%d}/{call_id}.{ext}"'
    )
