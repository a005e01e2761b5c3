"""Train the shipped default and put it into the package, with a card that holds every figure of it.

python -m tools.default_model --data ../shared/data/manifest_all.csv --work runs/default \\
  --encoder ../shared/models/whisper-base-encoder

One training with `--split corpus` gives the weights and says what to expect of data unlike these. One with
`--split speaker --folds 1` for each of `--seeds` says what to expect of new speakers of the same corpora. The
temperature is fitted on both, since a model that is right about its confidence at home is far too sure abroad. What was
stopped is resumed, and what is done is not done again: less than two hours of two processor cores for the first run.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from bench.common import table
from bench.robustness import real_clips, share_kept
from emolake.evaluation.dataset import read_dataset
from emolake.evaluation.metrics import expected_calibration_error
from emolake.evaluation.results import PREDICTIONS_FILE, Predictions, figures, read_predictions
from emolake.models.inference import DEFAULT_MODEL, SHIPPED
from emolake.models.reliability import write_reliability
from emolake.training.model_card import licence_of, model_card
from emolake.training.reliability_figures import measured_reliability
from emolake.training.train import CARD_FILE, train
from emolake.training.trainer import FitResult, find_trainer, with_options

MODEL = "whisper_finetune"
_ENCODER = "encoder"
_COPIED = ("config.json", "model.safetensors", "training_audio.json")
_CLIPS = 2768
# The calibration errors that are aimed at: of new speakers of known corpora, and of corpora that were left out.
_AIM_AT_HOME, _AIM_ABROAD = 0.06, 0.15


def main(arguments: Sequence[str]) -> int:
    """Train, calibrate, measure, and write the folder; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="CSV of the clips of all corpora")
    parser.add_argument("--encoder", required=True, help="folder or hub id of whisper-base")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the trainings")
    parser.add_argument("--seeds", type=int, default=2, help="trainings that are tested on new speakers")
    parser.add_argument(
        "--workers", type=int, help="fits side by side; one for every processor when left out"
    )
    parser.add_argument("--clips", type=int, default=_CLIPS, help="clips that the changes are tried on")
    given = parser.parse_args(arguments)
    corpora = _trained(given, given.work / "corpora", split="corpus", seed=0)
    speakers = [
        _trained(given, given.work / f"speakers-{seed}", split="speaker", seed=seed, folds=1)
        for seed in range(given.seeds)
    ]
    _write(given, corpora, speakers)
    return 0


def _trained(given: argparse.Namespace, out: Path, **arguments: Any) -> Path:
    if not (out / "results.json").exists():
        train(
            model=MODEL, data=given.data, out=out, options={"encoder": given.encoder}, workers=given.workers,
            resume=(out / "checkpoints").exists(), **arguments,
        )  # fmt: skip
    return out


def _write(given: argparse.Namespace, corpora: Path, speakers: Sequence[Path]) -> None:
    """Write the folder of the package from the trainings."""
    folder = Path(str(files(SHIPPED[DEFAULT_MODEL])))
    (folder / _ENCODER).mkdir(exist_ok=True)
    for name in (*_COPIED, *(f"{_ENCODER}/{path.name}" for path in (corpora / _ENCODER).iterdir())):
        shutil.copyfile(corpora / name, folder / name)
    clips = read_dataset(given.data)
    abroad, results = _predictions(corpora, given.data), _results(corpora)
    at_home = [_predictions(run, given.data) for run in speakers]
    groups = [(own, _AIM_ABROAD) for own in _by_corpus(abroad)]
    groups += [(own, _AIM_AT_HOME) for each in at_home for own in _by_corpus(each)]
    temperature = temperature_for(groups)
    abroad, at_home = _divided(abroad, temperature), [_divided(each, temperature) for each in at_home]

    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["temperature"] = temperature
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    reliability = measured_reliability(abroad, "corpus")
    known = [own for each in at_home for own in measured_reliability(each, "speaker").held_out]
    write_reliability(folder, reliability.model_copy(update={"held_out": (*reliability.held_out, *known)}))
    found = figures(abroad)
    for corpus, own in found["per_corpus"].items():
        own["single_network_uar"] = results["per_corpus"][corpus]["single_network_uar"]
    results |= found
    alone = results["temperature"]
    results["temperature"] = temperature
    results["temperature_fitted_on"] = "chosen on left-out corpora and on new speakers as is said below"
    results["calibration_error"]["after"] = found["expected_calibration_error"]
    results["abstain_below"] = reliability.abstain_below
    results["coverage"] = [point.model_dump() for point in reliability.coverage]
    (folder / "results.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", "utf-8")

    trainer = find_trainer(MODEL)
    recipe = with_options(MODEL, trainer.recipe, results["options"])
    what = trainer.describe(recipe, FitResult(None, np.zeros(0), parameters=results["parameters"]))
    card = model_card(results, what, licence_of({clip.corpus for clip in clips}), clips)
    seeds = [_results(run)["seed"] for run in speakers]
    sections = [_on_new_speakers(at_home, seeds), _calibrated(temperature, alone), _changes(given.clips)]
    (folder / CARD_FILE).write_text("\n".join([card, *sections]), "utf-8")


