"""The nightly run: yesterday in the configured zone, and some days before it for late arrivals."""

from datetime import date as Date
from datetime import datetime, timedelta
from pathlib import Path

from prefect import flow

from emolake.environment import default_config_file
from emolake.flows.analyse_days import run_days
from emolake.settings import load_settings


@flow(name="nightly", flow_run_name="nightly-{date}", validate_parameters=True)
def nightly(config: Path | None = None, date: Date | None = None) -> dict[str, object]:
    """Analyse one day and its lookback.

    Args:
        config: path of the configuration file; ./emolake.toml, or the defaults, when left out.
        date: the day; yesterday in the configured zone when left out.
    """
    source = load_settings(config or default_config_file()).source
    last = date or datetime.now(source.zone).date() - timedelta(days=1)
    days = [last - timedelta(days=back) for back in range(source.lookback_days, -1, -1)]
    return run_days("nightly", config, days)
