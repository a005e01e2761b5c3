"""Publish: write the file for analysts who may not see the lake; see `emolake.pipeline.publishing`."""

from pathlib import Path

from prefect import flow

from emolake.pipeline.publishing import publish_lake
from emolake.settings import load_settings


@flow(name="publish", validate_parameters=True)
def publish(config: Path | None = None, file: Path | None = None, force: bool = False) -> dict[str, int]:
    """Write the published file as [publish] has it; return the rows of each table in it.

    Args:
        config: path of the configuration file; ./emolake.toml, or the defaults, when left out.
        file: where to write it, on the worker's machine; publish.file when left out.
        force: replace the file even where emolake did not write it.
    """
    published = publish_lake(load_settings(config), file=file, force=force)
    return {selection.name: rows for selection, rows in published.tables}
