"""`emolake train`: divide the clips, fit, calibrate, and write a model folder with its figures and its card."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from pydantic import JsonValue

from emolake.errors import ConfigurationError
from emolake.evaluation.dataset import Clip, Skipped, data_hash, load_clips, read_dataset
from emolake.evaluation.metrics import expected_calibration_error, fit_temperature
from emolake.evaluation.results import Predictions, figures, scores, write_results
from emolake.evaluation.training_audio import (
    HASHED_HZ,
    audio_hash,
    path_hash,
    same_audio,
    write_training_audio,
)
from emolake.messages import counted
from emolake.models.reliability import Split, write_reliability
from emolake.models.runtimes.devices import resolve_device
from emolake.options import Options
from emolake.training.folds import Fold, plan_folds, possible_folds
from emolake.training.model_card import licence_of, model_card
from emolake.training.reliability_figures import measured_reliability
from emolake.training.trainer import (
    Corpus,
    FitResult,
    InputSpec,
    ModelMetadata,
    changed_options,
    find_trainer,
    with_options,
)
from emolake.training.training_run import TrainingRun

CARD_FILE = "README.md"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """The folder of the model, and the figures of its predictions for clips that did not train them."""

    folder: Path
    labels: tuple[str, ...]
    results: dict[str, Any]  # as in results.json


@dataclass(frozen=True)
class _TestPredictions:
    """The predictions for all test clips, before and after calibration."""

    members: np.ndarray
    """Logits [members, tested, labels] of each network, not calibrated."""
    predictions: Predictions
    """Of the averaged and calibrated logits."""
    temperature: float
    calibration: dict[str, float]
    """Expected calibration error before and after."""


def train(
    *,
    model: str,
    data: Path,
    split: Literal["speaker", "corpus", "random"] | str,
    out: Path,
    seed: int = 0,
    folds: int | None = None,
    groups: Sequence[Sequence[str]] | None = None,
    options: Mapping[str, JsonValue] | None = None,
    recipe: Options | None = None,
    device: str = "auto",
    workers: int | None = None,
    cache: Path | None = None,
    resume: bool = False,
    force: bool = False,
) -> TrainingResult:
    """Train `model` on `data` and write weights, configuration, card, figures and predictions into `out`.

    With several folds, or split by corpus, every clip is predicted once by a fit whose training clips did not include
    it (nor its speaker or its corpus, by which they were split), the figures and the temperature are of these
    predictions, and the weights are of one more fit on all clips. With one fold, the weights are of the training
    clips, the temperature is of the validation clips, and the figures are of the test clips.

    Args:
        model: one of `emolake.training.trainer_names.TRAINERS`.
        data: see `emolake.evaluation.dataset.read_dataset`.
        split: by speaker; by corpus, each left out whole, as new data are; or at random, which leaks voices.
        out: folder to write.
        seed: decides everything that is drawn; on the same kind of processor the weights are the same again.
        folds: of the cross-validation; 1 for a single split, the trainer's own when left out.
        groups: the speakers whom each fold of the cross-validation tests, of a published protocol; instead of `folds`.
        options: of the recipe, by dotted name: `{"loop.epochs": 3}`.
        recipe: replaces the one that `model` names.
        device: auto, cpu, cuda.
        workers: processes for trainers that train several networks side by side; their number changes no weight.
        cache: folder for features, to be shared by trainings.
        resume: go on with the training in `out` that was killed; the result is as if it had not been.
        force: replace the training in `out`.

    Raises:
        ConfigurationError: model, split, data, options or folder are not what can be trained.
    """
    trainer = find_trainer(model)
    recipe = with_options(model, recipe or trainer.recipe, options or {})
    run = TrainingRun.open(
        out,
        resume=resume,
        force=force,
        seed=seed,
        device=resolve_device(device),
        workers=workers,
        cache=cache,
    )
    listed = read_dataset(data)
    usual = trainer.default_folds
    if groups is not None:
        if folds is not None:
            raise ConfigurationError(
                f"both {folds} folds and groups of speakers were asked; give one of them"
            )
        folds = len(groups)

    def number_of_folds(clips: Sequence[Clip]) -> int:
        return possible_folds(clips, split=split, wanted=usual) if folds is None else folds

    def plan(clips: Sequence[Clip]) -> tuple[Fold, ...]:
        return plan_folds(
            clips, split=split, folds=number_of_folds(clips), seed=seed, validates=trainer.validates(recipe),
            groups=groups,
        )  # fmt: skip

    plan(listed)  # refuses what cannot be divided before hours of decoding
    corpus, hashes, skipped = _load(listed, trainer.input_spec(recipe), data)
    planned = plan(corpus.clips)
    _check_labels(corpus, planned[-1], data)
    leaking = _leaking_audio(corpus.clips, hashes, planned)
    record: dict[str, JsonValue] = {
        "model": model,
        "split": split,
        "seed": seed,
        "folds": number_of_folds(corpus.clips),
        **({} if groups is None else {"groups": [[*group] for group in groups]}),
        "data_sha256": data_hash(corpus.clips, corpus.waves),
        "recipe": recipe.model_dump(mode="json"),
    }
    with run.locked():
        run.begin({**record, "device": run.device}, resume=resume)
        log.info(
            "%s: %s, %d left out, split by %s", model, counted(len(corpus.clips), "clip"), len(skipped), split
        )
        for skip in skipped:
            log.warning("left out: %s (%s)", skip.name, skip.reason)
        used = number_of_folds(corpus.clips)
        if split == "speaker" and used < usual and folds is None:
            log.info("%s instead of %d, because there are no more speakers", counted(used, "fold"), usual)
        if split == "random":
            log.warning(
                "the split is random: speakers are in training and in the test, which flatters the figures"
            )
        for one, other in leaking:
            log.warning("%s and %s are the same audio, and one trains what the other tests", one, other)
        fits = trainer.fit(recipe, corpus, planned, run)
        tested = _test_predictions(corpus, planned, fits)
        metadata = ModelMetadata(
            labels=corpus.labels,
            temperature=tested.temperature,
            licence=licence_of({clip.corpus for clip in corpus.clips}),
            training={
                **record,
                "speakers": _speakers(corpus, planned[-1]),
                "torch": torch.__version__,
                "emolake": version("emolake"),
            },
        )
        weights = trainer.write(recipe, fits[-1], out, metadata)
        chosen = (hashes[i] for i in (*planned[-1].train, *planned[-1].validation))
        write_training_audio(out, chosen)
        reliability = measured_reliability(tested.predictions, cast("Split", split))
        write_reliability(out, reliability)
        results = {
            **{name: value for name, value in record.items() if name != "recipe"},
            "options": changed_options(recipe, trainer.recipe),
            "device": run.device,
            "members": len(tested.members),
            "parameters": fits[-1].parameters,
            "torch": torch.__version__,
            "emolake": version("emolake"),
            "clips_by_part": _clips_by_fold(planned),
            "speakers_leak": split == "random",
            "skipped": [{"path": skip.name, "reason": skip.reason} for skip in skipped],
            "weights_sha256": _sha256(weights),
            **_figures(tested),
            "temperature": tested.temperature,
            "calibration_error": tested.calibration,
            "abstain_below": reliability.abstain_below,
            "coverage": [point.model_dump() for point in reliability.coverage],
        }
        history = [row for fit in fits for row in fit.history]
        write_results(out, results, tested.predictions, [dict(row) for row in history])
        card = model_card(results, trainer.describe(recipe, fits[-1]), metadata.licence, corpus.clips)
        (out / CARD_FILE).write_text(card, "utf-8")
        log.info("unweighted average recall %.4f, weights %s", results["uar"], results["weights_sha256"])
        run.finish()
    return TrainingResult(out, corpus.labels, results)


def _sha256(files: Sequence[Path]) -> str:
    """Return the hash of the contents of some files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _load(
    listed: Sequence[Clip], input_spec: InputSpec, data: Path
) -> tuple[Corpus, list[str | None], list[Skipped]]:
    """Decode the clips, hash them, cut the long ones, and leave out those that are broken or too short."""
    clips, decoded, skipped = load_clips(listed, sampling_rate=input_spec.sampling_rate)
    kept: list[Clip] = []
    waves: list[np.ndarray] = []
    hashes: list[str | None] = []
    for clip, whole in zip(clips, decoded, strict=True):
        wave = whole[: input_spec.max_samples]
        if len(wave) < input_spec.min_samples:
            reason = f"it has {counted(len(wave), 'sample')}, expected {input_spec.min_samples} or more"
            skipped.append(Skipped(clip.name, reason))
        else:
            kept.append(clip)
            waves.append(wave)
            same_rate = input_spec.sampling_rate == HASHED_HZ
            hashes.append(audio_hash(whole) if same_rate else path_hash(clip.path))
    labels = tuple(sorted({clip.emotion for clip in kept}))
    if len(labels) < 2:
        what = f"are of {labels[0]}" if labels else "are too short"
        raise ConfigurationError(f"all clips of {data} {what}; give clips of two emotions or more")
    targets = np.array([labels.index(clip.emotion) for clip in kept], dtype=np.int64)
    return Corpus(kept, waves, targets, labels), hashes, skipped


