"""The command line: it calls, it does not think. Rows go to standard output, everything else to standard error."""

import sys
import traceback
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emolake.cli.arguments import (
    ConfigOption,
    ModelOption,
    RowFormat,
    parsed_day,
    required_settings,
    settings_or_defaults,
)
from emolake.cli.lake_commands import app as upkeep
from emolake.cli.model_commands import app as evaluation
from emolake.cli.train_command import EPILOG as TRAIN_EPILOG
from emolake.cli.train_command import train
from emolake.errors import ConfigurationError, EmolakeError
from emolake.messages import printable, redacted
from emolake.output.notices import complain

# Everything heavy is imported inside the commands: `emolake --help` loads neither torch nor Prefect.
if TYPE_CHECKING:
    pass

app = typer.Typer(
    name="emolake",
    help="Recordings in object storage to daily tables of emotion in a DuckDB lakehouse.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


class QueryFormat(StrEnum):
    """How an answer is written."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
) -> None:
    """Recordings in object storage to daily tables of emotion in a DuckDB lakehouse."""


@app.command(
    epilog="Example: `emolake demo` , then `emolake query 'FROM daily_emotions' --config demo/emolake.toml`"
)
def demo(
    folder: Annotated[
        Path, typer.Argument(help="Where the bucket, the lake and the report are made.")
    ] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Another seed makes other calls.")] = 7,
) -> None:
    """Make a bucket of synthesised calls over three days, run the nightly job on each, and show what came of it."""
    from emolake.cli.demo_command import run_demo

    run_demo(folder, seed=seed)


@app.command(epilog="Example: `emolake init --uri s3://calls --timezone Europe/Berlin`")
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("emolake.toml"),
    uri: Annotated[str | None, typer.Option(help="source.uri: a bucket or a folder.")] = None,
    pattern: Annotated[str | None, typer.Option(help="source.pattern: how keys are built.")] = None,
    timezone: Annotated[
        str | None, typer.Option(help="source.timezone: the calendar that days belong to.")
    ] = None,
    endpoint_url: Annotated[
        str | None, typer.Option(help="source.endpoint_url: an S3-compatible server.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a commented emolake.toml with every key and its default."""
    from emolake.cli.config_file import commented_toml

    if path.exists() and not force:
        raise ConfigurationError(f"{path} is there already; --force overwrites it")
    given = {"uri": uri, "pattern": pattern, "timezone": timezone, "endpoint_url": endpoint_url}
    path.write_text(
        commented_toml(**{name: value for name, value in given.items() if value is not None}), "utf-8"
    )
    typer.echo(f"wrote {path}; `emolake doctor --config {path}` says what is still missing", err=True)


@app.command(epilog="Example: `emolake doctor --config emolake.toml`")
def doctor(config: ConfigOption = None, model: ModelOption = None) -> None:
    """Check source, catalog, data path, model, device and extensions; say what is wrong and the remedy."""
    from emolake.upkeep.doctor import examine

    settings = settings_or_defaults(config)
    failed = 0
    for check in examine(settings, model):
        typer.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:15} {printable(redacted(check.detail))}")
        failed += not check.ok
    if failed:
        raise EmolakeError(f"{failed} of the checks failed; their remedies stand above")


