"""`emolake compare`: several results side by side, with intervals, and with paired differences where that can be."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from emolake.errors import ConfigurationError
from emolake.evaluation.dataset import csv_reader
from emolake.evaluation.markdown_report import markdown_table, with_interval
from emolake.evaluation.metrics import interval, resample
from emolake.evaluation.plots import plot_comparison
from emolake.evaluation.results import PREDICTION_COLUMNS, PREDICTIONS_FILE, RESULTS_FILE, SEED
from emolake.output.table import print_table

TABLE_FILE = "compare.csv"
MARKDOWN_FILE = "compare.md"
PLOT_FILE = "compare.png"
_FIGURES = ("uar", "accuracy", "macro_f1")
_NEEDED = (*_FIGURES, "clips", "expected_calibration_error", "confidence_intervals", "per_corpus")
_REMEDY = "; give a folder that `emolake train` or `emolake evaluate` wrote, or run it again"


@dataclass(frozen=True)
class Result:
    """A folder of results: what it says, and what was answered to each clip (path -> speaker, truth, answer)."""

    name: str
    figures: dict[str, Any]
    predictions: dict[str, tuple[str, str, str]]


@dataclass(frozen=True)
class Difference:
    """How much better the second of two results is on the same clips, with 95 % intervals from joint resamples."""

    first: str
    second: str
    clips: int
    resampled: str
    uar: tuple[float, float, float]
    """Difference, low end, high end."""
    accuracy: tuple[float, float, float]


def compare(folders: Sequence[Path], *, output: IO[str], out: Path | None) -> None:
    """Print the table of several results, and with `out` write it there as Markdown and CSV, with a plot.

    Raises:
        ConfigurationError: a folder holds no results.
    """
    results = read_results(folders)
    differences = list(paired_differences(results))
    rows = list(_rows(results))
    print_table(_HEADER, [_shown(row) for row in rows], output)
    for difference in differences:
        print(_sentence(difference), file=output)
    if len(results) > 1 and not differences:
        print(
            "emolake: no two of the results are of the same clips, so no difference is paired",
            file=sys.stderr,
        )
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        _write_csv(out / TABLE_FILE, rows)
        plot_comparison(out / PLOT_FILE, [(_place(name, corpus), own) for name, corpus, own in rows])
        sentences = "".join(f"- {_sentence(difference)}\n" for difference in differences)
        text = (
            f"{markdown_table(_HEADER, [_shown(row) for row in rows])}\n\n"
            f"In brackets: 95 % bootstrap intervals.\n\n![comparison]({PLOT_FILE})\n"
        )
        (out / MARKDOWN_FILE).write_text(text + (f"\n{sentences}" if sentences else ""), "utf-8")


def read_results(folders: Sequence[Path]) -> list[Result]:
    """Read the results of folders, each under its shortest name that no other has.

    Raises:
        ConfigurationError: a folder holds no results, or some of an older version.
    """
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [folder.as_posix() for folder in folders]
    return [_read(name, folder) for name, folder in zip(names, folders, strict=True)]


def paired_differences(results: Sequence[Result]) -> Iterator[Difference]:
    """Yield the difference of each result to the first one, where both answered the same clips with the same truth.

    Speakers are drawn when all are known, else clips, and the same ones for both sides.
    """
    first = results[0]
    for second in results[1:]:
        truth = {path: row[1] for path, row in first.predictions.items()}
        if not truth or truth != {path: row[1] for path, row in second.predictions.items()}:
            continue
        rows = [(*first.predictions[path], second.predictions[path][2]) for path in sorted(truth)]
        speakers = [row[0] for row in rows]
        known = all(speakers) and len(set(speakers)) > 1
        labels = sorted({label for row in rows for label in row[1:]})
        codes = np.array([[labels.index(label) for label in row[1:]] for row in rows])
        groups = speakers if known else None
        drawn = resample(codes[:, 0], list(codes.T[1:]), groups, labels=len(labels), seed=SEED)
        yield Difference(
            first.name,
            second.name,
            len(rows),
            "speakers" if known else "clips",
            _difference(first, second, "uar", drawn[1].uar - drawn[0].uar),
            _difference(first, second, "accuracy", drawn[1].accuracy - drawn[0].accuracy),
        )


def _difference(first: Result, second: Result, name: str, drawn: np.ndarray) -> tuple[float, float, float]:
    low, high = interval(drawn) or (np.nan, np.nan)
    return second.figures[name] - first.figures[name], low, high


def _read(name: str, folder: Path) -> Result:
    path = folder / RESULTS_FILE
    try:
        figures = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigurationError(f"there is no {path}{_REMEDY}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not JSON ({error}){_REMEDY}") from error
    missing = [key for key in _NEEDED if key not in figures] if isinstance(figures, dict) else _NEEDED
    if missing:
        raise ConfigurationError(f"{path} lacks {', '.join(missing)}{_REMEDY}")
    predictions = {}
    table = folder / PREDICTIONS_FILE
    if table.is_file():
        with csv_reader(table) as reader:
            lacking = [column for column in PREDICTION_COLUMNS if column not in (reader.fieldnames or ())]
            if lacking:
                raise ConfigurationError(f"{table} lacks the columns {', '.join(lacking)}{_REMEDY}")
            predictions = {row["path"]: (row["speaker"], row["emotion"], row["label"]) for row in reader}
    return Result(name, figures, predictions)


_HEADER = (
    "result",
    "corpus",
    "clips",
    "unweighted average recall",
    "accuracy",
    "macro F1",
    "calibration error",
)


def _rows(results: Sequence[Result]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, corpus and figures: of all clips, and of each corpus where there are several."""
    for result in results:
        corpora = result.figures["per_corpus"]
        yield result.name, "all" if len(corpora) != 1 else next(iter(corpora)), result.figures
        if len(corpora) > 1:
            yield from ((result.name, corpus, own) for corpus, own in corpora.items())


def _shown(row: tuple[str, str, dict[str, Any]]) -> list[str]:
    name, corpus, own = row
    figures = [with_interval(own, figure) for figure in _FIGURES]
    return [name, corpus, str(own["clips"]), *figures, f"{own['expected_calibration_error']:.3f}"]


def _place(name: str, corpus: str) -> str:
    return name if corpus == "all" else f"{name}, {corpus}"


def _sentence(difference: Difference) -> str:
    def told(values: tuple[float, float, float]) -> str:
        return f"{values[0]:+.3f} [{values[1]:+.3f}, {values[2]:+.3f}]"

    _, low, high = difference.uar
    verdict = "0 lies outside" if low > 0 or high < 0 else "0 lies inside"
    return (
        f"{difference.second} against {difference.first} on the same {difference.clips} clips: unweighted average "
        f"recall {told(difference.uar)}, {verdict}; accuracy {told(difference.accuracy)} "
        f"({difference.resampled} drawn)"
    )


def _write_csv(path: Path, rows: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        ends = [f"{figure}{end}" for figure in _FIGURES for end in ("", "_low", "_high")]
        writer.writerow(["result", "corpus", "clips", *ends, "expected_calibration_error"])
        for name, corpus, own in rows:
            intervals = own["confidence_intervals"]
            values = [
                value for figure in _FIGURES for value in (own[figure], *(intervals[figure] or ("", "")))
            ]
            writer.writerow([name, corpus, own["clips"], *values, own["expected_calibration_error"]])
