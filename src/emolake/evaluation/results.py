"""What is said of a classifier's answers to labelled clips, and the files that say it.

Figures are scikit-learn's; the intervals come from resampling speakers, since clips of one voice are not
independent, or clips where the speakers are not known.
"""

import csv
import json
import warnings
from collections import defaultdict
from collections.abc import Sequence
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
from emolake.evaluation.metrics import (
    LEVEL,
    RESAMPLES,
    Resampled,
    expected_calibration_error,
    interval,
    resample,
)

RESULTS_FILE = "results.json"
PREDICTIONS_FILE = "predictions.csv"
HISTORY_PLOT = "training_history.png"
CONFUSION_PLOT = "confusion_matrix.png"
CLASSES_PLOT = "class_metrics.png"
REPORT_FILE = "report.md"
SEED = 0  # of the resamples
PREDICTION_COLUMNS = ("path", "corpus", "speaker", "fold", "emotion", "label", "confidence")


@dataclass(frozen=True)
class Answers:
    """What a classifier said of N clips."""

    clips: tuple[Clip, ...]
    labels: tuple[str, ...]
    targets: np.ndarray
    """[N] int64: the position of each clip's emotion in `labels`."""
    logits: np.ndarray
    """[N, labels], calibrated: their softmax gives the probabilities."""
    parts: np.ndarray
    """[N] int: the fold whose networks answered, or 0."""

    @property
    def guess(self) -> np.ndarray:
        """Position of the most likely label of each clip, [N]."""
        return np.asarray(self.logits.argmax(axis=1))

    def of(self, chosen: np.ndarray) -> "Answers":
        """The answers to some of the clips, chosen by [N] bool."""
        clips = tuple(clip for clip, own in zip(self.clips, chosen, strict=True) if own)
        return replace(
            self,
            clips=clips,
            targets=self.targets[chosen],
            logits=self.logits[chosen],
            parts=self.parts[chosen],
        )

    def speakers(self) -> list[str] | None:
        """The speaker of each clip; None unless all are known, and two or more, so that they can be resampled."""
        speakers = [clip.speaker for clip in self.clips if clip.speaker is not None]
        return speakers if len(speakers) == len(self.clips) and len(set(speakers)) > 1 else None

    def names(self) -> tuple[str, ...]:
        """How each label is shown: in the data's own word before it, where that is one and of another script."""
        words: dict[str, set[str]] = defaultdict(set)
        for clip in self.clips:
            words[clip.emotion].add(clip.label or clip.emotion)
        return tuple(
            f"{word} ({label})"
            if len(own := words[label]) == 1 and not (word := next(iter(own))).isascii()
            else label
            for label in self.labels
        )


def figures(answers: Answers) -> dict[str, Any]:
    """What results.json says of the answers: every value plain Python, and nothing for what no clip can tell.

    `uar` (unweighted average recall) is the balanced accuracy. `macro_f1` is the mean over all labels that a
    clip has or was given, so an answer outside of the data's own classes counts as a class that was never right.
    """
    return {
        "clips": len(answers.clips),
        "labels": list(answers.labels),
        **scores(answers),
        "expected_calibration_error": expected_calibration_error(answers.logits, answers.targets),
        "recall": {name: row["recall"] for name, row in _classes(answers).items() if row["support"]},
        "classes": _classes(answers),
        "confusion": _confusion(answers),
        "confidence_intervals": confidence_intervals(answers),
        "per_corpus": {
            corpus: {
                **_counted(own),
                "expected_calibration_error": expected_calibration_error(own.logits, own.targets),
                "recall": {name: row["recall"] for name, row in _classes(own).items() if row["support"]},
                "confusion": _confusion(own),
                "confidence_intervals": confidence_intervals(own),
            }
            for corpus, own in _grouped(answers, [clip.corpus for clip in answers.clips])
        },
        "per_speaker": {
            speaker: _counted(own)
            for speaker, own in _grouped(answers, [clip.speaker or "unknown" for clip in answers.clips])
        },
    }


