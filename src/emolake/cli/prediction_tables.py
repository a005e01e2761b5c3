"""What predict and diagnose came to, as tables, JSON or CSV."""

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

from emolake.cli.arguments import RowFormat
from emolake.evaluation.submission import fill_submission
from emolake.models.health_gate import judge
from emolake.models.registry import ModelEntry
from emolake.output.notices import complain
from emolake.output.table import print_table, write_csv, write_json
from emolake.prediction.diagnosis import Diagnosis
from emolake.prediction.files import audio_files, predict, without_layout
from emolake.settings import Settings

_PLAIN = ("path", "channel", "start_s", "end_s", "label", "emotion", "confidence", "uncertain")


def show_predictions(
    paths: Sequence[Path],
    *,
    settings: Settings,
    entry: ModelEntry,
    logits: bool,
    format: RowFormat,
    dimensions: Mapping[str, str],
) -> int:
    """Show the predictions of files and folders as they come, and the reasons of bad files on standard error.

    Returns:
        The number of files that gave no result, or broke half-way.
    """
    files = audio_files(paths)
    if unknown := without_layout(files, settings, dimensions):
        complain(
            f"{unknown[0]}{f' and {len(unknown) - 1} more' if len(unknown) > 1 else ''}: which of roles.layouts they "
            "have is not known, so that the channels are those of [roles]; give --dimension NAME=VALUE"
        )
    bad: list[str] = []
    ranges: list[float] = []

    def rows() -> Iterator[dict[str, Any]]:
        for prediction in predict(
            files, settings=settings, entry=entry, logits=logits, dimensions=dimensions
        ):
            if prediction.error is not None:
                bad.append(prediction.path)
                complain(f"{prediction.path}: {prediction.error}")
            ranges.extend(prediction.logit_ranges)
            yield from prediction.rows

    if format is RowFormat.json:
        write_json(rows(), sys.stdout)
    elif format is RowFormat.csv:
        _write_predictions_csv(rows(), entry.labels, logits)
    else:
        names = (*_PLAIN, "logits") if logits else _PLAIN
        print_table(names, ([row[name] for name in names] for row in rows()), sys.stdout)
    if entry.labels and ranges:
        health = judge(len(ranges), sum(ranges) / len(ranges), settings.health)
        if health.verdict == "flat":
            complain(f"{entry.name} is degenerate: {health.detail}")
    return len(bad)


def _write_predictions_csv(rows: Iterable[dict[str, Any]], labels: Sequence[str], logits: bool) -> None:
    """Write one line a segment, with a column for the probability (and the logit) of each label."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(
        chain(_PLAIN, (f"p_{each}" for each in labels), (f"logit_{each}" for each in labels if logits))
    )
    for row in rows:
        probabilities = row["probabilities"] or {}
        scores = (row["logits"] or [None] * len(labels)) if logits else []
        writer.writerow(
            chain((row[name] for name in _PLAIN), (probabilities.get(each) for each in labels), scores)
        )


def show_submission(
    sample: Path,
    places: Sequence[Path],
    *,
    settings: Settings,
    entry: ModelEntry,
    labels: Path | None,
    out: Path | None,
) -> int:
    """Show a competition's CSV with its labels filled, or write it to `out`.

    The other arguments are those of `emolake.evaluation.submission.fill_submission`.

    Returns:
        The number of clips that could not be predicted.
    """
    filled = fill_submission(sample, places, settings=settings, entry=entry, labels=labels)
    rows = ([row[column] for column in filled.columns] for row in filled.rows)
    with nullcontext(sys.stdout) if out is None else out.open("w", encoding="utf-8", newline="") as stream:
        write_csv(filled.columns, rows, stream)
    return filled.bad


def show_diagnosis(entry: ModelEntry, found: Diagnosis) -> None:
    """Show what a model did with one file: layer weights, stages, logits by segment, and the health verdict."""
    print(f"model {entry.name}: {entry.family}, fingerprint {entry.fingerprint}")
    for name, weights in found.layer_weights.items():
        print(f"layer weights of {name}: {' '.join(f'{weight:.4f}' for weight in weights)}")
    stages = [(stage.name, "x".join(map(str, stage.shape)), stage.rms, stage.peak) for stage in found.stages]
    if stages:
        print_table(("stage of the first segment", "shape", "rms", "peak"), stages, sys.stdout)
    if found.labels:
        rows = [(number, *row.tolist()) for number, row in enumerate(found.logits)]
        print_table(("segment", *found.labels), rows, sys.stdout)
    print(f"{found.health.verdict}: {found.health.detail}")
