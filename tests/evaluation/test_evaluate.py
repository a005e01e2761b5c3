"""Evaluation of a tiny model on made clips: every clip predicted or named, and what flatters said."""

import csv
import json

import numpy as np
import pytest
import soundfile

from emolake.errors import ConfigurationError
from emolake.evaluation.evaluate import evaluate, training_speakers
from emolake.pipeline.rows import SegmentRow
from emolake.prediction.clips import emotions_of, mean_probabilities, predict_clips
from emolake.prediction.files import predict
from emolake.settings import Settings
from emolake.tasks.classify import Scores

from made_model import LABELS, write_tiny_model

SETTINGS = Settings()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A model, and eight clips: one silent, one of 25 s, one broken, one gone, one of an emotion it cannot give."""
    folder = tmp_path_factory.mktemp("site")
    write_tiny_model(folder / "tiny")
    generator = np.random.default_rng(0)
    rows = []
    for number, (emotion, seconds) in enumerate(
        [("angry", 1), ("angry", 25), ("happy", 1), ("sad", 1), ("disgust", 1), ("중립", 1)]
    ):
        wave = generator.normal(0, 0.1 * (number != 3), 16_000 * seconds)
        soundfile.write(folder / f"{number}.wav", wave, 16_000)
        rows.append((f"{number}.wav", emotion, f"s{number % 3}"))
    (folder / "broken.wav").write_bytes(b"no audio")
    rows += [("broken.wav", "sad", "s0"), ("gone.wav", "sad", "s0")]
    with (folder / "test.csv").open("w", encoding="utf-8", newline="") as lines:
        csv.writer(lines).writerows([("file_path", "emotion", "speaker"), *rows])
    return folder


def note_speakers(folder, speakers):
    """Put the speakers of its training data into a folder's configuration, as a training does."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"training": {"speakers": speakers}}))


@pytest.fixture(scope="module")
def evaluated(site):
    note_speakers(site / "tiny", ["s0", "s9"])
    entry = SETTINGS.registry.entry_or_folder(str(site / "tiny"))
    return evaluate(entry=entry, settings=SETTINGS, data=site / "test.csv", out=site / "out")


def test_every_clip_is_predicted_or_named(evaluated, site):
    assert evaluated["clips"] == 6
    assert [each["path"] for each in evaluated["skipped"]] == ["broken.wav", "gone.wav"]
    assert all(each["reason"] for each in evaluated["skipped"])
    with (site / "out" / "predictions.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["path"] for row in rows] == [f"{number}.wav" for number in range(6)]
    assert json.loads((site / "out" / "results.json").read_text("utf-8")) == json.loads(json.dumps(evaluated))


def test_both_sides_are_of_the_shared_taxonomy(evaluated):
    assert evaluated["labels"] == ["anger", "disgust", "happiness", "neutral", "sadness"]
    assert evaluated["classes"]["neutral"]["support"] == 1
    assert evaluated["classes"]["disgust"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}
    assert evaluated["labels_not_given"] == ["disgust"]
    assert evaluated["of_given_labels"]["clips"] == 5


def test_of_a_restricted_model_the_figures_are_of_its_classes(evaluated, site, tmp_path):
    models = {"narrow": {"path": str(site / "tiny"), "classes": ["anger", "sad"]}}
    entry = Settings(models=models).registry.entry("narrow")
    found = evaluate(entry=entry, settings=SETTINGS, data=site / "test.csv", out=tmp_path / "out")
    # Like any emotion that a model cannot give: its clips count as wrong, and there are figures without them.
    assert found["labels"] == ["anger", "disgust", "happiness", "neutral", "sadness"]
    assert found["labels_not_given"] == ["disgust", "happiness", "neutral"]
    assert (found["clips"], found["of_given_labels"]["clips"]) == (6, 3)
    assert found["fingerprint"] != evaluated["fingerprint"]
    remark = next(each for each in found["remarks"] if "cannot give" in each)
    assert remark.endswith("so all 3 clips of it count as wrong; it gives anger, sadness")
    with (site / "out" / "predictions.csv").open(encoding="utf-8") as lines:
        whole = [[float(row[label]) for label in ("anger", "sadness")] for row in csv.DictReader(lines)]
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    for place in (0, 2, 4):  # clips of one segment: the same logits without the others
        pair = [float(rows[place][label]) for label in ("anger", "sadness")]
        assert pair == pytest.approx(np.array(whole[place]) / sum(whole[place]), abs=1e-4)
        assert float(rows[place]["neutral"]) == pytest.approx(0, abs=1e-12)


def test_speakers_of_the_training_data_are_named(evaluated, site):
    assert evaluated["speakers_heard_in_training"] == ["s0"]
    assert evaluated["of_unheard_speakers"]["clips"] == 4
    report = (site / "out" / "report.md").read_text("utf-8")
    assert "1 speaker (s0) of 3 has the name of speakers of the model's training data" in report
    assert "the model cannot give disgust, so the 1 clip of it counts as wrong; it gives" in report
    assert "Only speakers that are not in the training data: unweighted average recall" in report
    assert "left out, because nothing could be predicted: 2 clips (broken.wav, gone.wav)" in report


def test_a_folder_names_the_speakers_of_its_training_data_or_does_not(tmp_path):
    folder = write_tiny_model(tmp_path / "model")
    assert training_speakers(SETTINGS.registry.entry_or_folder(str(folder))) is None
    note_speakers(folder, [])
    assert training_speakers(SETTINGS.registry.entry_or_folder(str(folder))) is None
    note_speakers(folder, ["s4"])
    assert training_speakers(SETTINGS.registry.entry_or_folder(str(folder))) == {"s4"}


def row(start_s, end_s, ratio, probabilities, *, channel=0, labelled=True):
    scores = Scores(np.zeros(2), np.array(probabilities), None, labelled)
    return SegmentRow(channel, int(start_s), start_s, end_s, ratio, scores)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row(0, 10, 1.0, [0.8, 0.2]), row(10, 20, 0.5, [0.2, 0.8])], [0.6, 0.4]),
        ([row(0, 10, 0.0, [0.8, 0.2]), row(10, 20, 0.5, [0.2, 0.8])], [0.2, 0.8]),
        ([row(0, 30, 0.0, [0.8, 0.2]), row(30, 40, 0.0, [0.4, 0.6])], [0.7, 0.3]),  # silence: by seconds
        ([row(0, 10, 1.0, [1.0, 0.0]), row(5, 10, 1.0, [0.0, 1.0])], [0.5, 0.5]),  # an overlap counts once
        ([], None),
    ],
)
def test_segments_weigh_by_their_seconds_of_speech(rows, expected):
    mean = mean_probabilities(rows, gated=False)
    assert mean is None if expected is None else mean == pytest.approx(expected)


