"""Retention: erase what is older than it may be kept, with receipts; see `emolake.upkeep.erase`."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from prefect import flow
from pydantic import Field

from emolake.pipeline.publishing import published_again
from emolake.settings import load_settings
from emolake.upkeep.erase import erase, plan_erasure, requests_by_condition


@flow(name="retention", flow_run_name="retention-{keep_days}-days", validate_parameters=True)
def retention(
    keep_days: Annotated[int, Field(ge=1)], config: Path | None = None, dry_run: bool = True
) -> dict[str, int]:
    """Erase the recordings whose day is longer ago; return how many recordings and days, and files removed.

    The published file, where there is one, is written again without them.

    Args:
        keep_days: days that are kept, up to today in the configured zone.
        config: path of the configuration file; ./emolake.toml, or the defaults, when left out.
        dry_run: only count.
    """
    settings = load_settings(config)
    first_kept = datetime.now(settings.source.zone).date() - timedelta(days=keep_days)
    requests = requests_by_condition(settings, f"date < DATE '{first_kept}'")
    plan = plan_erasure(settings, requests)
    found = {"recordings": len(requests), "days": len(plan.days), "removed_files": 0}
    if requests and not dry_run:
        found["removed_files"] = erase(
            settings, requests, requested_by=f"retention of {keep_days} days"
        ).removed_files
    if not dry_run:  # also where there is nothing to erase: a run before may have ended between the two
        published_again(settings)
    return found
