"""Aggregate by hand: rebuild the daily table of some days where it is not what the segments give."""

from pathlib import Path

from prefect import flow

from emolake.lake.connect import open_lake
from emolake.schemas.days import Day, DayRange
from emolake.settings import load_settings
from emolake.tasks.aggregate import aggregate_days


@flow(name="aggregate-day", flow_run_name="aggregate-{first}-{last}", validate_parameters=True)
def aggregate_day(first: Day, last: Day, config: Path | None = None) -> dict[str, int]:
    """Aggregate every stale day of a range; return rows by day.

    Args:
        first: first day.
        last: last day, inclusive.
        config: path of the configuration file; ./emolake.toml, or the defaults, when left out.
    """
    settings = load_settings(config)
    with open_lake(settings.warehouse, create=False) as lake:
        made = aggregate_days(
            lake, DayRange(first, last), dimensions=settings.breakdown, run_id="aggregate-day"
        )
        return {day.isoformat(): rows for day, rows in made}
