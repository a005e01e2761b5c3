"""Training of one network, and its answers to clips."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from emolake.audio.features import band_centres_hz
from emolake.models.families.spectrogram_network import ClipFeatures, EmotionNetwork, clip_features
from emolake.models.families.spectrogram_options import FeatureOptions, NetworkOptions
from emolake.training.augment import AugmentOptions, choose_warps, crop_and_hide, disturb, mix, stretch
from emolake.training.spectrogram_store import FeatureCache

State = dict[str, torch.Tensor]


class LoopOptions(BaseModel):
    """How one network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(
        default=80, ge=1, description="Passes; a pass draws as many clips as there are, by weight."
    )
    batch: int = Field(default=32, ge=2, description="Clips per step.")
    learning_rate: float = Field(default=2e-3, gt=0, description="Highest rate of AdamW.")
    warm_up: float = Field(
        default=0.15, gt=0, lt=1, description="Share of the steps until it; a cosine falls after."
    )
    weight_decay: float = Field(default=0.05, ge=0, description="Of AdamW.")
    label_smoothing: float = Field(
        default=0.05, ge=0, lt=1, description="Share of the target spread over all labels."
    )
    clip_norm: float = Field(default=5.0, gt=0, description="Longest gradient.")
    average: float = Field(
        default=0.99, ge=0, lt=1, description="Decay per step of the averaged weights that result."
    )
    balance: float = Field(
        default=0.5, ge=0, le=1, description="0: clips drawn evenly; 1: corpus' classes evenly."
    )
    trim_db: tuple[float, float] = Field(
        default=(28.0, 42.0), description="Silence is cut at a random depth."
    )
    augment: AugmentOptions = Field(default=AugmentOptions(), description="Changes to the clips.")


@dataclass(frozen=True)
class EpochEnd:
    """An epoch that is over: its number from 1, mean loss, the rate it ended at, and the averaged weights."""

    epoch: int
    loss: float
    learning_rate: float
    averaged: State
    content: Mapping[str, Any]


