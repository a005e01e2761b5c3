"""report.md: a run's results for a person to read, with every figure taken from results.json."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emolake.evaluation.fonts import PlotLabels
from emolake.messages import counted, printable
from emolake.output.table import markdown_table

_MOST_SKIPPED = 20


def report(
    results: Mapping[str, Any],
    names: Sequence[str],
    history: Sequence[Mapping[str, Any]],
    *,
    drawn: PlotLabels,
) -> str:
    """Return the report as Markdown; `names` are the labels as the tables show them, `drawn` as the plots do."""
    sections = [
        _summary(results),
        _remarks(results),
        "## Classes\n\n![recall, precision and F1 of each class](class_metrics.png)\n\n"
        + _classes(results, names),
        "## Confusion\n\n![confusion matrix](confusion_matrix.png)" + _legend(drawn),
        _groups("Corpora", "corpus", results["per_corpus"]),
        _groups("Speakers", "speaker", results["per_speaker"])
        if set(results["per_speaker"]) - {"unknown"}
        else "",
        _skipped(results),
        _training(history),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def with_interval(figures: Mapping[str, Any], name: str) -> str:
    """Return a figure and its interval: `0.670 [0.640, 0.701]`."""
    found = figures.get("confidence_intervals", {}).get(name)
    value = f"{figures[name]:.3f}"
    return value if found is None else f"{value} [{found[0]:.3f}, {found[1]:.3f}]"


def headline(results: Mapping[str, Any]) -> str:
    """Return the figures that matter most as one line."""
    clips, trained = results["clips"], results.get("clips_in_training")
    about = f" ({'ALL' if trained == clips else trained} OF WHICH TRAINED THE MODEL)" if trained else ""
    new = results.get("of_new_clips")
    without = f"\nwithout those: {_brief(new)}" if trained and new else ""
    return (
        f"{results['model']} on {counted(clips, 'clip')}{about}: "
        f"unweighted average recall {with_interval(results, 'uar')}, "
        f"accuracy {with_interval(results, 'accuracy')}, macro F1 {with_interval(results, 'macro_f1')}, "
        f"expected calibration error {results['expected_calibration_error']:.3f}{without}"
    )


def _brief(part: Mapping[str, Any]) -> str:
    return (
        f"unweighted average recall {with_interval(part, 'uar')}, accuracy {with_interval(part, 'accuracy')}, "
        f"{counted(part['clips'], 'clip')}"
    )


def _summary(results: Mapping[str, Any]) -> str:
    intervals = results["confidence_intervals"]
    rows = [
        ["unweighted average recall (balanced accuracy)", with_interval(results, "uar")],
        ["accuracy", with_interval(results, "accuracy")],
        ["macro F1", with_interval(results, "macro_f1")],
        ["expected calibration error, 15 bins", f"{results['expected_calibration_error']:.3f}"],
        ["clips", str(results["clips"])],
    ]
    return (
        f"# Results of {results.get('model', 'the classifier')}\n\n{markdown_table(['figure', 'value'], rows)}\n\n"
        f"In brackets: 95 % intervals ({intervals['method']}), in which {intervals['independent']} are independent."
    )


def _remarks(results: Mapping[str, Any]) -> str:
    remarks = list(results.get("remarks", ()))
    for key, title in (("of_clips_in_training", "Only clips that trained the model"),
                       ("of_new_clips", "Only clips that did not train the model"),
                       ("of_given_labels", "Only clips of emotions that the model can give"),
                       ("of_unheard_speakers", "Only speakers that are not in the training data")):  # fmt: skip
        part = results.get(key)
        if part:
            remarks.append(f"{title}: {_brief(part)}.")
    return "## Remarks\n\n" + "\n".join(f"- {remark}" for remark in remarks) if remarks else ""


def _classes(results: Mapping[str, Any], names: Sequence[str]) -> str:
    intervals = results["confidence_intervals"]["recall"]
    rows = []
    for name, (label, row) in zip(names, results["classes"].items(), strict=True):
        recall = "-"
        if row["support"]:
            known = {"recall": intervals.get(label)}
            recall = with_interval({"recall": row["recall"], "confidence_intervals": known}, "recall")
        rows.append([name, str(row["support"]), recall, f"{row['precision']:.3f}", f"{row['f1']:.3f}"])
    return markdown_table(["class", "clips", "recall", "precision", "F1"], rows)


def _legend(drawn: PlotLabels) -> str:
    if not drawn.legend:
        return ""
    return (
        "\n\nNo font of this machine has the letters of the labels, so the plots number them: "
        + ", ".join(f"{number} {name}" for number, name in drawn.legend.items())
    )


def _groups(title: str, column: str, groups: Mapping[str, Mapping[str, Any]]) -> str:
    spread = np.array([figures["uar"] for figures in groups.values()])
    rows = [
        [
            name,
            str(own["clips"]),
            with_interval(own, "uar"),
            with_interval(own, "accuracy"),
            f"{own['macro_f1']:.3f}",
        ]
        for name, own in groups.items()
    ]
    table = markdown_table([column, "clips", "unweighted average recall", "accuracy", "macro F1"], rows)
    about = ""
    if len(groups) > 1:
        about = (
            f"Unweighted average recall from {spread.min():.3f} to {spread.max():.3f}, "
            f"median {np.median(spread):.3f}.\n\n"
        )
    return f"## {title}\n\n{about}{table}"


def _skipped(results: Mapping[str, Any]) -> str:
    skipped = results.get("skipped", ())
    if not skipped:
        return ""
    named = "\n".join(
        f"- {printable(each['path'])}: {printable(each['reason'])}" for each in skipped[:_MOST_SKIPPED]
    )
    more = (
        f"\n- and {len(skipped) - _MOST_SKIPPED} more, in results.json"
        if len(skipped) > _MOST_SKIPPED
        else ""
    )
    what = counted(len(skipped), "clip")
    return f"## Left out\n\nNo figure includes what could not be predicted: {what}.\n\n{named}{more}"


def _training(history: Sequence[Mapping[str, Any]]) -> str:
    if not history:
        return ""
    runs = list(dict.fromkeys(row["run"] for row in history))
    rows = []
    for run in runs:
        last = [row for row in history if row["run"] == run][-1]
        kept = next((row for row in reversed(history) if row["run"] == run and row.get("kept")), last)
        shown = [kept.get(column) for column in ("train_loss", "valid_loss", "valid_uar")]
        figures = ["-" if value is None else f"{value:.3f}" for value in shown]
        rows.append([str(run), str(last["epoch"]), str(kept["epoch"]), *figures])
    header = ["run", "epochs", "kept epoch", "its training loss", "validation loss", "validation UAR"]
    return f"## Training\n\n![losses, recall and rate by epoch](training_history.png)\n\n{markdown_table(header, rows)}"
