"""Maintenance, once a week: see `emolake.upkeep.maintain`."""

from dataclasses import asdict
from pathlib import Path

from prefect import flow

from emolake.settings import load_settings
from emolake.upkeep.maintain import maintain


@flow(name="maintain-lake", validate_parameters=True)
def maintain_lake(config: Path | None = None, dry_run: bool = False) -> dict[str, int]:
    """Merge small files, expire old snapshots, remove what is left over; return how many of each.

    Args:
        config: path of the configuration file; ./emolake.toml, or the defaults, when left out.
        dry_run: only count.
    """
    return asdict(maintain(load_settings(config), dry_run=dry_run))
