"""The commands that measure models: evaluate, compare, distribution; and the file of a competition."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emolake.cli.arguments import ConfigOption, RowFormat, settings_or_defaults

if TYPE_CHECKING:
    from emolake.models.registry import ModelEntry
    from emolake.settings import Settings

app = typer.Typer()

FolderModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Name of a model, or a folder that `emolake train` wrote; the one of [inference] when left out.",
        show_default=False,
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
        typer.Option("--output", "-o", help="Folder for compare.md, compare.csv and compare.png."),
    ] = None,
) -> None:
    """Put results side by side with 95 % intervals; differences to the first, where the clips are the same."""
    from emolake.evaluation.compare import COLUMNS, write_comparison
    from emolake.evaluation.compare import compare as run_comparison
    from emolake.output.notices import complain
    from emolake.output.table import print_table

    comparison = run_comparison(folders)
    print_table(COLUMNS, comparison.rows(), sys.stdout)
    for difference in comparison.differences:
        typer.echo(difference.sentence())
    if len(folders) > 1 and not comparison.differences:
        complain("no two of the results are of the same clips, so no difference is paired")
    if output is not None:
        write_comparison(comparison, output)


@app.command(epilog="Example: `emolake distribution recordings/ --model default -o distribution.png`")
def distribution(
    path: Annotated[Path, typer.Argument(help=f"{DATA_HELP} With --model: any folder of audio.")],
    model: FolderModelOption = None,
    format: Annotated[RowFormat, typer.Option(help="How rows are written.")] = RowFormat.table,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="PNG to draw.")] = None,
    config: ConfigOption = None,
) -> None:
    """Count the clips of each emotion: by their labels, or by a model's predictions."""
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


def write_submission(
    sample: Path,
    places: Sequence[Path],
    *,
    settings: "Settings",
    entry: "ModelEntry",
    labels: Path | None,
    out: Path | None,
) -> int:
    """Fill a competition's CSV and write it to `out`, or else to standard output; return how many clips were bad.

    The other arguments are those of `emolake.evaluation.submission.fill_submission`.
    """
    from emolake.evaluation.submission import fill_submission
    from emolake.output.table import write_csv

    filled = fill_submission(sample, places, settings=settings, entry=entry, labels=labels)
    rows = [[row[column] for column in filled.columns] for row in filled.rows]
    with nullcontext(sys.stdout) if out is None else out.open("w", encoding="utf-8", newline="") as stream:
        write_csv(filled.columns, rows, stream)
    return filled.bad
