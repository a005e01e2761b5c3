"""`emolake train`: cross-validate a recipe, train it on all clips, and write a model folder with its card."""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import save_file

from emolake.errors import ConfigurationError
from emolake.models.spectrogram_cnn import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    FeatureOptions,
    NetworkOptions,
    SpectrogramCnnOptions,
    state_to_tensors,
)
from emolake.training.cache import build_cache
from emolake.training.card import licence_of, model_card
from emolake.training.dataset import Clip, data_hash, load_clips, read_dataset, require_speakers
from emolake.training.jobs import Job, Work, run_jobs
from emolake.training.loop import LoopOptions
from emolake.training.metrics import expected_calibration_error, fit_temperature
from emolake.training.results import Answers, figures, write_results
from emolake.training.splits import random_folds, speaker_folds

CARD_FILE = "README.md"


class Recipe(BaseModel):
    """All that decides the weights, beside the data and the seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: FeatureOptions = Field(default=FeatureOptions(), description="What the networks see.")
    network: NetworkOptions = Field(default=NetworkOptions(), description="The size of each network.")
    loop: LoopOptions = Field(default=LoopOptions(), description="How each network is trained.")
    members: int = Field(
        default=3, ge=1, description="Networks that are trained, and whose logits are averaged."
    )


RECIPES = {
    "logmel_cnn": Recipe(),
    "mfcc_cnn": Recipe(features=FeatureOptions(kind="mfcc")),
}


@dataclass(frozen=True)
class TrainingResult:
    """Where the model lies, and what cross-validation says of it."""

    folder: Path
    labels: tuple[str, ...]
    results: dict[str, Any]  # as in results.json

    @property
    def uar(self) -> dict[str, float]:
        """Unweighted average recall of the averaged networks on unheard clips, by corpus."""
        return {corpus: own["uar"] for corpus, own in self.results["per_corpus"].items()}


def train(
    *,
    model: str,
    data: Path,
    split: Literal["speaker", "random"] | str,
    out: Path,
    seed: int = 0,
    epochs: int | None = None,
    folds: int = 4,
    workers: int | None = None,
    recipe: Recipe | None = None,
) -> TrainingResult:
    """Train `model` on `data` and write weights, configuration, card, figures and predictions into `out`.

    Every clip is answered once by networks that did not hear it (nor, if split by speaker, its speaker): the
    figures are of these answers, over all labels of the data. The weights are then trained on all clips by
    the same recipe. `workers` processes train side by side, one thread each (None: one for every processor);
    their number changes no weight. `recipe` replaces the one that `model` names.

    Raises:
        ConfigurationError: model, split or data are not what can be trained.
    """
    recipe = recipe or _recipe(model)
    if epochs is not None:
        recipe = recipe.model_copy(update={"loop": recipe.loop.model_copy(update={"epochs": epochs})})
    recipe = Recipe.model_validate(recipe.model_dump())  # model_copy checks nothing
    listed = read_dataset(data)
    _fold_of_clips(listed, split, folds, seed)  # refuses what cannot be split before hours of decoding
    clips, waves, skipped = load_clips(listed, sampling_rate=recipe.features.mel.sampling_rate)
    fold_of = _fold_of_clips(clips, split, folds, seed)
    labels = tuple(sorted({clip.emotion for clip in clips}))
    if len(labels) < 2:
        raise ConfigurationError(
            f"all clips of {data} are of {labels[0]}; give clips of two emotions or more"
        )
    targets = np.array([labels.index(clip.emotion) for clip in clips], dtype=np.int64)

    with tempfile.TemporaryDirectory(prefix="emolake-train-") as scratch:
        cache = Path(scratch)
        sizes = [len(wave) for wave in waves]
        build_cache(cache, waves, recipe.features, warps=recipe.loop.augment.warps, sizes=sizes)
        work = Work(
            cache=cache,
            targets=targets,
            strata=tuple(f"{clip.corpus} {clip.emotion}" for clip in clips),
            labels=len(labels),
            features=recipe.features,
            network=recipe.network,
            loop=recipe.loop,
        )
        done = run_jobs(work, _jobs(fold_of, folds, recipe.members, seed), workers=workers)

    member_logits = np.zeros((recipe.members, len(clips), len(labels)))
    for job, outcome in done:
        if len(job.held_out):
            member_logits[job.member, job.held_out] = outcome.logits
    states = [outcome.state for job, outcome in done if not len(job.held_out)]

    out.mkdir(parents=True, exist_ok=True)
    save_file(state_to_tensors(states), out / WEIGHTS_FILE)
    found, answers = _figures(member_logits, targets, clips, labels, fold_of)
    results = {
        "model": model,
        "split": split,
        "seed": seed,
        "folds": folds,
        "members": recipe.members,
        "parameters": sum(value.numel() for value in states[0].values() if value.is_floating_point()),
        "torch": torch.__version__,
        "skipped": [{"path": skip.name, "reason": skip.reason} for skip in skipped],
        "data_sha256": data_hash(clips, waves),
        "weights_sha256": hashlib.sha256((out / WEIGHTS_FILE).read_bytes()).hexdigest(),
        **found,
    }
    options = SpectrogramCnnOptions(
        labels=labels,
        sampling_rate=recipe.features.mel.sampling_rate,
        features=recipe.features,
        network=recipe.network,
        members=recipe.members,
        temperature=results["temperature"],
        licence=licence_of({clip.corpus for clip in clips}),
        training={
            "recipe": recipe.loop.model_dump(mode="json"),
            **{name: results[name] for name in ("model", "split", "seed", "folds", "data_sha256", "torch")},
        },
    )
    (out / CONFIG_FILE).write_text(options.model_dump_json(indent=2) + "\n", "utf-8")
    write_results(out, results, answers, [])
    (out / CARD_FILE).write_text(model_card(results, options, clips), "utf-8")
    return TrainingResult(out, labels, results)


def _recipe(model: str) -> Recipe:
    if model not in RECIPES:
        raise ConfigurationError(f"there is no model {model!r} to train; known are {', '.join(RECIPES)}")
    return RECIPES[model]


def _fold_of_clips(clips: Sequence[Clip], split: str, folds: int, seed: int) -> np.ndarray:
    if split == "speaker":
        strata = [
            (f"{clip.corpus} {clip.emotion}", f"{clip.corpus} {clip.sex}", clip.corpus) for clip in clips
        ]
        return speaker_folds(require_speakers(clips), strata, folds=folds, seed=seed)
    if split == "random":
        return random_folds([clip.emotion for clip in clips], folds=folds, seed=seed)
    raise ConfigurationError(f"there is no split {split!r}; ask for speaker or random")


def _jobs(fold_of: np.ndarray, folds: int, members: int, seed: int) -> list[Job]:
    """One network of each fold and member, and one of each member on all clips."""
    jobs = []
    for fold in range(folds + 1):  # the last one holds no clip out
        for member in range(members):
            own = int(np.random.SeedSequence([seed, fold, member]).generate_state(1)[0])
            name = f"fold {fold + 1}/{folds}" if fold < folds else "all clips"
            heard, held_out = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
            jobs.append(Job(f"{name}, network {member + 1}/{members}", member, own, heard, held_out))
    return jobs


def _figures(
    member_logits: np.ndarray,
    targets: np.ndarray,
    clips: Sequence[Clip],
    labels: tuple[str, ...],
    fold_of: np.ndarray,
) -> tuple[dict[str, Any], Answers]:
    """What results.json says of the answers to unheard clips: [members, N, labels] logits against [N]
    truths."""
    logits = member_logits.mean(axis=0)
    temperature = fit_temperature(logits, targets)
    answers = Answers(tuple(clips), labels, targets, logits / temperature, fold_of)
    found = figures(answers)
    corpora = np.array([clip.corpus for clip in clips])
    for corpus, own in found["per_corpus"].items():
        of_corpus = answers.of(corpora == corpus)
        own["single_network_uar"] = [
            figures(replace(of_corpus, logits=one[corpora == corpus]))["uar"] for one in member_logits
        ]
    found["temperature"] = temperature
    found["calibration_error"] = {
        "before": expected_calibration_error(logits, targets),
        "after": found["expected_calibration_error"],
    }
    return found, answers
