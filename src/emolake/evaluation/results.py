"""The figures of a classifier's predictions for labelled clips, and the files that hold them.

Figures are scikit-learn's; the intervals take clips of one voice together, or each clip by itself where the speakers
are not known (see `emolake.evaluation.intervals`).
"""

import csv
import json
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from emolake.evaluation.dataset import Clip
from emolake.evaluation.intervals import LEVEL, FigureIntervals, figure_intervals
from emolake.evaluation.metrics import expected_calibration_error

RESULTS_FILE = "results.json"
PREDICTIONS_FILE = "predictions.csv"
HISTORY_PLOT = "training_history.png"
CONFUSION_PLOT = "confusion_matrix.png"
CLASSES_PLOT = "class_metrics.png"
REPORT_FILE = "report.md"
PREDICTION_COLUMNS = ("path", "corpus", "speaker", "fold", "emotion", "label", "confidence")


@dataclass(frozen=True)
class Predictions:
    """A classifier's predictions for N clips."""

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    targets: np.ndarray
    """[N] int64: the position of each clip's emotion in `labels`."""
    logits: np.ndarray
    """[N, labels], calibrated: their softmax gives the probabilities."""
    folds: np.ndarray
    """[N] int: the fold whose networks predicted the clip, or 0."""

    @property
    def predicted(self) -> np.ndarray:
        """[N]: the position of each clip's most likely label in `labels`."""
        return np.asarray(self.logits.argmax(axis=1))

    def subset(self, chosen: np.ndarray) -> "Predictions":
        """Return the predictions for some of the clips, chosen by [N] bool."""
        clips = tuple(clip for clip, own in zip(self.clips, chosen, strict=True) if own)
        return replace(
            self,
            clips=clips,
            targets=self.targets[chosen],
            logits=self.logits[chosen],
            folds=self.folds[chosen],
        )

    def speakers(self) -> list[str] | None:
        """Return the speaker of each clip; None unless all are known, and two or more, so that they can be compared."""
        speakers = [clip.speaker for clip in self.clips if clip.speaker is not None]
        return speakers if len(speakers) == len(self.clips) and len(set(speakers)) > 1 else None

    def shown_labels(self) -> tuple[str, ...]:
        """Return how each label is shown: after the data's own word, where that is one and of another script."""
        words: dict[str, set[str]] = defaultdict(set)
        for clip in self.clips:
            words[clip.emotion].add(clip.label or clip.emotion)
        return tuple(
            f"{word} ({label})"
            if len(own := words[label]) == 1 and not (word := next(iter(own))).isascii()
            else label
            for label in self.labels
        )


def figures(predictions: Predictions) -> dict[str, Any]:
    """Return the figures of results.json: every value plain Python, and no figure where there is no clip for it.

    `uar` (unweighted average recall) is the balanced accuracy. `macro_f1` is the mean over all labels that are a
    clip's truth or prediction, so a prediction outside of the data's own classes counts as a class that was never
    right.
    """
    return {
        "clips": len(predictions.clips),
        "labels": list(predictions.labels),
        **scores(predictions),
        "expected_calibration_error": expected_calibration_error(predictions.logits, predictions.targets),
        "recall": {name: row["recall"] for name, row in _classes(predictions).items() if row["support"]},
        "classes": _classes(predictions),
        "confusion": _confusion(predictions),
        "confidence_intervals": confidence_intervals(predictions),
        "per_corpus": {
            corpus: {
                **_counted(own),
                "expected_calibration_error": expected_calibration_error(own.logits, own.targets),
                "recall": {name: row["recall"] for name, row in _classes(own).items() if row["support"]},
                "confusion": _confusion(own),
                "confidence_intervals": confidence_intervals(own),
                "of_own_labels": _of_own_labels(own),
            }
            for corpus, own in _grouped(predictions, [clip.corpus for clip in predictions.clips])
        },
        "per_speaker": {
            speaker: _counted(own)
            for speaker, own in _grouped(
                predictions, [clip.speaker or "unknown" for clip in predictions.clips]
            )
        },
    }


def confidence_intervals(predictions: Predictions) -> dict[str, Any]:
    """Return 95 % intervals: speakers are independent when all are known, else clips."""
    found = _figure_intervals(predictions)
    return {
        "level": LEVEL,
        "method": "Wilson score",
        "independent": "clips" if predictions.speakers() is None else "speakers",
        **_of_all(found),
        "recall": {
            label: own for label, own in zip(predictions.labels, found.recall, strict=True) if own is not None
        },
    }


def brief(predictions: Predictions) -> dict[str, Any]:
    """Return clips, scores and intervals only, for some of the clips."""
    return {**_counted(predictions), "confidence_intervals": _of_all(_figure_intervals(predictions))}


