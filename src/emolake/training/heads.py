"""Networks trained on features that are computed once: of frozen encoders, cepstra, transcripts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import JsonValue
from torch import nn

from emolake.models.feature_cache import FeatureCache
from emolake.models.threads import one_thread
from emolake.training.epochs import HistoryRow
from emolake.training.folds import Fold, fold_seed
from emolake.training.gradient_training import fit, predict_logits
from emolake.training.optimise_options import OptimiseOptions
from emolake.training.seeds import seeded
from emolake.training.trainer import Corpus, InputSpec
from emolake.training.training_bar import training_bar
from emolake.training.training_run import TrainingRun
from emolake.training.waves import WaveAugmentOptions, augment_wave

_CACHE_BYTES = 1 << 40  # what a training computes must not be evicted while it goes on
_PREDICTED_AT_ONCE = 256
_PREPARED_AT_ONCE = 16  # clips, each with its changed versions


@dataclass(frozen=True)
class CorpusFeatures:
    """Features of N clips."""

    plain: np.ndarray  # [N, ...] of the clips as they are, as inference has them
    versions: (
        np.ndarray
    )  # [versions, N, ...] for training: of the clips without noise if asked, then of changed ones


@dataclass(frozen=True)
class HeadFit:
    """A trained network on features that were standardised by mean and scale."""

    module: nn.Module
    mean: np.ndarray  # [...]
    scale: np.ndarray  # [...]
    logits: np.ndarray  # [predicted, labels]
    history: list[HistoryRow]


def compute_features(
    corpus: Corpus,
    extract: Callable[[np.ndarray], np.ndarray],
    recipe: Mapping[str, JsonValue],
    augment: WaveAugmentOptions,
    input_spec: InputSpec,
    run: TrainingRun,
    *,
    prepare: Callable[[Sequence[np.ndarray]], None] = lambda waves: None,
) -> CorpusFeatures:
    """Compute the features of every clip, and of its changed versions, or take them from the run's cache.

    `extract` takes a clip [samples] float32, one at a time, so that no clip's features hang on who is beside it;
    `recipe` is whatever else decides what it returns. `prepare` gets the clips that it is about to take, some at once.
    """
    cache = FeatureCache(run.features, recipe, max_bytes=_CACHE_BYTES)
    copies = augment.copies if augment.chance else 0
    plain: list[np.ndarray] = []
    versions: list[list[np.ndarray]] = [[] for _ in range(1 + copies)]

    def changed(index: int, wave: np.ndarray, number: int) -> np.ndarray:
        generator = np.random.default_rng([run.seed, index, number]) if number else None
        return augment_wave(wave, generator, augment, input_spec)

    with training_bar(len(corpus.waves), "clips") as bar:
        for start in range(0, len(corpus.waves), _PREPARED_AT_ONCE):
            some = [
                (wave, [changed(index, wave, number) for number in range(1 + copies)])
                for index, wave in enumerate(corpus.waves[start : start + _PREPARED_AT_ONCE], start)
            ]
            prepare([each for wave, own in some for each in (wave, *own) if not cache.holds(each)])
            for wave, own in some:
                plain.append(cache.get(wave, extract))
                for made, version in zip(own, versions, strict=True):
                    version.append(plain[-1] if made is wave else cache.get(made, extract))
                bar.advance("features", clips=1)
    return CorpusFeatures(np.stack(plain), np.stack([np.stack(own) for own in versions]))


def fit_heads(
    corpus: Corpus,
    features: CorpusFeatures,
    folds: Sequence[Fold],
    run: TrainingRun,
    *,
    build: Callable[[], nn.Module],
    options: OptimiseOptions,
    standardise: bool,
) -> list[HeadFit]:
    """Train a network for each fold, on one thread, so that the machine's size changes no weight.

    `build` makes a network from features [B, ...] to logits; with `standardise` it sees them less their mean over
    the fold's training clips, in standard deviations.
    """
    labels = len(corpus.labels)
    fits = []
    with one_thread(), training_bar(len(folds), "fits") as bar:
        for fold in folds:
            own = features.versions[:, fold.train]
            mean = own.mean(axis=(0, 1)) if standardise else np.zeros(own.shape[2:], np.float32)
            scale = own.std(axis=(0, 1)) if standardise else np.ones(own.shape[2:], np.float32)
            scale = np.where(scale > 1e-6, scale, 1).astype(np.float32)
            with seeded(run.seed, fold.number):
                module = build()
            learner = _FeatureLearner(module, features, mean.astype(np.float32), scale)
            history = fit(
                learner, corpus.targets, fold.train, fold.validation, labels=labels, options=options,
                seed=fold_seed(run.seed, fold), name=fold.name, checkpoint=run.checkpoint(f"fit-{fold.number}"),
                corpora=corpus.corpora,
            )  # fmt: skip
            logits = predict_logits(learner, fold.predicted, batch=_PREDICTED_AT_ONCE, labels=labels)
            fits.append(HeadFit(module, learner.mean, scale, logits, history))
            bar.advance(fold.name, clips=len(fold.train) * len(history), loss=history[-1]["train_loss"])
    return fits


class _FeatureLearner:
    """A network on features. See `emolake.training.gradient_training.Learner`."""

    device = "cpu"
    pretrained: Sequence[nn.Parameter] = ()
    lengths = np.zeros(0)

    def __init__(
        self, module: nn.Module, features: CorpusFeatures, mean: np.ndarray, scale: np.ndarray
    ) -> None:
        self.module = module
        self.mean = mean
        self._features = features
        self._scale = scale

    def logits(self, chosen: np.ndarray, generator: np.random.Generator | None) -> torch.Tensor:
        """See `emolake.training.gradient_training.Learner`."""
        if generator is None:
            values = self._features.plain[chosen]
        else:
            version = generator.integers(0, len(self._features.versions), size=len(chosen))
            values = self._features.versions[version, chosen]
        logits: torch.Tensor = self.module(torch.from_numpy((values - self.mean) / self._scale))
        return logits
