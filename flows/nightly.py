"""The nightly run: yesterday in the configured zone, and some days before it for late arrivals."""

from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from emolake.flows.analyse_days import analyse_days
from emolake.pipeline.run_request import mention_future, nightly_request
from emolake.schemas.days import Day
from emolake.settings import load_settings


@flow(name="nightly", flow_run_name="nightly-{date}", validate_parameters=True)
def nightly(config: Path | None = None, date: Day | None = None) -> dict[str, object]:
    """Analyse one day and its lookback.

    A run that begins late, because no worker was there at its hour, takes the day that it was due for: nights that
    were missed are caught up one after the other, and none is left out.

    Args:
        config: path of the configuration file; ./emolake.toml, or the defaults, when left out.
        date: the day; when left out the one before the run was due, in the configured zone.
    """
    settings = load_settings(config)
    if date is not None:
        mention_future(settings, date)
    request = nightly_request(settings, date, due=flow_run.get_scheduled_start_time())
    return analyse_days(request, config)