def confidence_intervals(answers: Answers) -> dict[str, Any]:
    """95 % bootstrap intervals: speakers are drawn when all are known, else clips."""
    speakers = answers.speakers()
    (drawn,) = resample(answers.targets, [answers.guess], speakers, labels=len(answers.labels), seed=SEED)
    return {
        "level": LEVEL,
        "resampled": "clips" if speakers is None else "speakers",
        "resamples": RESAMPLES,
        "seed": SEED,
        **_intervals(drawn),
        "recall": {
            label: found
            for label, values in zip(answers.labels, drawn.recall.T, strict=True)
            if (found := interval(values)) is not None
        },
    }


def brief(answers: Answers) -> dict[str, Any]:
    """Clips, scores and intervals only, for a part of the clips."""
    speakers = answers.speakers()
    (drawn,) = resample(answers.targets, [answers.guess], speakers, labels=len(answers.labels), seed=SEED)
    return {**_counted(answers), "confidence_intervals": _intervals(drawn)}


def write_results(
    out: Path, results: dict[str, Any], answers: Answers, history: Sequence[dict[str, Any]]
) -> None:
    """Write results, predictions, plots and report into `out`, which is made.

    Args:
        out: the folder.
        results: `figures` of the answers, and whatever else is to be known of them.
        answers: the answers themselves.
        history: one row per epoch with `run`, `epoch`, `train_loss`, `valid_loss`, `valid_uar`,
            `learning_rate`, each but the first two None where it was not measured; empty without a training.
    """
    from emolake.evaluation.fonts import drawable
    from emolake.evaluation.markdown_report import report
    from emolake.evaluation.plots import plot_classes, plot_confusion, plot_history

    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False)
    (out / RESULTS_FILE).write_text(text + "\n", "utf-8")
    _write_predictions(out / PREDICTIONS_FILE, answers)
    names = answers.names()
    drawn = drawable(names, answers.labels)
    plot_confusion(out / CONFUSION_PLOT, np.array(results["confusion"]), drawn)
    plot_classes(out / CLASSES_PLOT, results, drawn)
    if history:
        plot_history(out / HISTORY_PLOT, history)
    else:
        (out / HISTORY_PLOT).unlink(missing_ok=True)  # of an earlier training into the same folder
    (out / REPORT_FILE).write_text(report(results, names, history, drawn=drawn), "utf-8")


def scores(answers: Answers) -> dict[str, float]:
    """Accuracy, unweighted average recall (under both of its names) and macro F1."""
    truth, guess = answers.targets, answers.guess
    with warnings.catch_warnings():
        # scikit-learn warns of answers outside of the data's own classes, which are simply wrong here.
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        uar = float(balanced_accuracy_score(truth, guess))
    return {
        "accuracy": float(accuracy_score(truth, guess)),
        "balanced_accuracy": uar,
        "uar": uar,
        "macro_f1": float(f1_score(truth, guess, average="macro", zero_division=0)),
    }


def _counted(answers: Answers) -> dict[str, Any]:
    return {"clips": len(answers.clips), **scores(answers)}


def _classes(answers: Answers) -> dict[str, dict[str, float | int]]:
    columns = precision_recall_fscore_support(
        answers.targets, answers.guess, labels=np.arange(len(answers.labels)), zero_division=0
    )
    return {
        label: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
        for label, p, r, f, s in zip(answers.labels, *columns, strict=True)
    }


def _confusion(answers: Answers) -> list[list[int]]:
    counts: list[list[int]] = confusion_matrix(
        answers.targets, answers.guess, labels=np.arange(len(answers.labels))
    ).tolist()
    return counts


def _intervals(drawn: Resampled) -> dict[str, tuple[float, float] | None]:
    return {name: interval(getattr(drawn, name)) for name in ("accuracy", "uar", "macro_f1")}


def _grouped(answers: Answers, groups: Sequence[str]) -> list[tuple[str, Answers]]:
    names = np.array(groups)
    return [(name, answers.of(names == name)) for name in sorted(set(groups))]


def _write_predictions(path: Path, answers: Answers) -> None:
    """One row per clip, with the probability of every label."""
    probabilities = softmax(answers.logits, axis=1)
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow([*PREDICTION_COLUMNS, *answers.labels])
        for clip, part, own in zip(answers.clips, answers.parts, probabilities, strict=True):
            best = int(own.argmax())
            row = [clip.name, clip.corpus, clip.speaker or "", int(part), clip.emotion, answers.labels[best]]
            writer.writerow([*row, f"{own[best]:.6f}", *(f"{value:.6f}" for value in own)])
