"""Figures against scikit-learn, and the files that hold them."""

import csv
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_predictions import predictions
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    classification_report,
    confusion_matrix,
    f1_score,
)

from emolake.evaluation.metrics import expected_calibration_error
from emolake.evaluation.plots import history_figure
from emolake.evaluation.results import figures, write_results

HISTORY = [
    {"run": run, "epoch": epoch, "train_loss": 1 / epoch, "valid_loss": None, "valid_uar": 0.5, "learning_rate": 0.1}
    for run in ("fold 1/2", "fold 2/2")
    for epoch in (1, 2, 3)
]  # fmt: skip
KOREAN, JAPANESE = ("분노", "공포", "기쁨"), ("怒り", "恐怖", "喜び")


@settings(max_examples=15)
@given(seed=st.integers(0, 99), right=st.floats(0, 1), labels=st.integers(3, 5))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_value_equals_scikit_learns(seed, right, labels):
    names = ("anger", "fear", "happiness", "neutral", "sadness")[:labels]
    made = predictions(seed=seed, right=right, labels=names, corpora=2)
    truth = [clip.emotion for clip in made.clips]
    guess = [names[place] for place in made.logits.argmax(axis=1)]
    found = figures(made)
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, guess))
    assert found["uar"] == found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, guess))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, guess, average="macro", zero_division=0))
    assert found["confusion"] == confusion_matrix(truth, guess, labels=names).tolist()
    theirs = classification_report(truth, guess, labels=names, output_dict=True, zero_division=0)
    for name in names:
        ours, their = found["classes"][name], theirs[name]
        assert [ours["precision"], ours["recall"], ours["f1"], ours["support"]] == pytest.approx(
            [their["precision"], their["recall"], their["f1-score"], their["support"]]
        )
    assert set(found["recall"]) == set(truth)
    for key, of in (("per_corpus", "corpus"), ("per_speaker", "speaker")):
        for group, own in found[key].items():
            chosen = [place for place, clip in enumerate(made.clips) if getattr(clip, of) == group]
            assert own["clips"] == len(chosen)
            assert own["uar"] == pytest.approx(
                balanced_accuracy_score([truth[n] for n in chosen], [guess[n] for n in chosen])
            )
    for name in ("accuracy", "uar", "macro_f1"):
        low, high = found["confidence_intervals"][name]
        assert low <= found[name] <= high or right in (0, 1)


def test_intervals_are_over_speakers_only_where_all_are_known():
    assert figures(predictions())["confidence_intervals"]["independent"] == "speakers"
    assert figures(predictions(speakers=0))["confidence_intervals"]["independent"] == "clips"
    assert figures(predictions(speakers=1))["confidence_intervals"]["independent"] == "clips"
    assert set(figures(predictions(speakers=0))["per_speaker"]) == {"unknown"}


def written(tmp_path, made, history=()):
    write_results(tmp_path, {"model": "made", **figures(made)}, made, history)
    return {path.name for path in tmp_path.iterdir()}


def test_all_files_are_written_and_agree(tmp_path):
    made = predictions(corpora=2)
    assert written(tmp_path, made, HISTORY) == {
        "results.json", "predictions.csv", "report.md", "training_history.png", "confusion_matrix.png",
        "class_metrics.png",
    }  # fmt: skip
    results = json.loads((tmp_path / "results.json").read_text("utf-8"))
    with (tmp_path / "predictions.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["path"] for row in rows] == [clip.name for clip in made.clips]
    assert {row["fold"] for row in rows} == {"0", "1"}
    right = np.mean([row["emotion"] == row["label"] for row in rows])
    assert results["accuracy"] == pytest.approx(right)
    probabilities = np.array([[float(row[label]) for label in made.labels] for row in rows])
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(rows)), abs=1e-5)
    again = expected_calibration_error(np.log(probabilities), made.targets)
    assert again == pytest.approx(results["expected_calibration_error"], abs=1e-4)
    report = (tmp_path / "report.md").read_text("utf-8")
    low, high = results["confidence_intervals"]["uar"]
    assert f"{results['uar']:.3f} [{low:.3f}, {high:.3f}]" in report
    assert "| corpus-1 | 45 |" in report
    assert "![losses, recall and rate by epoch](training_history.png)" in report


def test_an_evaluation_leaves_no_history_of_an_earlier_training(tmp_path):
    assert "training_history.png" in written(tmp_path, predictions(), HISTORY)
    assert "training_history.png" not in written(tmp_path, predictions())
    assert "## Training" not in (tmp_path / "report.md").read_text("utf-8")


@pytest.mark.parametrize("runs", [1, 3, 12])
@pytest.mark.parametrize("validated", [True, False])
def test_nothing_lies_on_the_curves_and_the_kept_epoch_is_marked(runs, validated):
    history = [
        {"run": f"fold {run}/{runs}", "epoch": epoch, "train_loss": 2 - 0.1 * epoch, "learning_rate": 0.1 / epoch,
         "valid_loss": 1.0 + 0.01 * epoch if validated else None, "valid_uar": 0.5 if validated else None,
         "kept": epoch in (1, 3 + run % 3)}
        for run in range(runs) for epoch in range(1, 9)
    ]  # fmt: skip
    figure = history_figure(history)
    figure.draw_without_rendering()
    assert len(figure.axes) == (3 if validated else 2)
    assert [axes.get_legend() for axes in figure.axes] == [None] * len(figure.axes)
    words = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "epoch whose weights were kept" in words
    assert ("loss of the validation clips" in words) == validated
    for legend in figure.legends:
        for axes in figure.axes:
            assert not legend.get_window_extent().overlaps(axes.get_window_extent())
    for axes in figure.axes:
        rings = [np.asarray(line.get_xdata()) for line in axes.lines if line.get_marker() == "o"]
        assert {int(ring[0]) for ring in rings if len(ring)} == {3 + run % 3 for run in range(runs)}


def size(path):
    return struct.unpack(">II", path.read_bytes()[16:24])


@pytest.mark.parametrize("words", [KOREAN, JAPANESE])
def test_reports_show_the_datas_own_words(tmp_path, words, capfd):
    made = predictions(words=words)
    assert made.shown_labels() == tuple(
        f"{word} ({label})" for word, label in zip(words, made.labels, strict=True)
    )
    written(tmp_path, made)
    assert f"| {words[0]} (anger) | 30 |" in (tmp_path / "report.md").read_text("utf-8")
    assert "missing from font" not in capfd.readouterr().err  # matplotlib's warning of an empty box
    assert min(size(tmp_path / "confusion_matrix.png")) > 400


@pytest.mark.filterwarnings("error:.*missing from font")
def test_plots_grow_with_the_classes(tmp_path):
    names = tuple("abcdefghijklmno")
    for count in (2, 15):
        written(tmp_path / str(count), predictions(labels=names[:count], words=names[:count]))
    small, large = size(tmp_path / "2/confusion_matrix.png"), size(tmp_path / "15/confusion_matrix.png")
    assert large[0] > 2 * small[0]
    assert size(tmp_path / "15/class_metrics.png")[1] > 3 * size(tmp_path / "2/class_metrics.png")[1]
