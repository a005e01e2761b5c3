"""Retry: the quarantined recordings of some days once more."""

from collections.abc import Sequence
from pathlib import Path

from prefect import flow

from emolake.flows.analyse_days import analyse_days
from emolake.pipeline.run_request import retry_request
from emolake.schemas.days import Day, DayRange
from emolake.settings import load_settings


@flow(name="retry", flow_run_name="retry-{first}-{last}", validate_parameters=True)
def retry(
    config: Path | None = None,
    first: Day | None = None,
    last: Day | None = None,
    reasons: Sequence[str] = (),
    model: str | None = None,
) -> dict[str, object] | None:
    """Analyse quarantined recordings again; return the run's figures, or None when there are none.

    Args:
        config: path of the configuration file; ./emolake.toml, or the defaults, when left out.
        first: first day; the first that the lake holds when left out.
        last: last day, inclusive; the last that the lake holds when left out.
        reasons: codes of why they were quarantined; every reason when left out.
        model: name of a model of the configuration; the one of [inference] when left out.
    """
    request = retry_request(load_settings(config), DayRange.between(first, last), reasons, model=model)
    return analyse_days(request, config) if request else None
