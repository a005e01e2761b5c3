"""What the commands share: options, dates, and the configuration."""

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emolake.environment import DEFAULT_CONFIG_FILE, default_config_file
from emolake.errors import ConfigurationError
from emolake.output.logs import use_format

if TYPE_CHECKING:
    from emolake.settings import Settings


class TableFormat(StrEnum):
    """How rows are written where they are few."""

    table = "table"
    json = "json"


class RowFormat(StrEnum):
    """How rows are written."""

    table = "table"
    json = "json"
    csv = "csv"


class ShellFormat(StrEnum):
    """How the shell shows rows."""

    table = "table"
    line = "line"
    csv = "csv"
    json = "json"
    markdown = "markdown"


class Tool(StrEnum):
    """A program that opens the lake, or the published file."""

    python = "python"
    duckdb = "duckdb"
    dbeaver = "dbeaver"
    metabase = "metabase"
    r = "r"
    rill = "rill"
    evidence = "evidence"


def parsed_day(text: str) -> date:
    """Return the date of an argument; another text is a wrong call."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no date; expected YYYY-MM-DD") from error


def first_day(default: str) -> Any:
    """Return the option --from, without which `default` holds."""
    return typer.Option(
        "--from", parser=parsed_day, metavar="YYYY-MM-DD", help="First day.", show_default=default
    )


def last_day(default: str) -> Any:
    """Return the option --to, without which `default` holds."""
    return typer.Option(
        "--to", parser=parsed_day, metavar="YYYY-MM-DD", help="Last day, inclusive.", show_default=default
    )


ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Configuration file.", show_default="EMOLAKE_CONFIG, or ./emolake.toml"),
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Name of a model.", show_default="inference.model"),
]
FromOption = Annotated[date | None, first_day("the first there is")]
ToOption = Annotated[date | None, last_day("the last there is")]
FormatOption = Annotated[TableFormat, typer.Option(help="How rows are written.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]


def settings_or_defaults(config: Path | None) -> "Settings":
    """Load the configuration, or the defaults where there is none."""
    from emolake.settings import load_settings

    return load_settings(config)


def required_settings(config: Path | None) -> "tuple[Path, Settings]":
    """Load the configuration of a command that is nothing without one."""
    from emolake.settings import load_settings

    path = config or default_config_file()
    if path is None:
        raise ConfigurationError(
            f"there is no {DEFAULT_CONFIG_FILE} here; `emolake init` writes one, or give --config"
        )
    settings = load_settings(path)
    use_format(settings.logs)
    return path, settings
