"""The commands that ask a model: predict, models, diagnose."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from emolake.cli.arguments import ConfigOption, ModelOption, RowFormat, settings_or_defaults
from emolake.errors import ConfigurationError, EmolakeError

app = typer.Typer()


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
            help="Competition's CSV with id[,path],label to fill: one answer a clip, speech or not.",
            show_default="none",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV with the competition's own labels, its list of training clips for instance.",
            show_default="those of --submission",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File for the filled CSV.", show_default="standard output"),
    ] = None,
    dimension: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Dimension of all the files, such as site=oslo, that roles.layouts go by; may be given again.",
            show_default="those of a file's key below source.uri",
        ),
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
    pairs = [each.partition("=") for each in dimension or ()]
    for name, equals, _ in pairs:
        if not equals or name not in settings.source.dimension_names():
            known = ", ".join(settings.source.dimension_names()) or "none"
            raise ConfigurationError(
                f"--dimension {name}: expected NAME=VALUE of a dimension; there is {known}"
            )
    if submission is not None:
        from emolake.cli.prediction_tables import show_submission

        bad = show_submission(
            submission, paths or [], settings=settings, entry=entry, labels=labels, out=output
        )
    else:
        from emolake.cli.prediction_tables import show_predictions

        bad = show_predictions(
            paths or [],
            settings=settings,
            entry=entry,
            logits=logits,
            format=format,
            dimensions={name: value for name, _, value in pairs},
        )
    if bad:
        raise EmolakeError(f"{bad} of the files gave no result or broke half-way; the reasons are above")


@app.command(epilog="Example: `emolake models --config emolake.toml`")
def models(config: ConfigOption = None) -> None:
    """List the models: family, labels, licence, fingerprint, and the probability below which a label is uncertain."""
    from emolake.models.restriction import labels_line
    from emolake.output.table import print_table

    settings = settings_or_defaults(config)
    registry = settings.registry
    rows = []
    for name in registry.names():
        try:
            entry = registry.entry(name)
            labels = labels_line(entry.labels, outputs=entry.outputs)
            below = f"{entry.abstain_below(settings.inference):g}" if entry.labels else ""
            rows.append((name, entry.family, labels, entry.licence, entry.fingerprint[:12], below))
        except EmolakeError as error:
            rows.append((name, "unusable", str(error), "", "", ""))
    columns = ("name", "family", "labels", "licence", "fingerprint", "uncertain below")
    print_table(columns, rows, sys.stdout)


@app.command(epilog="Example: `emolake diagnose call.wav --model kushinada`")
def diagnose(
    path: Annotated[Path, typer.Argument(help="An audio file with speech.")],
    model: ModelOption = None,
    config: ConfigOption = None,
) -> None:
    """Show why a model answers as it does: layer weights, stages with shapes and norms, logits, health."""
    from emolake.cli.prediction_tables import show_diagnosis
    from emolake.prediction.diagnosis import diagnose_file

    settings = settings_or_defaults(config)
    entry = settings.registry.entry(model)
    show_diagnosis(entry, diagnose_file(path, settings=settings, entry=entry))
