"""The other ways to the lake: publish, shell, connect, export."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from emolake.cli.arguments import ConfigOption, ShellFormat, required_settings

app = typer.Typer()


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
