"""The commands that ask the lake: query, report."""

import sys
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from emolake.cli.arguments import ConfigOption, first_day, last_day, required_settings
from emolake.errors import ConfigurationError
from emolake.report.wording import Language

app = typer.Typer()

ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace a file that is there even where it is of another kind.")
]


class QueryFormat(StrEnum):
    """How an answer is written."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


@app.command(
    epilog="Example: `emolake query \"SELECT emotion, share FROM daily_emotions WHERE date = '2026-11-20'\"`"
)
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT; the lake's tables and views by bare name.")],
    format: Annotated[
        QueryFormat | None,
        typer.Option(
            help="How the answer is written; a CSV's cells as they are, formulas of a spreadsheet too.",
            show_default="as the ending of --output says, else table",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write.", show_default="standard output")
    ] = None,
    force: ForceOption = False,
    config: ConfigOption = None,
) -> None:
    """Ask the lake, read-only; times are in source.timezone."""
    _, settings = required_settings(config)
    from emolake.lake.connect import open_lake
    from emolake.lake.query import format_of, write_answer

    written = format.value if format else format_of(output)
    with open_lake(settings.warehouse, read_only=True, timezone=settings.source.timezone) as lake:
        write_answer(lake, sql, written, sys.stdout, output, force=force)
    if output is not None:
        typer.echo(f"wrote {output}", err=True)


@app.command(epilog="Example: `emolake report --from 2026-11-01 --to 2026-11-20 -o november.html`")
def report(
    first: Annotated[date | None, first_day("the last 31 days up to --to that the lake holds")] = None,
    last: Annotated[date | None, last_day("the last that the lake holds")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path("report.html"),
    language: Annotated[
        Language, typer.Option(help="That the page opens in; a reader can choose another one in it.")
    ] = Language.en,
    recording: Annotated[
        str | None,
        typer.Option(
            metavar="URI|KEY",
            help="One recording instead of days: its URI, or the end of it from a /.",
            show_default="the whole lake",
        ),
    ] = None,
    embed_audio: Annotated[
        bool,
        typer.Option(
            "--embed-audio",
            help="With --recording: put its sound into the page, which else only plays a local file where it lies.",
        ),
    ] = False,
    force: ForceOption = False,
    config: ConfigOption = None,
) -> None:
    """Write one self-contained HTML file: what changed, who, how sure, and which calls to listen to.

    The page needs no network. It has filters by day, model, dimension, role and emotion, and a table behind each chart.
    With --recording it is of one recording: waveform, who speaks when, probabilities over time, and a player.
    """
    _, settings = required_settings(config)
    from emolake.output.output_files import check_output, is_page

    check_output(output, may_replace=is_page, force=force)
    if recording is not None:
        if first is not None or last is not None:
            raise ConfigurationError("--recording is of one recording; leave --from and --to out")
        from emolake.upkeep.recording_page import report_recording

        report_recording(settings, recording, out=output, language=language, embed_audio=embed_audio)
        typer.echo(f"wrote {output}", err=True)
        return
    if embed_audio:
        raise ConfigurationError("--embed-audio goes with --recording, which names whose")
    from emolake.lake.connect import open_lake
    from emolake.report.build import write_report

    with open_lake(settings.warehouse, read_only=True) as lake:
        write_report(lake, first=first, last=last, out=output, language=language)
    typer.echo(f"wrote {output}", err=True)
