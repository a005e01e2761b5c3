"""The other ways to the lake: publish, shell, connect, export."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from emolake.cli.arguments import (
    ConfigOption,
    DryRunOption,
    FromOption,
    ShellFormat,
    Tool,
    ToOption,
    required_settings,
)

app = typer.Typer()


class FileFormat(StrEnum):
    """What kind of files an export writes."""

    parquet = "parquet"
    csv = "csv"


class Included(StrEnum):
    """What is taken beside days, runs, models and the views of single calls."""

    recordings = "recordings"
    segments = "segments"


IncludeOption = Annotated[
    list[Included] | None,
    typer.Option(
        "--include",
        help="Take also the tables of single recordings, or of single segments; may be given again.",
        show_default="publish.include",
    ),
]


@app.command(epilog="Example: `emolake publish -o analytics.duckdb --include recordings`")
def publish(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write.", show_default="publish.file")
    ] = None,
    include: IncludeOption = None,
    personal: Annotated[
        bool | None,
        typer.Option(
            "--personal/--no-personal",
            help="Take URIs, transcripts, error messages and every dimension too.",
            show_default="publish.personal",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file even if `emolake publish` did not write it.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Write one plain DuckDB file of summaries and views, which any DuckDB since 1.0 opens; readers keep theirs."""
    _, settings = required_settings(config)
    from emolake.cli.presenting import show_published
    from emolake.pipeline.publishing import publish_lake

    show_published(publish_lake(settings, file=output, include=include, personal=personal, force=force))


@app.command(epilog='Example: `emolake shell`, or `emolake shell -c "FROM daily_emotions LIMIT 5"`')
def shell(
    command: Annotated[
        str | None,
        typer.Option(
            "--command",
            "-c",
            metavar="SQL",
            help="Statements to run instead of a conversation; without it, standard input where it is no terminal.",
            show_default="none",
        ),
    ] = None,
    mode: Annotated[ShellFormat, typer.Option("--format", help="How rows are shown; `.mode` changes it.")] = (
        ShellFormat.table
    ),
    rows: Annotated[
        int, typer.Option(min=0, help="Rows of an answer that are shown at most as table or line; 0 is all.")
    ] = 1000,
    config: ConfigOption = None,
) -> None:
    """Talk to the lake, read-only: statements end with a semicolon, Ctrl-C ends the query, `.help` shows the rest."""
    _, settings = required_settings(config)
    from emolake.cli.lake_shell import LakeShell
    from emolake.lake.connect import open_lake

    with open_lake(settings.warehouse, read_only=True, timezone=settings.source.timezone) as lake:
        talk = LakeShell(lake, mode=mode, most_rows=rows)
        if command is not None:
            talk.read(command.splitlines())
        elif sys.stdin.isatty():
            talk.talk()
        else:
            talk.read(sys.stdin)


@app.command(epilog="Example: `emolake connect python`, or `emolake connect duckdb > lake.sql`")
def connect(
    tool: Annotated[Tool, typer.Argument(help="The program.")] = Tool.python,
    config: ConfigOption = None,
) -> None:
    """Print the lines that open this lake, or the published file, read-only in another program, without a secret."""
    _, settings = required_settings(config)
    from emolake.lake.recipes import Recipes, recipe
    from emolake.lake.s3_secret import place_of_s3

    warehouse = settings.warehouse
    place = place_of_s3(warehouse) if warehouse.is_on_s3 else {}
    typer.echo(recipe(tool, Recipes(warehouse, settings.source.timezone, settings.publish.file, place)))


@app.command(
    epilog="Example: `emolake export daily_emotions runs --from 2026-11-01 --to 2026-11-30 -o november`"
)
def export(
    tables: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TABLE|VIEW]...",
            help="Tables and views.",
            show_default="the summaries and views, and what --include names",
        ),
    ] = None,
    first: FromOption = None,
    last: ToOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path("export"),
    format: Annotated[
        FileFormat,
        typer.Option(help="Kind of the files; a CSV's cells as they are, formulas of a spreadsheet too."),
    ] = FileFormat.parquet,
    include: IncludeOption = None,
    personal: Annotated[
        bool,
        typer.Option("--personal", help="Take URIs, transcripts, error messages and every dimension too."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
) -> None:
    """Write tables and views into Parquet or CSV files, one each, by a range of days; personal data when asked for."""
    _, settings = required_settings(config)
    from emolake.cli.presenting import show_export
    from emolake.lake.connect import open_lake
    from emolake.lake.export import export as write_files
    from emolake.lake.export import plan_export
    from emolake.pipeline.publishing import disclosure
    from emolake.schemas.days import DayRange

    names, days = tables or (), DayRange.between(first, last)
    disclosed = disclosure(
        settings, include=include or settings.publish.include, personal=personal, days=days
    )
    with open_lake(settings.warehouse, read_only=True, timezone=settings.source.timezone) as lake:
        if dry_run:
            show_export(plan_export(lake, output, format.value, disclosed, names), dry_run=True)
            return
        memory_mb = settings.maintain.memory_mb
        done = write_files(lake, output, format.value, disclosed, names, memory_mb=memory_mb, force=force)
    show_export(done, dry_run=False)
