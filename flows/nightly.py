"""The nightly run: yesterday in the configured zone, and some days before it for late arrivals."""

from datetime import date as Date
from datetime import datetime, timedelta
from pathlib import Path

from prefect import flow

from emolake.flows.analyse_days import run_days
from emolake.pipeline.run_request import RunRequest
from emolake.schemas.days import DayRange
from emolake.settings import load_settings


@flow(name="nightly", flow_run_name="nightly-{date}", validate_parameters=True)
def nightly(config: Path | None = None, date: Date | None = None) -> dict[str, object]:
    """Analyse one day and its lookback.

    Args:
        config: path of the configuration file; ./emolake.toml, or the defaults, when left out.
        date: the day; yesterday in the configured zone when left out.
    """
    source = load_settings(config).source
    last = date or datetime.now(source.zone).date() - timedelta(days=1)
    days = DayRange(last - timedelta(days=source.lookback_days), last)
    return run_days(RunRequest("nightly", tuple(days)), config)
