"""Networks trained on features that are computed once: of frozen encoders, cepstra, transcripts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import JsonValue
from torch import nn

from emolake.models.feature_cache import FeatureCache
from emolake.models.threads import one_thread
from emolake.training.folds import Part
from emolake.training.gradient_training import OptimiseOptions, answers, fit
from emolake.training.seeds import seeded
from emolake.training.trainer import Corpus, Hearing, HistoryRow
from emolake.training.training_bar import training_bar
from emolake.training.training_run import Run
from emolake.training.waves import WaveAugmentOptions, as_heard_in_training

_CACHE_BYTES = 1 << 40  # what a training computes is not to be swept while it goes on


@dataclass(frozen=True)
class Features:
    """Features of N clips."""

    plain: np.ndarray  # [N, ...] as inference hears them
    heard: np.ndarray  # [versions, N, ...] as training hears them


@dataclass(frozen=True)
class HeadFit:
    """A trained network on features that were standardised by mean and scale."""

    module: nn.Module
    mean: np.ndarray  # [...]
    scale: np.ndarray  # [...]
    logits: np.ndarray  # [asked, labels]
    history: list[HistoryRow]


def compute_features(
    corpus: Corpus,
    extract: Callable[[np.ndarray], np.ndarray],
    recipe: Mapping[str, JsonValue],
    augment: WaveAugmentOptions,
    hearing: Hearing,
    run: Run,
) -> Features:
    """Compute the features of every clip, and of its changed versions, or take them from the run's cache.

    `extract` takes a clip [samples] float32; `recipe` is whatever else decides what it returns.
    """
    cache = FeatureCache(run.features, recipe, max_bytes=_CACHE_BYTES)
    copies = augment.copies if augment.chance else 0
    plain: list[np.ndarray] = []
    versions: list[list[np.ndarray]] = [[] for _ in range(1 + copies)]
    with training_bar(len(corpus.waves), "clips") as bar:
        for index, wave in enumerate(corpus.waves):
            plain.append(cache.get(wave, extract))
            for number, own in enumerate(versions):
                generator = np.random.default_rng([run.seed, index, number]) if number else None
                heard = as_heard_in_training(wave, generator, augment, hearing)
                own.append(plain[-1] if heard is wave else cache.get(heard, extract))
            bar.advance("features", clips=1)
    return Features(np.stack(plain), np.stack([np.stack(own) for own in versions]))


def fit_heads(
    corpus: Corpus,
    features: Features,
    parts: Sequence[Part],
    run: Run,
    *,
    build: Callable[[], nn.Module],
    options: OptimiseOptions,
    standardise: bool,
) -> list[HeadFit]:
    """Train a network for each part, on one thread, so that the machine's size changes no weight.

    `build` makes a network from features [B, ...] to logits; with `standardise` it sees them less their mean over
    what the part hears, in standard deviations.
    """
    labels = len(corpus.labels)
    fits = []
    with one_thread(), training_bar(len(parts), "fits") as bar:
        for part in parts:
            own = features.heard[:, part.heard]
            mean = own.mean(axis=(0, 1)) if standardise else np.zeros(own.shape[2:], np.float32)
            scale = own.std(axis=(0, 1)) if standardise else np.ones(own.shape[2:], np.float32)
            scale = np.where(scale > 1e-6, scale, 1).astype(np.float32)
            with seeded(run.seed, part.number):
                module = build()
            learner = _FeatureLearner(module, features, mean.astype(np.float32), scale)
            history = fit(
                learner, corpus.targets, part.heard, part.validation, labels=labels, options=options,
                seed=fit_seed(run.seed, part), name=part.name, checkpoint=run.checkpoint(f"fit-{part.number}"),
            )  # fmt: skip
            logits = answers(learner, part.asked, batch=256, labels=labels)
            fits.append(HeadFit(module, learner.mean, scale, logits, history))
            bar.advance(part.name, clips=len(part.heard) * len(history), loss=history[-1]["train_loss"])
    return fits


def fit_seed(seed: int, part: Part) -> int:
    """The seed of a part's fit: each has its own."""
    return int(np.random.SeedSequence([seed, part.number]).generate_state(1)[0])


class _FeatureLearner:
    """See `emolake.training.gradient_training.Learner`."""

    device = "cpu"

    def __init__(self, module: nn.Module, features: Features, mean: np.ndarray, scale: np.ndarray) -> None:
        self.module = module
        self.mean = mean
        self._features = features
        self._scale = scale

    def logits(self, chosen: np.ndarray, generator: np.random.Generator | None) -> torch.Tensor:
        """See `emolake.training.gradient_training.Learner`."""
        if generator is None:
            values = self._features.plain[chosen]
        else:
            version = generator.integers(0, len(self._features.heard), size=len(chosen))
            values = self._features.heard[version, chosen]
        logits: torch.Tensor = self.module(torch.from_numpy((values - self.mean) / self._scale))
        return logits
