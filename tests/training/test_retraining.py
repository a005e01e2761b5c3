"""Retraining: what a new model has to show, and that it takes nobody's place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_clips import write_clips

from emolake.errors import ConfigurationError
from emolake.evaluation.compare import Difference
from emolake.messages import counted
from emolake.settings import Settings, load_settings
from emolake.training import retraining
from emolake.training.retraining import judged, retrain

from made_model import write_tiny_model

GAIN, NO_GAIN, LOSS = (0.10, 0.04, 0.16), (0.03, -0.02, 0.08), (-0.10, -0.16, -0.04)
NEITHER = {"current": {"clips_in_training": 0}, "new": {"clips_in_training": 0}}


def difference(uar: tuple[float, float, float], *, speakers: int | None = 5) -> Difference:
    return Difference("current", "new", 200, "speakers", speakers, uar, uar)


@pytest.mark.parametrize(
    ("uar", "least_gain", "verdict"),
    [
        (GAIN, 0.0, "better"),
        (GAIN, 0.03, "better"),
        (GAIN, 0.04, "not better"),
        (GAIN, 0.05, "not better"),
        (NO_GAIN, 0.0, "not better"),
        (LOSS, 0.0, "not better"),
    ],
)
def test_a_model_is_better_where_chance_would_not_make_it_so(
    uar: tuple[float, float, float], least_gain: float, verdict: str
) -> None:
    found, reason = judged((difference(uar),), NEITHER, least_gain)
    assert found == verdict
    assert f"unweighted average recall {uar[0]:+.3f}" in reason


@pytest.mark.parametrize(
    ("trained", "said"),
    [
        ({"current": 3, "new": 0}, "test clips trained the current model"),
        ({"current": 0, "new": 1}, "test clips trained the new model"),
        ({"current": 9, "new": 9}, "test clips trained the current and the new model"),
    ],
)
def test_figures_of_what_trained_a_model_decide_nothing(trained: dict[str, int], said: str) -> None:
    results = {name: {"clips_in_training": number} for name, number in trained.items()}
    verdict, reason = judged((difference(GAIN),), results, 0.0)
    assert verdict == "undecided"
    assert said in reason


@pytest.mark.parametrize("uar", [GAIN, NO_GAIN, LOSS])
@pytest.mark.parametrize("speakers", [1, 2, 4])
def test_few_speakers_decide_nothing(uar: tuple[float, float, float], speakers: int) -> None:
    verdict, reason = judged((difference(uar, speakers=speakers),), NEITHER, 0.0)
    assert verdict == "undecided"
    assert f"the test clips are of {counted(speakers, 'speaker')}, give those of 5 or more" in reason


def test_clips_of_unknown_speakers_decide_by_themselves() -> None:
    assert judged((difference(GAIN, speakers=None),), NEITHER, 0.0)[0] == "better"


def test_models_of_different_clips_decide_nothing() -> None:
    assert judged((), NEITHER, 0.0) == ("undecided", "the two models did not predict the same test clips")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_tiny_model(tmp_path / "tiny")
    config = tmp_path / "emolake.toml"
    config.write_text('[inference]\nmodel = "tiny"\n[models.tiny]\npath = "tiny"\n')
    return load_settings(config)


@pytest.mark.slow
def test_a_retraining_leaves_everything_in_its_folder_and_changes_nothing_else(
    tmp_path: Path, settings: Settings
) -> None:
    clips = write_clips(tmp_path / "clips")
    before = (tmp_path / "emolake.toml").read_text()
    found = retrain(
        settings, model="logmel_cnn", data=clips, test=clips, out=tmp_path / "out", folds=2,
        options={"loop.epochs": 1}, device="cpu",
    )  # fmt: skip
    assert found.verdict == "undecided"  # it was to be compared on what it has learnt from
    assert found.folder.parent == tmp_path / "out"
    names = {path.name for path in found.folder.iterdir()}
    assert names == {"model", "current", "new", "comparison", "verdict.json"}
    verdict = json.loads((found.folder / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["current"]) == ("undecided", "tiny")
    assert verdict["what_to_do"] == "tiny stays in use; nothing has to be done"
    assert (tmp_path / "emolake.toml").read_text() == before
    assert "| new |" in (found.folder / "comparison" / "compare.md").read_text()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda folder: {"test": folder / "none.csv"}, "none.csv; give labelled clips"),
        (lambda folder: {"current": "nobody"}, "nobody"),
    ],
)
def test_what_is_wrong_is_found_before_the_training(
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    wrong: Callable[[Path], dict[str, Any]],
    said: str,
) -> None:
    monkeypatch.setattr(retraining, "train", lambda **_: pytest.fail("it was trained"))
    clips = write_clips(tmp_path / "clips")
    asked: dict[str, Any] = {"model": "logmel_cnn", "data": clips, "test": clips, "out": tmp_path / "out"}
    with pytest.raises(ConfigurationError, match=said):
        retrain(settings, **asked | wrong(tmp_path))
