"""The commands that one begins with: demo, init, doctor, completion."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emolake.cli.arguments import ConfigOption, ModelOption, settings_or_defaults
from emolake.environment import DEFAULT_CONFIG_FILE, default_config_file
from emolake.errors import ConfigurationError, EmolakeError
from emolake.messages import printable, redacted, validation_problems
from emolake.output.notices import complain

if TYPE_CHECKING:
    from emolake.upkeep.bucket_survey import Survey

app = typer.Typer()


@app.command(
    epilog="Example: `emolake demo` , then `emolake query 'FROM daily_emotions' --config demo/emolake.toml`"
)
def demo(
    folder: Annotated[
        Path, typer.Argument(help="Where the bucket, the lake and the report are made.")
    ] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Another seed makes other calls.")] = 7,
    nights: Annotated[
        int, typer.Option(min=1, max=3, help="Days of calls, and nights on which they are analysed.")
    ] = 3,
) -> None:
    """Make a bucket of synthesised calls over three days, run the nightly job on each, and show what came of it."""
    from emolake.cli.demo_nights import run_demo

    run_demo(folder, seed=seed, nights=nights)


@app.command(epilog="Example: `emolake init --from s3://calls --timezone Europe/Berlin`")
def init(
    path: Annotated[Path | None, typer.Argument(help="File to write.", show_default="emolake.toml")] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="The same, as other commands take it.", show_default="emolake.toml"),
    ] = None,
    seen: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="A bucket or a folder to look at: sets source.uri, and proposes pattern, zone and channels.",
            show_default="none",
        ),
    ] = None,
    uri: Annotated[
        str | None, typer.Option(help="source.uri: a bucket or a folder.", show_default="recordings")
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="source.pattern: how keys are built.", show_default="{date:%Y/%m/%d}/{site}/{call_id}.{ext}"
        ),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(help="source.timezone: the calendar that days belong to.", show_default="UTC"),
    ] = None,
    endpoint_url: Annotated[
        str | None,
        typer.Option(help="source.endpoint_url: an S3-compatible server.", show_default="that of AWS"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a commented emolake.toml with every key and its default, or with what a look at a bucket proposes."""
    from emolake.cli.config_file import commented_toml

    if path is not None and config is not None:
        raise ConfigurationError("the file to write is given twice; leave out --config or the argument")
    path = path or config or Path("emolake.toml")
    if seen is not None and uri is not None:
        raise ConfigurationError("--from sets source.uri too; leave out --uri")
    if path.exists() and not force:
        raise ConfigurationError(f"{path} is there already; --force overwrites it")
    given = {"uri": seen or uri, "pattern": pattern, "timezone": timezone, "endpoint_url": endpoint_url}
    values = {name: value for name, value in given.items() if value is not None}
    found = None if seen is None else _seen(values)
    if seen is not None and timezone is None:
        typer.echo(
            "source.timezone: UTC, as no --timezone was given: it decides which day a call belongs to, and which day "
            "is yesterday to the nightly",
            err=True,
        )
    path.write_text(commented_toml(found, **values), "utf-8")
    typer.echo(f"wrote {path}; `emolake doctor --config {path}` says what is still missing", err=True)


def _seen(values: dict[str, str]) -> "Survey":
    """Look at the source, and say what was found.

    Raises:
        ConfigurationError: the values are no source.
    """
    from pydantic import ValidationError

    from emolake.source.access import SourceOptions
    from emolake.source.folder import FolderSource
    from emolake.source.opening import open_source
    from emolake.upkeep.bucket_survey import survey

    try:
        options = SourceOptions(**values)
    except ValidationError as error:
        raise ConfigurationError(f"this is no source: {validation_problems(error, unknown='')}") from None
    source = open_source(options.uri, options.s3)
    if isinstance(source, FolderSource) and not source.folder.is_dir():
        what = "is a file" if source.folder.exists() else "does not exist"
        raise ConfigurationError(f"--from is a bucket or a folder, and {source.folder} {what}")
    found = survey(options)
    for (section, key), sentences in found.notes.items():
        for sentence in sentences:
            typer.echo(f"{section}.{key}: {printable(redacted(sentence))}", err=True)
    return found


@app.command(epilog="Example: `emolake doctor --config emolake.toml`")
def doctor(config: ConfigOption = None, model: ModelOption = None) -> None:
    """Check source, catalog, data path, model, device and extensions; say what is wrong and the remedy."""
    from emolake.upkeep.doctor import examine

    settings = settings_or_defaults(config)
    if config is None and default_config_file() is None:
        complain(
            f"there is no {DEFAULT_CONFIG_FILE} here; `emolake init` writes one; what follows is of the defaults"
        )
    failed = 0
    for check in examine(settings, model):
        typer.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:15} {printable(redacted(check.detail))}")
        failed += not check.ok
    if failed:
        raise EmolakeError(f"{failed} of the checks failed; their remedies are above")


class Shell(StrEnum):
    """A shell that completes commands."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


@app.command(epilog="Example: `emolake completion bash > ~/.local/share/bash-completion/completions/emolake`")
def completion(shell: Annotated[Shell, typer.Argument(help="The shell.", show_default=False)]) -> None:
    """Print the script that completes commands with Tab; `emolake --install-completion` puts it in place itself."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # what --show-completion prints

    typer.echo(get_completion_script(prog_name="emolake", complete_var="_EMOLAKE_COMPLETE", shell=shell))
