"""`emolake compare`: several results side by side, with intervals, and with paired differences where that can be."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emolake.errors import ConfigurationError
from emolake.evaluation.dataset import csv_reader
from emolake.evaluation.markdown_report import with_interval
from emolake.evaluation.metrics import bootstrap, interval
from emolake.evaluation.plots import plot_comparison
from emolake.evaluation.results import PREDICTION_COLUMNS, PREDICTIONS_FILE, RESULTS_FILE
from emolake.messages import counted
from emolake.output.table import markdown_table, write_csv

TABLE_FILE = "compare.csv"
MARKDOWN_FILE = "compare.md"
PLOT_FILE = "compare.png"
COLUMNS = (
    "result",
    "corpus",
    "clips",
    "unweighted average recall",
    "accuracy",
    "macro F1",
    "calibration error",
)
_SEED = 0  # of the bootstrap
_FIGURES = ("uar", "accuracy", "macro_f1")
_NEEDED = (*_FIGURES, "clips", "expected_calibration_error", "confidence_intervals", "per_corpus")
_REMEDY = "; give a folder that `emolake train` or `emolake evaluate` wrote, or run it again"

# Name of the result, corpus and figures.
_Row = tuple[str, str, dict[str, Any]]


@dataclass(frozen=True)
class ResultFolder:
    """The figures of a folder, and its predictions (path -> speaker, truth, prediction)."""

    name: str
    figures: dict[str, Any]
    predictions: dict[str, tuple[str, str, str]]


@dataclass(frozen=True)
class Difference:
    """How much better the second of two results is on the same clips, with 95 % intervals from joint draws."""

    first: str
    second: str
    clips: int
    drawn: str
    """What the bootstrap draws: speakers, or clips."""
    speakers: int | None
    """How many there are; None where that is not known."""
    uar: tuple[float, float, float]
    """Difference, low end, high end."""
    accuracy: tuple[float, float, float]

    def sentence(self) -> str:
        """Return the difference as one line."""

        def shown(values: tuple[float, float, float]) -> str:
            return f"{values[0]:+.3f} [{values[1]:+.3f}, {values[2]:+.3f}]"

        _, low, high = self.uar
        where = "outside" if low > 0 or high < 0 else "inside"
        return (
            f"{self.second} against {self.first} on the same {counted(self.clips, 'clip')}: unweighted average recall "
            f"{shown(self.uar)}, 0 lies {where}; accuracy {shown(self.accuracy)} ({self.drawn} drawn)"
        )


@dataclass(frozen=True)
class Comparison:
    """Results side by side, and the differences of those of the same clips."""

    results: tuple[ResultFolder, ...]
    differences: tuple[Difference, ...]

    def rows(self) -> list[list[str]]:
        """Return the cells under `COLUMNS`."""
        return [_cells(row) for row in _rows(self.results)]


def compare(folders: Sequence[Path]) -> Comparison:
    """Read the results of folders and compare each with the first one.

    Raises:
        ConfigurationError: a folder holds no results.
    """
    results = read_results(folders)
    return Comparison(tuple(results), tuple(paired_differences(results)))


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Write the table as Markdown and as CSV into a folder, with a plot."""
    rows = list(_rows(comparison.results))
    out.mkdir(parents=True, exist_ok=True)
    _write_csv(out / TABLE_FILE, rows)
    plot_comparison(out / PLOT_FILE, [(_place(name, corpus), own) for name, corpus, own in rows])
    text = (
        f"{markdown_table(COLUMNS, comparison.rows())}\n\n"
        f"In brackets: 95 % intervals.\n\n![comparison]({PLOT_FILE})\n"
    )
    sentences = "".join(f"- {difference.sentence()}\n" for difference in comparison.differences)
    (out / MARKDOWN_FILE).write_text(text + (f"\n{sentences}" if sentences else ""), "utf-8")


def read_results(folders: Sequence[Path]) -> list[ResultFolder]:
    """Read the results of folders, each under its shortest name that no other has.

    Raises:
        ConfigurationError: a folder holds no results, or some of an older version.
    """
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [folder.as_posix() for folder in folders]
    return [_read(name, folder) for name, folder in zip(names, folders, strict=True)]


def paired_differences(results: Sequence[ResultFolder]) -> Iterator[Difference]:
    """Yield the difference of each result to the first one, where both are of the same clips with the same truth.

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
        drawn = bootstrap(codes[:, 0], list(codes.T[1:]), groups, labels=len(labels), seed=_SEED)
        yield Difference(
            first.name,
            second.name,
            len(rows),
            "speakers" if known else "clips",
            len(set(speakers)) if all(speakers) else None,
            _difference(first, second, "uar", drawn[1].uar - drawn[0].uar),
            _difference(first, second, "accuracy", drawn[1].accuracy - drawn[0].accuracy),
        )


def _difference(
    first: ResultFolder, second: ResultFolder, name: str, drawn: np.ndarray
) -> tuple[float, float, float]:
    """Return a figure's difference and the ends of its interval."""
    low, high = interval(drawn) or (np.nan, np.nan)
    return second.figures[name] - first.figures[name], low, high


def _read(name: str, folder: Path) -> ResultFolder:
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
    return ResultFolder(name, figures, predictions)


def _rows(results: Sequence[ResultFolder]) -> Iterator[_Row]:
    """Yield the figures of all clips of each result, and of each corpus where there are several."""
    for result in results:
        corpora = result.figures["per_corpus"]
        yield result.name, "all" if len(corpora) != 1 else next(iter(corpora)), result.figures
        if len(corpora) > 1:
            yield from ((result.name, corpus, own) for corpus, own in corpora.items())


def _cells(row: _Row) -> list[str]:
    name, corpus, own = row
    figures = [with_interval(own, figure) for figure in _FIGURES]
    return [name, corpus, str(own["clips"]), *figures, f"{own['expected_calibration_error']:.3f}"]


def _place(name: str, corpus: str) -> str:
    return name if corpus == "all" else f"{name}, {corpus}"


def _write_csv(path: Path, rows: Sequence[_Row]) -> None:
    ends = [f"{figure}{end}" for figure in _FIGURES for end in ("", "_low", "_high")]
    columns = ["result", "corpus", "clips", *ends, "expected_calibration_error"]
    cells = []
    for name, corpus, own in rows:
        intervals = own["confidence_intervals"]
        values = [value for figure in _FIGURES for value in (own[figure], *(intervals[figure] or ("", "")))]
        cells.append([name, corpus, own["clips"], *values, own["expected_calibration_error"]])
    with path.open("w", encoding="utf-8", newline="") as lines:
        write_csv(columns, cells, lines)
