"""Counts of emotions, by labels and by a model."""

import numpy as np
import pytest
import soundfile

from emolake.errors import ConfigurationError
from emolake.evaluation.distribution import draw_distribution, labelled_distribution, predicted_distribution
from emolake.settings import Settings

from made_model import LABELS, write_tiny_model

ROWS = [
    {"corpus": "a", "emotion": "sadness", "clips": 2, "share": 2 / 3, "speakers": 1},
    {"corpus": "a", "emotion": "anger", "clips": 1, "share": 1 / 3, "speakers": 1},
    {"corpus": "b", "emotion": "anger", "clips": 1, "share": 1.0, "speakers": None},
]


@pytest.fixture
def table(tmp_path):
    text = "path,corpus,speaker,emotion\n1.wav,a,s,sad\n2.wav,a,s,sad\n3.wav,a,s,ang\n4.wav,b,,ang\n"
    (tmp_path / "list.csv").write_text(text)
    return tmp_path / "list.csv"


def test_labels_are_counted_by_corpus_without_opening_a_clip(table):
    assert labelled_distribution(table) == ROWS


def test_the_emotions_of_all_corpora_are_drawn(tmp_path):
    draw_distribution(ROWS, tmp_path / "counts.png")
    assert (tmp_path / "counts.png").read_bytes().startswith(b"\x89PNG")


def test_a_model_counts_unlabelled_recordings_behind_the_gate(tmp_path):
    settings = Settings()
    folder = tmp_path / "calls"
    folder.mkdir()
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    (folder / "broken.wav").write_bytes(b"no audio")
    entry = settings.registry.entry_or_folder(str(write_tiny_model(tmp_path / "tiny")))
    rows = predicted_distribution(folder, entry=entry, settings=settings)
    assert [(row["emotion"], row["clips"]) for row in rows] == [("no speech", 1), ("unreadable", 1)]
    ungated = settings.model_copy(update={"segmentation": settings.segmentation.ungated()})
    rows = predicted_distribution(folder, entry=entry, settings=ungated)
    assert {row["emotion"] for row in rows} - {"unreadable"} <= set(LABELS)
    with pytest.raises(ConfigurationError, match="no file or folder"):
        predicted_distribution(tmp_path / "gone", entry=entry, settings=settings)
