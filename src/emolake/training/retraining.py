"""Retraining: a new model beside the current one, compared on clips that neither has seen, and used by nobody yet."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue

from emolake.errors import ConfigurationError
from emolake.evaluation.compare import Comparison, Difference, compare, write_comparison
from emolake.evaluation.evaluate import evaluate
from emolake.messages import counted
from emolake.settings import Settings
from emolake.training.train import train

MODEL_FOLDER = "model"
VERDICT_FILE = "verdict.json"
_FEWEST_SPEAKERS = 5
_NEW, _CURRENT, _COMPARISON = "new", "current", "comparison"


@dataclass(frozen=True)
class Retraining:
    """A model that was trained to replace the current one, and whether it should."""

    folder: Path
    """Holds `model`, the figures of both on the test clips, `comparison` and `verdict.json`."""
    current: str
    """Name of the model that it was compared with."""
    verdict: Literal["better", "not better", "undecided"]
    reason: str
    comparison: Comparison

    @property
    def model(self) -> Path:
        """The folder of the new model."""
        return self.folder / MODEL_FOLDER

    @property
    def remedy(self) -> str:
        """What to do with it."""
        if self.verdict == "better":
            return (
                f'to use it, name it in the configuration: [models.retrained] path = "{self.model.resolve()}", and '
                f'[inference] model = "retrained"; the next runs analyse their days again'
            )
        return f"{self.current} stays in use; nothing has to be done"


def retrain(
    settings: Settings,
    *,
    model: str,
    data: Path,
    test: Path,
    out: Path,
    current: str | None = None,
    least_gain: float = 0.0,
    split: str = "speaker",
    seed: int = 0,
    folds: int | None = None,
    options: Mapping[str, JsonValue] | None = None,
    device: str = "auto",
) -> Retraining:
    """Train a model into a new folder below `out`, and compare it with the current one; the configuration stays.

    It is better where the 95 % interval of its gain in unweighted average recall lies above `least_gain`, and undecided
    where test clips trained one of the two, since such figures say how well it remembers, and where they are of fewer
    than five speakers: a bootstrap over so few draws the same ones again and again, and its interval is too narrow.

    Args:
        settings: say which model is the current one.
        model: what to train, as `emolake train --model` has it.
        data: labelled clips to train with; see `emolake.evaluation.dataset.read_dataset`.
        test: labelled clips to compare with, of other speakers.
        out: folder, in which each retraining gets one of its own, named after its time.
        current: a name of the configuration, or a folder; the one of [inference] when left out.
        least_gain: what a new model has to gain in unweighted average recall to be worth the change.
        split: see `emolake.training.train.train`, as for the following.
        seed: fixes what is drawn.
        folds: of the cross-validation.
        options: of the recipe.
        device: auto, cpu, cuda.

    Raises:
        ConfigurationError: a model, a list of clips or an option is wrong.
    """
    entry = settings.registry.entry_or_folder(current)
    if not test.exists():  # before hours of training
        raise ConfigurationError(
            f"there is no {test}; give labelled clips that the new model does not train with"
        )
    folder = out / f"{datetime.now(settings.source.zone):%Y-%m-%dT%H%M%S}"
    train(
        model=model, data=data, split=split, out=folder / MODEL_FOLDER, seed=seed, folds=folds, options=options,
        device=device,
    )  # fmt: skip
    new = settings.registry.entry_or_folder(str(folder / MODEL_FOLDER))
    results = {
        name: evaluate(entry=each, settings=settings, data=test, out=folder / name)
        for name, each in ((_CURRENT, entry), (_NEW, new))
    }
    comparison = compare([folder / _CURRENT, folder / _NEW])
    write_comparison(comparison, folder / _COMPARISON)
    verdict, reason = judged(comparison.differences, results, least_gain)
    found = Retraining(folder, entry.name, verdict, reason, comparison)
    written = {"verdict": verdict, "reason": reason, "current": entry.name, "what_to_do": found.remedy}
    (folder / VERDICT_FILE).write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return found


def judged(
    differences: tuple[Difference, ...], results: Mapping[str, Mapping[str, Any]], least_gain: float
) -> tuple[Literal["better", "not better", "undecided"], str]:
    """Return whether a new model is better than the current one, and why.

    Args:
        differences: of the new one to the current one, on the same clips; empty where there are none.
        results: figures of both by name, with how many of the clips trained the model.
        least_gain: what has to be gained in unweighted average recall.
    """
    trained = [name for name, figures in results.items() if figures["clips_in_training"]]
    if trained:
        return "undecided", f"test clips trained the {' and the '.join(trained)} model; give others"
    if not differences:
        return "undecided", "the two models did not predict the same test clips"
    (difference,) = differences
    if difference.speakers is not None and difference.speakers < _FEWEST_SPEAKERS:
        return "undecided", (
            f"{difference.sentence()}; the test clips are of {counted(difference.speakers, 'speaker')}, give those of "
            f"{_FEWEST_SPEAKERS} or more"
        )
    if difference.uar[1] > least_gain:
        return "better", difference.sentence()
    return "not better", f"{difference.sentence()}; a gain of more than {least_gain:g} was asked for"