def _leaking_audio(
    clips: Sequence[Clip], hashes: Sequence[str | None], folds: Sequence[Fold]
) -> list[tuple[Path, Path]]:
    """Return each two clips of one audio that a random split divides.

    Raises:
        ConfigurationError: the data name two speakers for one audio.
    """
    divided = []
    for first, second in same_audio(hashes):
        one, other = clips[first], clips[second]
        if one.speaker and other.speaker and one.speaker != other.speaker:
            raise ConfigurationError(
                f"{one.path} and {other.path} are the same audio, and the data name two speakers for it, "
                f"{one.speaker} and {other.speaker}, so one voice would be in training and in the test; correct the "
                "speaker, or leave one of the two out"
            )
        if any(fold.part_of(first) != fold.part_of(second) for fold in folds):
            divided.append((one.path, other.path))
    return divided


def _check_labels(corpus: Corpus, fold: Fold, data: Path) -> None:
    """Refuse a split whose written weights would have a label without any training clip."""
    missing = sorted(set(corpus.labels) - {corpus.labels[i] for i in corpus.targets[fold.train]})
    if missing:
        raise ConfigurationError(
            f"this split of {data} leaves no training clip of {', '.join(missing)}; give more speakers of it, "
            "another --seed, or leave the emotion out"
        )