def temperature_for(groups: Sequence[tuple[Predictions, float]]) -> float:
    """Return the divisor of the logits with the smallest mean calibration error of groups, each in units of its aim."""

    def error(log_temperature: float) -> float:
        scale = np.exp(log_temperature)
        errors = [expected_calibration_error(own.logits / scale, own.targets) / aim for own, aim in groups]
        return float(np.mean(errors))

    grid = np.linspace(np.log(0.5), np.log(3), 60)  # the error is not smooth
    best = grid[int(np.argmin([error(value) for value in grid]))]
    step = grid[1] - grid[0]
    found = minimize_scalar(error, bounds=(best - step, best + step), method="bounded")
    return float(np.exp(found.x if found.fun < error(best) else best))


def _on_new_speakers(runs: Sequence[Predictions], seeds: Sequence[int]) -> str:
    """Return the section on new speakers of the same corpora: mean and deviation over seeds."""
    each = [figures(run)["per_corpus"] for run in runs]
    rows = [
        (
            corpus,
            ", ".join(str(own[corpus]["clips"]) for own in each),
            _spread([own[corpus]["uar"] for own in each]),
            _spread([own[corpus]["of_own_labels"]["uar"] for own in each]),
            _spread([own[corpus]["expected_calibration_error"] for own in each]),
        )
        for corpus in each[0]
    ]
    named = ", ".join(map(str, seeds))
    which = (
        f"mean ± standard deviation over the seeds {named}, each of which draws other speakers"
        if len(seeds) > 1
        else f"of the seed {named}, and another one draws other speakers"
    )
    header = ("corpus", "clips of each seed", "UAR", "UAR over its own labels", "calibration error")
    return (
        "## New speakers of the same corpora\n\nThe same recipe, trained without the fifth of the speakers that tested "
        f"it and another that it kept for calibration, so on fewer than the shipped weights: {which}.\n\n"
        f"{table(header, rows)}\n\n```\nemolake train --model {MODEL} --data DATA --split speaker --folds 1 "
        "--seed SEED --out OUT\n```\n"
    )


def _calibrated(temperature: float, alone: float) -> str:
    return (
        "## How the temperature was chosen\n\nFitted on left-out corpora alone the confidence would be far too low for "
        "new speakers of known corpora, and fitted on those it would be far too high elsewhere. The temperature is the "
        "one with the smallest mean calibration error over all corpora, each left out whole once and tested by new "
        f"speakers once, in units of what is aimed at, {_AIM_ABROAD} and {_AIM_AT_HOME}: {temperature:.3f}, where "
        f"left-out corpora alone ask for {alone:.3f}.\n"
    )


def _changes(number: int) -> str:
    """Return the section on what a line adds to a recording."""
    clips, truth = real_clips(number)
    rows = [
        (change, f"{kept:.3f}", f"{right:.3f}")
        for change, (right, kept) in share_kept(DEFAULT_MODEL, clips, truth).items()
    ]
    return (
        f"## What changes of a recording do to an answer\n\n{len(clips)} clips of these corpora, which trained the "
        "weights: what counts here is the share whose label stays, and accuracy says nothing of new voices.\n\n"
        f"{table(('change', 'labels that stay', 'accuracy'), rows)}\n\n`python -m bench.robustness --size full` "
        "measures it.\n"
    )


def _results(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "results.json").read_text("utf-8"))
    return content


def _predictions(run: Path, data: Path) -> Predictions:
    """Return the predictions of a training, their logits as before calibration but for a constant of each clip."""
    clips = {clip.name: clip for clip in read_dataset(data)}
    return _divided(read_predictions(run / PREDICTIONS_FILE, clips), 1 / _results(run)["temperature"])


def _by_corpus(predictions: Predictions) -> list[Predictions]:
    corpora = np.array([clip.corpus for clip in predictions.clips])
    return [predictions.subset(corpora == name) for name in sorted(set(corpora.tolist()))]


def _divided(predictions: Predictions, temperature: float) -> Predictions:
    changed: Mapping[str, Any] = {**vars(predictions), "logits": predictions.logits / temperature}
    return Predictions(**changed)


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
