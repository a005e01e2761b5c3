"""The commands that measure models: evaluate, compare, distribution."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from emolake.cli.arguments import ConfigOption, RowFormat, settings_or_defaults

app = typer.Typer()

FolderModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Name of a model, or a folder that `emolake train` wrote.",
        show_default="inference.model",
    ),
]
DATA_HELP = "Folder of emotion/clip.wav, or a CSV with file_path,emotion[,speaker] or id,path,label."


@app.command(epilog="Example: `emolake evaluate --model runs/mine --data test.csv --out runs/mine-on-test`")
def evaluate(
    data: Annotated[Path, typer.Option(help=DATA_HELP)],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    model: FolderModelOption = None,
    config: ConfigOption = None,
) -> None:
    """Evaluate any model on labelled data: figures with intervals, plots, report and predictions."""
    settings = settings_or_defaults(config)
    from emolake.evaluation.evaluate import evaluate as run_evaluation
    from emolake.evaluation.markdown_report import headline

    results = run_evaluation(
        entry=settings.registry.entry_or_folder(model), settings=settings, data=data, out=out
    )
    typer.echo(headline(results))
    typer.echo(f"wrote {out}", err=True)


@app.command(epilog="Example: `emolake compare runs/mfcc_cnn runs/classical -o runs/comparison`")
def compare(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders that train or evaluate wrote.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for compare.md, compare.csv and compare.png.", show_default="none"
        ),
    ] = None,
) -> None:
    """Put results side by side with 95 % intervals; differences to the first, where the clips are the same."""
    from emolake.evaluation.compare import COLUMNS, write_comparison
    from emolake.evaluation.compare import compare as run_comparison
    from emolake.messages import counted
    from emolake.output.notices import complain
    from emolake.output.table import print_table

    comparison = run_comparison(folders)
    print_table(COLUMNS, comparison.rows(), sys.stdout)
    for difference in comparison.differences:
        typer.echo(difference.sentence())
    for result in comparison.results:
        if trained := result.figures.get("clips_in_training"):
            complain(
                f"{result.name}: {trained} of {counted(result.figures['clips'], 'clip')} trained the model"
            )
    if len(folders) > 1 and not comparison.differences:
        complain("no two of the results are of the same clips, so no difference is paired")
    if output is not None:
        write_comparison(comparison, output)


@app.command(epilog="Example: `emolake distribution recordings/ --model default -o distribution.png`")
def distribution(
    path: Annotated[Path, typer.Argument(help=f"{DATA_HELP} With --model: any folder of audio.")],
    model: FolderModelOption = None,
    format: Annotated[RowFormat, typer.Option(help="How rows are written.")] = RowFormat.table,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="PNG to draw.", show_default="none")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Count the clips of each emotion: by their labels, or by what a model predicts."""
    from emolake.evaluation.distribution import (
        COLUMNS,
        draw_distribution,
        labelled_distribution,
        predicted_distribution,
    )
    from emolake.output.table import print_table, write_csv, write_json

    if model is None:
        rows = labelled_distribution(path)
    else:
        settings = settings_or_defaults(config)
        rows = predicted_distribution(path, entry=settings.registry.entry_or_folder(model), settings=settings)
    if format is RowFormat.json:
        write_json(rows, sys.stdout)
    elif format is RowFormat.csv:
        write_csv(COLUMNS, [[row[column] for column in COLUMNS] for row in rows], sys.stdout)
    else:
        columns = [column for column in COLUMNS if any(row[column] is not None for row in rows)]
        print_table(columns, [[row[column] for column in columns] for row in rows], sys.stdout)
    if output is not None:
        draw_distribution(rows, output)
