"""The nightly run: yesterday in the configured zone, and some days before it for late arrivals."""

from pathlib import Path

from prefect import flow

from emolake.flows.analyse_days import analyse_days
from emolake.pipeline.run_request import mention_future, nightly_request
from emolake.schemas.days import Day
from emolake.settings import load_settings


@flow(name="nightly", flow_run_name="nightly-{date}", validate_parameters=True)
def nightly(config: Path | None = None, date: Day | None = None) -> dict[str, object]:
    """Analyse one day and its lookback.

    Args:
        config: path of the configuration file; ./emolake.toml, or the defaults, when left out.
        date: the day; yesterday in the configured zone when left out.
    """
    settings = load_settings(config)
    if date is not None:
        mention_future(settings, date)
    return analyse_days(nightly_request(settings, date), config)