def train_network(
    cache: FeatureCache,
    targets: np.ndarray,
    strata: Sequence[str],
    heard: np.ndarray,
    *,
    labels: int,
    features: FeatureOptions,
    network: NetworkOptions,
    options: LoopOptions,
    seed: int,
    on_epoch: Callable[[EpochEnd], None],
    resume: Mapping[str, Any] | None = None,
) -> State:
    """Train a network on the clips `heard` (indices into the cache) and return its averaged weights.

    `targets` [N] are label indices and `strata` [N] what is balanced. `on_epoch` gets each epoch's end, whose `content`
    is what `resume` takes to go on after it. The same seed gives the same weights on a processor with one thread.
    Raises FloatingPointError if the loss is not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = np.random.default_rng(seed)
        model = EmotionNetwork(network, rows=features.rows, labels=labels)
        _fit_scale(model, cache, heard, features)
        weights = _sampling_weights([strata[i] for i in heard], options.balance)
        steps = max(1, len(heard) // options.batch)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        # max(): the schedule needs a step on either side of its peak, also in the shortest of trials
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            options.learning_rate,
            total_steps=max(options.epochs * steps, math.ceil(2 / options.warm_up)),
            pct_start=options.warm_up,
        )
        averaged = {name: value.clone() for name, value in model.state_dict().items()}
        step = first = 0
        if resume is not None:
            first, step, averaged = resume["epoch"], resume["step"], resume["averaged"]
            model.load_state_dict(resume["model"])
            optimizer.load_state_dict(resume["optimizer"])
            schedule.load_state_dict(resume["schedule"])
            torch.set_rng_state(resume["torch_generator"])
            generator.bit_generator.state = json.loads(resume["generator"])
        for epoch in range(first + 1, options.epochs + 1):
            model.train()
            losses = []
            for chosen in generator.choice(heard, size=(steps, min(options.batch, len(heard))), p=weights):
                clips = training_batch(cache, chosen, features, options, generator)
                wanted = functional.one_hot(torch.from_numpy(targets[chosen]), labels).to(torch.float32)
                wanted = wanted * (1 - options.label_smoothing) + options.label_smoothing / labels
                clips, wanted = mix(clips, wanted, generator, options.augment)
                loss = functional.cross_entropy(model(clips), wanted)
                if not torch.isfinite(loss):
                    raise FloatingPointError(
                        f"the loss is {loss.item()} in epoch {epoch}; lower learning_rate"
                    )
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
                optimizer.step()
                schedule.step()
                step += 1
                # early on a shorter memory, or a short training would end near the random weights that it began with
                _average(averaged, model.state_dict(), min(options.average, step / (step + 9)))
                losses.append(loss.item())
            content = {
                "epoch": epoch, "step": step, "averaged": averaged, "model": model.state_dict(),
                "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
                "torch_generator": torch.get_rng_state(), "generator": json.dumps(generator.bit_generator.state),
            }  # fmt: skip
            rate = float(optimizer.param_groups[0]["lr"])
            on_epoch(EpochEnd(epoch, float(np.mean(losses)), rate, averaged, content))
    return averaged


def training_batch(
    cache: FeatureCache,
    chosen: Sequence[int] | np.ndarray,
    features: FeatureOptions,
    options: LoopOptions,
    generator: np.random.Generator,
) -> ClipFeatures:
    """The clips `chosen`, each changed at random, as a network sees them."""
    augment = options.augment
    pairs = []
    for index, warp in zip(chosen, choose_warps(generator, len(chosen), augment), strict=True):
        power, pitch = cache.clip(int(index), int(warp))
        pairs.append(stretch(power, pitch, float(np.exp(generator.uniform(-augment.tempo, augment.tempo)))))
    power, pitch, frames = _padded(pairs)
    hop_s = features.mel.hop / features.mel.sampling_rate
    power = disturb(power, frames, generator, augment, hop_s=hop_s, centres_hz=band_centres_hz(features.mel))
    cut = features.model_copy(update={"trim_db": generator.uniform(*options.trim_db)})
    return crop_and_hide(clip_features(power, pitch, frames, cut), generator, augment)


@torch.inference_mode()
def answers(
    state: State,
    cache: FeatureCache,
    asked: np.ndarray,
    *,
    labels: int,
    features: FeatureOptions,
    network: NetworkOptions,
) -> np.ndarray:
    """Logits [asked, labels] that a network gives to the clips `asked` as they are."""
    with torch.random.fork_rng(devices=[]):  # its first weights are drawn, and a training may be going on
        model = EmotionNetwork(network, rows=features.rows, labels=labels)
    model.load_state_dict(state)
    model.eval()
    logits = [
        model(_plain_features(cache, asked[start : start + 32], features))
        for start in range(0, len(asked), 32)
    ]
    return np.asarray(torch.cat(logits).numpy())


def _plain_features(cache: FeatureCache, indices: Iterable[int], features: FeatureOptions) -> ClipFeatures:
    power, pitch, frames = _padded([cache.plain(int(index)) for index in indices])
    return clip_features(power, pitch, frames, features)


def _padded(
    pairs: Sequence[tuple[torch.Tensor, torch.Tensor]],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Power [B, bands, T], pitch [B, 2, T] and frames [B] of single clips."""
    frames = torch.tensor([power.shape[1] for power, _ in pairs])
    power = nn.utils.rnn.pad_sequence([power.T for power, _ in pairs], batch_first=True).transpose(1, 2)
    pitch = nn.utils.rnn.pad_sequence([pitch.T for _, pitch in pairs], batch_first=True).transpose(1, 2)
    return power.contiguous(), pitch.contiguous(), frames


def _fit_scale(
    model: EmotionNetwork, cache: FeatureCache, heard: np.ndarray, features: FeatureOptions
) -> None:
    """Give the network mean and deviation of each row of the image over the training clips."""
    total = squares = torch.zeros(features.rows, dtype=torch.float64)
    count = 0
    for start in range(0, len(heard), 64):
        clips = _plain_features(cache, heard[start : start + 64], features)
        image = clips.image.to(torch.float64)
        total = total + image.sum(dim=(0, 2))
        squares = squares + image.square().sum(dim=(0, 2))
        count += int(clips.frames.sum())
    mean = total / count
    model.image_mean.copy_(mean)
    model.image_scale.copy_((squares / count - mean.square()).clamp_min(1e-4).sqrt())


def _sampling_weights(strata: Sequence[str], balance: float) -> np.ndarray:
    """Probability of each clip, [N]: the inverse of its stratum's size to the power of `balance`."""
    _, place, counts = np.unique(np.array(strata), return_inverse=True, return_counts=True)
    weights = (1.0 / counts[place]) ** balance
    return np.asarray(weights / weights.sum())


@torch.no_grad()
def _average(averaged: State, current: State, decay: float) -> None:
    for name, value in current.items():
        if value.is_floating_point():
            averaged[name].lerp_(value, 1 - decay)
        else:
            averaged[name].copy_(value)