def _test_predictions(corpus: Corpus, folds: Sequence[Fold], fits: Sequence[FitResult]) -> _TestPredictions:
    """Put the predictions for the test clips together, in the order of the corpus, and calibrate them."""
    pairs = [(fold, fit) for fold, fit in zip(folds, fits, strict=True) if len(fold.test)]
    order = np.argsort(np.concatenate([fold.test for fold, _ in pairs]))
    members = np.concatenate([fit.logits[:, len(fold.validation) :] for fold, fit in pairs], axis=1)[:, order]
    chosen = np.concatenate([fold.test for fold, _ in pairs])[order]
    numbers = np.concatenate([np.full(len(fold.test), fold.number) for fold, _ in pairs])[order]
    logits, targets = members.mean(axis=0), corpus.targets[chosen]
    if len(folds) == 1:  # the figures are of the test clips, so these must not calibrate
        fold, own = folds[0], fits[0].logits[:, : len(folds[0].validation)].mean(axis=0)
        temperature = fit_temperature(own, corpus.targets[fold.validation])
    else:
        # An emotion without a clip in a fold's training is missed however sure the answer: no temperature helps it.
        possible = np.concatenate(
            [np.isin(corpus.targets[fold.test], corpus.targets[fold.train]) for fold, _ in pairs]
        )[order]
        temperature = fit_temperature(logits[possible], targets[possible])
    predictions = Predictions(
        tuple(corpus.clips[i] for i in chosen), corpus.labels, targets, logits / temperature, numbers
    )
    calibration = {
        "before": expected_calibration_error(logits, targets),
        "after": expected_calibration_error(predictions.logits, targets),
    }
    return _TestPredictions(members, predictions, temperature, calibration)


def _figures(tested: _TestPredictions) -> dict[str, Any]:
    """Return the figures of the predictions as results.json holds them, and of each member by itself."""
    found = figures(tested.predictions)
    corpora = np.array([clip.corpus for clip in tested.predictions.clips])
    for corpus, own in found["per_corpus"].items():
        chosen = corpora == corpus
        of_corpus = tested.predictions.subset(chosen)
        own["single_network_uar"] = [
            scores(replace(of_corpus, logits=one[chosen]))["uar"] for one in tested.members
        ]
    return found


def _speakers(corpus: Corpus, fold: Fold) -> list[JsonValue] | None:
    """Return the speakers that trained, stopped or calibrated a fit; None unless all are known."""
    known = {corpus.clips[i].speaker for i in (*fold.train, *fold.validation)}
    return None if None in known else [*sorted(map(str, known))]


def _clips_by_fold(folds: Sequence[Fold]) -> list[dict[str, JsonValue]]:
    """Return the number of clips of each fold, under the names of results.json."""
    return [
        {
            "part": fold.name,
            "heard": len(fold.train),
            "validation": len(fold.validation),
            "test": len(fold.test),
        }
        for fold in folds
    ]
