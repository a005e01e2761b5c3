"""What the modules of the command line share."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from emolake.settings import Settings

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Configuration file; ./emolake.toml when there is one.", show_default=False
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", help="Name of a model; the one of [inference] when left out.", show_default=False
    ),
]


class RowFormat(StrEnum):
    """How rows are written."""

    table = "table"
    json = "json"
    csv = "csv"


def settings_or_defaults(config: Path | None) -> "Settings":
    """Load the configuration, or the defaults where there is none."""
    from emolake.settings import default_config_file, load_settings

    return load_settings(config or default_config_file())
