"""Backfill: a range of dates, day after day."""

from pathlib import Path
from typing import Annotated

from prefect import flow
from pydantic import Field

from emolake.flows.analyse_days import analyse_days
from emolake.pipeline.run_request import backfill_request, mention_future
from emolake.schemas.days import Day, DayRange
from emolake.settings import load_settings


@flow(name="backfill", flow_run_name="backfill-{first}-{last}", validate_parameters=True)
def backfill(
    first: Day,
    last: Day,
    config: Path | None = None,
    model: str | None = None,
    force: bool = False,
    newest_first: bool = False,
    parallel_days: Annotated[int, Field(ge=1)] = 1,
) -> dict[str, object]:
    """Analyse what the lake lacks of some days.

    Args:
        first: first day.
        last: last day, inclusive.
        config: path of the configuration file; ./emolake.toml, or the defaults, when left out.
        model: name of a model of the configuration; the one of [inference] when left out.
        force: analyse also what the lake holds, and replace it.
        newest_first: begin with the last day.
        parallel_days: days under way at once; they share the loaded model.
    """
    days = DayRange(first, last)
    mention_future(load_settings(config), days.last)
    request = backfill_request(
        days,
        model=model,
        force=force,
        newest_first=newest_first,
        parallel_days=parallel_days,
    )
    return analyse_days(request, config)
