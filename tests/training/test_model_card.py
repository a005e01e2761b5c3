"""The model card: tables that hold whatever the data are called, and the committed card in the generator's words."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_predictions import predictions
from markdown_it import MarkdownIt

from emolake.evaluation.dataset import read_dataset
from emolake.evaluation.results import figures
from emolake.models import default
from emolake.training.model_card import licence_of, model_card
from emolake.training.trainer import FitResult, with_options
from emolake.training.trainers.encoder_trainer import WHISPER_FINETUNE

COVERAGE = [
    {"threshold": 0.0, "coverage": 1.0, "accuracy": 0.5},
    {"threshold": 0.5, "coverage": 0.4, "accuracy": 0.75},
    {"threshold": 0.95, "coverage": 0.0, "accuracy": 0.0},
]


def card(made, *, what="A network.", licence="none", **changes):
    results = {
        "model": "logmel_cnn", "split": "speaker", "seed": 0, "folds": 4, "options": {}, "skipped": [],
        "data_sha256": "d", "weights_sha256": "w", "torch": "2", "temperature": 1.0,
        "calibration_error": {"before": 0.1, "after": 0.1}, "coverage": COVERAGE, "abstain_below": 0.0,
        "members": 1, **figures(made),
    }  # fmt: skip
    for own in results["per_corpus"].values():
        own["single_network_uar"] = [own["uar"]]
    return model_card(results | changes, what, licence, made.clips)


def tables(text):
    """Return the widths of the rows of each table."""
    found: list[list[int]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append(0)
        elif token.type in ("th_open", "td_open"):
            found[-1][-1] += 1
    return found


def renamed(made, change):
    """Return predictions whose corpora, speakers and labels are called otherwise."""
    clips = tuple(
        type(clip)(
            clip.name,
            clip.path,
            change(clip.emotion),
            change(clip.corpus),
            change(clip.speaker),
            label=clip.label,
        )
        for clip in made.clips
    )
    return type(made)(clips, tuple(map(change, made.labels)), made.targets, made.logits, made.folds)


@pytest.mark.parametrize("mark", ["|", "\\|", "\n"])
def test_no_name_breaks_a_table(mark):
    plain = predictions(corpora=2)
    odd = renamed(plain, lambda name: f"{name}{mark}x")
    text = card(odd, skipped=[{"path": f"a{mark}b.wav", "reason": "broken"}])
    assert tables(text) == tables(card(plain))
    assert len(tables(text)) == 6  # data, figures, two confusions, speakers, coverage
    assert all(len(set(widths)) == 1 for widths in tables(text))


def test_the_card_says_how_the_clips_were_split():
    assert "No figure is of a speaker in the training data of the networks that predicted" in card(
        predictions()
    )
    at_random = card(predictions(), split="random", folds=1)
    assert (
        "**The clips were split at random (one split into training, validation and test clips)" in at_random
    )


def test_the_committed_card_is_what_the_generator_writes(shared_data):
    """Nobody trains the default again for a word, so the words are changed in both places."""
    folder = Path(default.__file__).parent
    results = json.loads((folder / "results.json").read_text("utf-8"))
    clips = read_dataset(shared_data / "manifest_all.csv")
    corpora = {clip.corpus for clip in clips}
    what = WHISPER_FINETUNE.describe(
        with_options(results["model"], WHISPER_FINETUNE.recipe, results["options"]),
        FitResult(None, np.zeros(0), parameters=results["parameters"]),
    )
    generated = model_card(results, what, licence_of(corpora), clips)
    assert (folder / "README.md").read_text("utf-8").startswith(generated)


def test_a_card_of_left_out_corpora_says_so():
    text = card(predictions(corpora=2), split="corpus", folds=2, coverage=COVERAGE, abstain_below=0.45)
    assert "each was left out whole" in text
    assert "this model recommends **0.45**, the lowest value" in text
    assert "| 0.50 | 0.40 | 0.75 |" in text
    assert "--split corpus --seed 0  --out" not in text
    assert "--split corpus --seed 0 --out OUT" in text
