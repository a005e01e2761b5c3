"""The model card: tables that hold whatever the data are called, and the committed card in the generator's words."""

import re
from pathlib import Path

import numpy as np
import pytest
from made_predictions import predictions
from markdown_it import MarkdownIt

from emolake.evaluation.results import figures
from emolake.models import default
from emolake.training.model_card import licence_of, model_card
from emolake.training.trainer import FitResult
from emolake.training.trainers.spectrogram_trainer import LOGMEL


def card(made, *, what="A network.", licence="none", **changes):
    results = {
        "model": "logmel_cnn", "split": "speaker", "seed": 0, "folds": 4, "options": {}, "skipped": [],
        "data_sha256": "d", "weights_sha256": "w", "torch": "2", "temperature": 1.0,
        "calibration_error": {"before": 0.1, "after": 0.1}, **figures(made),
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
    assert len(tables(text)) == 5  # data, figures, two confusions, speakers
    assert all(len(set(widths)) == 1 for widths in tables(text))


def test_the_card_says_how_the_clips_were_split():
    assert "No figure is of a speaker in the training data of the networks that predicted" in card(
        predictions()
    )
    at_random = card(predictions(), split="random", folds=1)
    assert (
        "**The clips were split at random (one split into training, validation and test clips)" in at_random
    )


def wording(text):
    """Return the lines of a card without figures and hashes, and of its tables only the headers."""
    lines = text.splitlines()
    kept = [
        line
        for line, below in zip(lines, [*lines[1:], ""], strict=True)
        if not line.startswith("|") or below.startswith("| ---")
    ]
    kept = [re.sub(r"`[0-9a-f]{64}`", "HASH", line) for line in kept]
    kept = [re.sub(r"[a-z]+ \(\d\.\d+\)", "RECALL", line) for line in kept]
    return [re.sub(r"\d[\d.,]*(\+cpu)?", "N", line) for line in kept]


def test_the_committed_card_is_in_the_words_of_the_generator():
    """Nobody trains the default again for a word, so the words are changed in both places."""
    committed = (Path(default.__file__).parent / "README.md").read_text("utf-8")
    (listed,) = re.findall("- Labels: (.*)", committed)
    labels = listed.split(", ")
    corpora = {"corpus-0": "emodb", "corpus-1": "ravdess"}
    made = renamed(
        predictions(clips=180, corpora=2, speakers=24, labels=labels, words=labels),
        lambda name: corpora.get(name, name),
    )
    generated = card(
        made,
        what=LOGMEL.describe(LOGMEL.recipe, FitResult(None, np.zeros(0), parameters=150_923)),
        licence=licence_of(corpora.values()),
        data_sha256="0" * 64,
        weights_sha256="0" * 64,
        torch="2.13.0+cpu",
    )
    assert wording(committed) == wording(generated)