def test_what_the_model_itself_gives_no_label_counts_only_without_the_gate():
    rows = [row(0, 10, 1.0, [0.8, 0.2], labelled=False)]
    assert mean_probabilities(rows, gated=True) is None
    assert mean_probabilities(rows, gated=False) == pytest.approx([0.8, 0.2])


def test_a_long_clip_has_one_prediction_between_those_of_its_segments(site):
    entry = SETTINGS.registry.entry_or_folder(str(site / "tiny"))
    assert emotions_of(entry) == LABELS
    (prediction,) = predict_clips([site / "1.wav"], settings=SETTINGS, entry=entry, gated=False)
    ungated = SETTINGS.model_copy(update={"segmentation": SETTINGS.segmentation.ungated()})
    (file,) = predict([site / "1.wav"], settings=ungated, entry=entry, logits=False)
    probabilities = np.array([list(row["probabilities"].values()) for row in file.rows])
    assert len(probabilities) == 3
    assert (prediction.probabilities >= probabilities.min(axis=0) - 1e-6).all()
    assert (prediction.probabilities <= probabilities.max(axis=0) + 1e-6).all()


def test_silence_has_a_prediction_only_without_the_gate(site):
    entry = SETTINGS.registry.entry_or_folder(str(site / "tiny"))
    (behind,) = predict_clips([site / "3.wav"], settings=SETTINGS, entry=entry, gated=True)
    (without,) = predict_clips([site / "3.wav"], settings=SETTINGS, entry=entry, gated=False)
    assert behind.probabilities is None
    assert behind.error is None
    assert without.probabilities is not None
    assert without.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_what_cannot_be_evaluated_is_refused(site, tmp_path):
    entry = SETTINGS.registry.entry_or_folder(str(site / "tiny"))
    (tmp_path / "gone.csv").write_text("path,emotion\nnowhere.wav,sad\n")
    with pytest.raises(ConfigurationError, match=r"none of 1 clip can be predicted.*nowhere\.wav"):
        evaluate(entry=entry, settings=SETTINGS, data=tmp_path / "gone.csv", out=tmp_path / "out")
    with pytest.raises(ConfigurationError, match="no model is called 'nobody'"):
        SETTINGS.registry.entry_or_folder("nobody")
    with pytest.raises(ConfigurationError, match="there is no folder runs/nobody; name one"):
        SETTINGS.registry.entry_or_folder("runs/nobody")
    assert not (tmp_path / "out").exists()
