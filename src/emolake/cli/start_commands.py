"""The commands that one begins with: demo, init, doctor."""

from pathlib import Path
from typing import Annotated

import typer

from emolake.cli.arguments import ConfigOption, ModelOption, settings_or_defaults
from emolake.errors import ConfigurationError, EmolakeError
from emolake.messages import printable, redacted

app = typer.Typer()


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
    from emolake.cli.demo_nights import run_demo

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
        raise EmolakeError(f"{failed} of the checks failed; their remedies are above")
