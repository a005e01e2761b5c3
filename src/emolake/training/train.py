"""`emolake train`: part the clips, fit, calibrate, and write a model folder with its figures and its card."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, JsonValue

from emolake.errors import ConfigurationError
from emolake.evaluation.dataset import Clip, Skipped, data_hash, load_clips, read_dataset
from emolake.evaluation.metrics import expected_calibration_error, fit_temperature
from emolake.evaluation.results import Answers, figures, scores, write_results
from emolake.models.registry import resolve_device
from emolake.training.folds import Part, plan_parts
from emolake.training.model_card import licence_of, model_card
from emolake.training.trainer import (
    Corpus,
    Facts,
    Fitted,
    Hearing,
    HistoryRow,
    changed_options,
    find_kind,
    with_options,
)
from emolake.training.training_run import Run

CARD_FILE = "README.md"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """Where the model lies, and what its answers to unheard clips say of it."""

    folder: Path
    labels: tuple[str, ...]
    results: dict[str, Any]  # as in results.json

    @property
    def uar(self) -> dict[str, float]:
        """Unweighted average recall on unheard clips, by corpus."""
        return {corpus: own["uar"] for corpus, own in self.results["per_corpus"].items()}


def train(
    *,
    model: str,
    data: Path,
    split: Literal["speaker", "random"] | str,
    out: Path,
    seed: int = 0,
    folds: int | None = None,
    options: Mapping[str, JsonValue] | None = None,
    recipe: BaseModel | None = None,
    device: str = "auto",
    workers: int | None = None,
    cache: Path | None = None,
    resume: bool = False,
    force: bool = False,
) -> TrainingResult:
    """Train `model` on `data` and write weights, configuration, card, figures and predictions into `out`.

    With several folds every clip is answered once by a fit that did not hear it (nor, if split by speaker, its
    speaker), the figures and the temperature are of these answers, and the weights are of one more fit on all clips.
    With one, the weights are of the training part, the temperature is of the validation part, and the figures are of
    the test part.

    Args:
        model: one of `emolake.training.trainer.KINDS`.
        data: see `emolake.evaluation.dataset.read_dataset`.
        split: by speaker, or at random, which leaks voices.
        out: folder to write.
        seed: decides everything that is drawn; on the same kind of processor the weights are the same again.
        folds: of the cross-validation; 1 for a single split, the kind's own when left out.
        options: of the recipe, by dotted name: `{"loop.epochs": 3}`.
        recipe: replaces the one that `model` names.
        device: auto, cpu, cuda.
        workers: processes for kinds that train several networks side by side; their number changes no weight.
        cache: folder for features, to be shared by trainings.
        resume: go on with the training in `out` that was killed; the outcome is as if it had not been.
        force: replace the training in `out`.

    Raises:
        ConfigurationError: model, split, data, options or folder are not what can be trained.
    """
    kind = find_kind(model)
    recipe = with_options(model, recipe or kind.recipe, options or {})
    folds = kind.folds if folds is None else folds
    run = Run.open(
        out,
        resume=resume,
        force=force,
        seed=seed,
        device=resolve_device(device),
        workers=workers,
        cache=cache,
    )
    listed = read_dataset(data)
    plan = partial(plan_parts, split=split, folds=folds, seed=seed, validates=kind.validates)
    plan(listed)  # refuses what cannot be parted before hours of decoding
    corpus, skipped = _load(listed, kind.hearing(recipe), data)
    parts = plan(corpus.clips)
    _check_heard(corpus, parts[-1], data)
    record: dict[str, JsonValue] = {
        "model": model,
        "split": split,
        "seed": seed,
        "folds": folds,
        "data_sha256": data_hash(corpus.clips, corpus.waves),
        "recipe": recipe.model_dump(mode="json"),
    }
    with run.held():
        run.begin({**record, "device": run.device}, resume=resume)
        log.info("%s: %d clips, %d left out, split by %s", model, len(corpus.clips), len(skipped), split)
        for skip in skipped:
            log.warning("left out: %s (%s)", skip.name, skip.reason)
        if split == "random":
            log.warning("the split is random: speakers are in training and in the test, which flatters")
        fits = kind.fit(recipe, corpus, parts, run)
        members, answers, temperature, calibration = _answers(corpus, parts, fits)
        facts = Facts(
            labels=corpus.labels,
            temperature=temperature,
            licence=licence_of({clip.corpus for clip in corpus.clips}),
            training={
                **record,
                "speakers": _speakers(corpus, parts[-1]),
                "torch": torch.__version__,
                "emolake": version("emolake"),
            },
        )
        weights = kind.write(recipe, fits[-1], out, facts)
        results = {
            **{name: value for name, value in record.items() if name != "recipe"},
            "options": changed_options(recipe, kind.recipe),
            "device": run.device,
            "members": len(members),
            "parameters": fits[-1].parameters,
            "torch": torch.__version__,
            "emolake": version("emolake"),
            "clips_by_part": _clips_by_part(parts),
            "speakers_leak": split == "random",
            "skipped": [{"path": skip.name, "reason": skip.reason} for skip in skipped],
            "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            **_figures(members, answers),
            "temperature": temperature,
            "calibration_error": calibration,
        }
        history: list[HistoryRow] = [row for fit in fits for row in fit.history]
        write_results(out, results, answers, [dict(row) for row in history])
        card = model_card(results, kind.describe(recipe, fits[-1]), facts.licence, corpus.clips)
        (out / CARD_FILE).write_text(card, "utf-8")
        log.info("unweighted average recall %.4f, weights %s", results["uar"], results["weights_sha256"])
        run.finish()
    return TrainingResult(out, corpus.labels, results)


def _load(listed: Sequence[Clip], hearing: Hearing, data: Path) -> tuple[Corpus, list[Skipped]]:
    """Decode the clips, cut the long ones, and leave out those that are broken or too short."""
    clips, waves, skipped = load_clips(listed, sampling_rate=hearing.sampling_rate)
    kept: list[Clip] = []
    heard: list[np.ndarray] = []
    for clip, whole in zip(clips, waves, strict=True):
        wave = whole[: hearing.max_samples]
        if len(wave) < hearing.min_samples:
            reason = f"it has {len(wave)} samples, expected {hearing.min_samples} or more"
            skipped.append(Skipped(clip.name, reason))
        else:
            kept.append(clip)
            heard.append(wave)
    labels = tuple(sorted({clip.emotion for clip in kept}))
    if len(labels) < 2:
        what = f"are of {labels[0]}" if labels else "are too short"
        raise ConfigurationError(f"all clips of {data} {what}; give clips of two emotions or more")
    targets = np.array([labels.index(clip.emotion) for clip in kept], dtype=np.int64)
    return Corpus(kept, heard, targets, labels), skipped


def _check_heard(corpus: Corpus, part: Part, data: Path) -> None:
    """Refuse a split whose written weights would have a label that they never heard."""
    missing = sorted(set(corpus.labels) - {corpus.labels[i] for i in corpus.targets[part.heard]})
    if missing:
        raise ConfigurationError(
            f"this split of {data} leaves no training clip of {', '.join(missing)}; give more speakers of it, "
            "another --seed, or leave the emotion out"
        )


def _answers(
    corpus: Corpus, parts: Sequence[Part], fits: Sequence[Fitted]
) -> tuple[np.ndarray, Answers, float, dict[str, float]]:
    """Put the answers to the tested clips together and calibrate them.

    Returns:
        Logits of each member [members, tested, labels], the calibrated answers, the temperature, and the expected
        calibration error before and after.
    """
    tested = [part for part in parts if len(part.test)]
    order = np.argsort(np.concatenate([part.test for part in tested]))
    members = np.concatenate(
        [
            fit.logits[:, len(part.validation) :]
            for part, fit in zip(parts, fits, strict=True)
            if len(part.test)
        ],
        axis=1,
    )[:, order]
    chosen = np.concatenate([part.test for part in tested])[order]
    numbers = np.concatenate([np.full(len(part.test), part.number) for part in tested])[order]
    logits, targets = members.mean(axis=0), corpus.targets[chosen]
    if len(parts) == 1:  # the figures are of the test part, so it must not calibrate
        part, own = parts[0], fits[0].logits[:, : len(parts[0].validation)].mean(axis=0)
        temperature = fit_temperature(own, corpus.targets[part.validation])
    else:
        temperature = fit_temperature(logits, targets)
    answers = Answers(
        tuple(corpus.clips[i] for i in chosen), corpus.labels, targets, logits / temperature, numbers
    )
    calibration = {
        "before": expected_calibration_error(logits, targets),
        "after": expected_calibration_error(answers.logits, targets),
    }
    return members, answers, temperature, calibration


def _figures(members: np.ndarray, answers: Answers) -> dict[str, Any]:
    """What results.json says of the answers, and of each member's own."""
    found = figures(answers)
    corpora = np.array([clip.corpus for clip in answers.clips])
    for corpus, own in found["per_corpus"].items():
        chosen = corpora == corpus
        of_corpus = answers.of(chosen)
        own["single_network_uar"] = [scores(replace(of_corpus, logits=one[chosen]))["uar"] for one in members]
    return found


def _speakers(corpus: Corpus, part: Part) -> list[JsonValue] | None:
    """The speakers that a fit learned from, or was stopped and calibrated by; None unless all are known."""
    known = {corpus.clips[i].speaker for i in (*part.heard, *part.validation)}
    return None if None in known else [*sorted(map(str, known))]


def _clips_by_part(parts: Sequence[Part]) -> list[dict[str, JsonValue]]:
    return [
        {
            "part": part.name,
            "heard": len(part.heard),
            "validation": len(part.validation),
            "test": len(part.test),
        }
        for part in parts
    ]