def write_results(
    out: Path, results: dict[str, Any], predictions: Predictions, history: Sequence[dict[str, Any]]
) -> None:
    """Write results, predictions, plots and report into `out`, which is made.

    Args:
        out: the folder.
        results: `figures` of the predictions, and whatever else is to be known of them.
        predictions: the predictions themselves.
        history: one row per epoch with `run`, `epoch`, `train_loss`, `valid_loss`, `valid_uar`,
            `learning_rate`, each but the first two None where it was not measured, and `kept`: whether its weights
            replaced those before; empty without a training.
    """
    from emolake.evaluation.fonts import drawable
    from emolake.evaluation.markdown_report import report
    from emolake.evaluation.plots import plot_classes, plot_confusion, plot_history

    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False)
    (out / RESULTS_FILE).write_text(text + "\n", "utf-8")
    _write_predictions(out / PREDICTIONS_FILE, predictions)
    names = predictions.shown_labels()
    drawn = drawable(names, predictions.labels)
    plot_confusion(out / CONFUSION_PLOT, np.array(results["confusion"]), drawn)
    plot_classes(out / CLASSES_PLOT, results, drawn)
    if history:
        plot_history(out / HISTORY_PLOT, history)
    else:
        (out / HISTORY_PLOT).unlink(missing_ok=True)  # of an earlier training into the same folder
    (out / REPORT_FILE).write_text(report(results, names, history, drawn=drawn), "utf-8")


def read_predictions(path: Path, clips: Mapping[str, Clip]) -> Predictions:
    """Return the predictions that `write_results` wrote; the logits are logarithms of probabilities of six digits.

    Args:
        path: a `predictions.csv`.
        clips: by name, all that it names.
    """
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        labels = tuple((reader.fieldnames or ())[len(PREDICTION_COLUMNS) :])
        rows = list(reader)
    probabilities = np.array([[float(row[label]) for label in labels] for row in rows])
    return Predictions(
        clips=tuple(clips[row["path"]] for row in rows),
        labels=labels,
        targets=np.array([labels.index(row["emotion"]) for row in rows], dtype=np.int64),
        logits=np.log(np.maximum(probabilities, 1e-7)),
        folds=np.array([int(row["fold"]) for row in rows]),
    )


def scores(predictions: Predictions) -> dict[str, float]:
    """Return accuracy, unweighted average recall (under both of its names) and macro F1."""
    truth, predicted = predictions.targets, predictions.predicted
    with warnings.catch_warnings():
        # scikit-learn warns of predictions outside of the data's own classes, which are simply wrong here.
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        warnings.filterwarnings("ignore", message="A single label was found")
        uar = float(balanced_accuracy_score(truth, predicted))
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "balanced_accuracy": uar,
        "uar": uar,
        "macro_f1": float(f1_score(truth, predicted, average="macro", zero_division=0)),
    }


def _of_own_labels(predictions: Predictions) -> dict[str, float]:
    """Return the figures of a corpus when no label is given that it does not have: its domain's emotions are known."""
    own = np.unique(predictions.targets)
    logits = np.full_like(predictions.logits, -np.inf)
    logits[:, own] = predictions.logits[:, own]
    found = scores(replace(predictions, logits=logits))
    return {
        "uar": found["uar"],
        "accuracy": found["accuracy"],
        "expected_calibration_error": expected_calibration_error(logits, predictions.targets),
    }


def _counted(predictions: Predictions) -> dict[str, Any]:
    return {"clips": len(predictions.clips), **scores(predictions)}


def _classes(predictions: Predictions) -> dict[str, dict[str, float | int]]:
    columns = precision_recall_fscore_support(
        predictions.targets, predictions.predicted, labels=np.arange(len(predictions.labels)), zero_division=0
    )
    return {
        label: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
        for label, p, r, f, s in zip(predictions.labels, *columns, strict=True)
    }


def _confusion(predictions: Predictions) -> list[list[int]]:
    counts: list[list[int]] = confusion_matrix(
        predictions.targets, predictions.predicted, labels=np.arange(len(predictions.labels))
    ).tolist()
    return counts


def _figure_intervals(predictions: Predictions) -> FigureIntervals:
    """Return the intervals: over speakers when all are known, else over clips."""
    speakers = predictions.speakers()
    groups = [predictions] if speakers is None else [own for _, own in _grouped(predictions, speakers)]
    confusions = np.array([_confusion(own) for own in groups])
    return figure_intervals(confusions, by_speaker=speakers is not None)


def _of_all(found: FigureIntervals) -> dict[str, tuple[float, float]]:
    return {name: getattr(found, name) for name in ("accuracy", "uar", "macro_f1")}


def _grouped(predictions: Predictions, groups: Sequence[str]) -> list[tuple[str, Predictions]]:
    names = np.array(groups)
    return [(name, predictions.subset(names == name)) for name in sorted(set(groups))]


def _write_predictions(path: Path, predictions: Predictions) -> None:
    """Write one row per clip, with the probability of every label."""
    probabilities = softmax(predictions.logits, axis=1)
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow([*PREDICTION_COLUMNS, *predictions.labels])
        for clip, fold, own in zip(predictions.clips, predictions.folds, probabilities, strict=True):
            best = int(own.argmax())
            row = [
                clip.name,
                clip.corpus,
                clip.speaker or "",
                int(fold),
                clip.emotion,
                predictions.labels[best],
            ]
            writer.writerow([*row, f"{own[best]:.6f}", *(f"{value:.6f}" for value in own)])