@app.command(epilog="Example: `emolake nightly --date 2026-11-20`")
def nightly(
    day: Annotated[
        str | None,
        typer.Option("--date", help="Day to analyse; yesterday in the configured zone.", show_default=False),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Analyse yesterday, or another day, plus the lookback for late arrivals."""
    date_ = parsed_day(day) if day else None
    path, settings = required_settings(config)
    from emolake.cli.running import run_nightly

    run_nightly(path, settings, date_, sys.stdout)


@app.command(epilog="Example: `emolake backfill 2026-11-01 2026-11-20 --plan`")
def backfill(
    first: Annotated[str, typer.Argument(metavar="FROM", help="First day, YYYY-MM-DD.")],
    last: Annotated[str, typer.Argument(metavar="TO", help="Last day, inclusive.")],
    plan: Annotated[bool, typer.Option("--plan", help="Only tell what would be done, day by day.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Analyse also what is done, and replace it.")
    ] = False,
    newest_first: Annotated[bool, typer.Option("--newest-first", help="Begin with the last day.")] = False,
    parallel_days: Annotated[
        int,
        typer.Option(
            "--parallel-days", metavar="N", min=1, help="Days under way at once; they share the loaded model."
        ),
    ] = 1,
    model: ModelOption = None,
    config: ConfigOption = None,
) -> None:
    """Analyse what the lake lacks of a range of days; a day that fails does not stop the others."""
    days = parsed_day(first), parsed_day(last)
    path, settings = required_settings(config)
    from emolake.cli.running import run_backfill, tell_plan

    if plan:
        tell_plan(settings, *days, model=model, force=force, output=sys.stdout)
    else:
        run_backfill(
            path,
            settings,
            *days,
            model=model,
            force=force,
            newest_first=newest_first,
            parallel_days=parallel_days,
            output=sys.stdout,
        )


@app.command(
    epilog="Example: `emolake query \"SELECT emotion, share FROM daily_emotions WHERE date = '2026-11-20'\"`"
)
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT; the lake's tables by bare name.")],
    format: Annotated[
        QueryFormat,
        typer.Option(
            help="How the answer is written; a CSV's cells as they are, formulas of a spreadsheet too."
        ),
    ] = QueryFormat.table,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write instead of standard output.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Ask the lake, read-only."""
    _, settings = required_settings(config)
    from emolake.lake.connect import open_lake
    from emolake.lake.query import ask, write

    with open_lake(settings.warehouse, read_only=True) as lake:
        write(ask(lake, sql), format.value, sys.stdout, output)


@app.command(epilog="Example: `emolake report --from 2026-11-01 --to 2026-11-20 -o november.html`")
def report(
    first: Annotated[
        str | None, typer.Option("--from", help="First day; all that the lake holds when left out.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day, inclusive.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path("report.html"),
    config: ConfigOption = None,
) -> None:
    """Write one self-contained HTML file of daily emotions, bad recordings and runs."""
    from_, to = parsed_day(first) if first else None, parsed_day(last) if last else None
    _, settings = required_settings(config)
    from emolake.lake.connect import open_lake
    from emolake.report.build import write_report

    with open_lake(settings.warehouse, read_only=True) as lake:
        write_report(lake, first=from_, last=to, out=output)
    typer.echo(f"wrote {output}", err=True)


@app.command(epilog="Example: `emolake predict call.wav recordings/ --format json`")
def predict(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Audio files, and folders of them; with --submission the folder of the clips."),
    ] = None,
    model: ModelOption = None,
    logits: Annotated[
        bool, typer.Option("--logits", help="Give raw logits, in the order of the model's labels.")
    ] = False,
    format: Annotated[RowFormat, typer.Option(help="How rows are written.")] = RowFormat.table,
    submission: Annotated[
        Path | None,
        typer.Option(
            help="Competition's CSV with id[,path],label to fill: one answer a clip, speech or not."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV with the competition's own labels, its list of training clips for instance."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for the filled CSV; standard output without.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Give the emotions of files, segment by segment, without the lake; or fill a competition's CSV."""

    if (output or labels) and submission is None:
        raise ConfigurationError("--output and --labels belong to --submission; name the competition's CSV")
    if not paths and submission is None:
        raise ConfigurationError("there is nothing to predict; name audio files or folders")
    settings = settings_or_defaults(config)
    entry = settings.registry.entry_or_folder(model)
    if submission is not None:
        from emolake.cli.model_commands import write_submission

        bad = write_submission(
            submission,
            paths or [],
            settings=settings,
            entry=entry,
            labels=labels,
            out=output,
        )
    else:
        from emolake.predict.files import write_predictions

        bad = write_predictions(
            paths or [], settings=settings, entry=entry, logits=logits, format=format.value, output=sys.stdout
        )
    if bad:
        raise EmolakeError(f"{bad} of the files gave no result or broke half-way; the reasons stand above")


@app.command(epilog="Example: `emolake models --config emolake.toml`")
def models(config: ConfigOption = None) -> None:
    """List the models: family, labels, licence, fingerprint."""
    from emolake.output.table import print_table

    settings = settings_or_defaults(config)
    rows = []
    for name in settings.registry.names():
        try:
            entry = settings.registry.entry(name)
            rows.append((name, entry.family, ", ".join(entry.labels), entry.licence, entry.fingerprint[:12]))
        except EmolakeError as error:
            rows.append((name, "unusable", str(error), "", ""))
    print_table(("name", "family", "labels", "licence", "fingerprint"), rows, sys.stdout)


@app.command(epilog="Example: `emolake diagnose call.wav --model kushinada`")
def diagnose(
    path: Annotated[Path, typer.Argument(help="An audio file with speech.")],
    model: ModelOption = None,
    config: ConfigOption = None,
) -> None:
    """Show why a model answers as it does: layer weights, stages with shapes and norms, logits, health."""
    from emolake.predict.files import write_diagnosis

    settings = settings_or_defaults(config)
    write_diagnosis(path, settings=settings, entry=settings.registry.entry(model), output=sys.stdout)


app.command(epilog=TRAIN_EPILOG)(train)


app.add_typer(evaluation)


app.add_typer(upkeep)


def main() -> None:
    """Run a command; an error becomes one sentence on standard error and an exit status, a traceback with --debug."""
    debug = "--debug" in sys.argv
    if debug:  # it may stand anywhere on the line
        sys.argv.remove("--debug")
    try:
        app()
    except SystemExit as ended:
        # typer makes an exit without a word of an interrupt
        if isinstance(getattr(ended.__context__, "__cause__", None), KeyboardInterrupt):
            complain("interrupted; what was committed stays, and the next run goes on from there")
        raise
    except EmolakeError as error:
        _tell(error, str(error), debug)
        sys.exit(2 if isinstance(error, ConfigurationError) else 1)
    except Exception as error:  # noqa: BLE001 - it is told, and the exit status says so
        _tell(error, f"internal error, {type(error).__name__}: {error}; run again with --debug", debug)
        sys.exit(1)


def _tell(error: Exception, message: str, debug: bool) -> None:
    if debug:
        trace = "".join(traceback.format_exception(error))
        print(printable(redacted(trace), lines=True), file=sys.stderr, end="")
    else:
        complain(message)
