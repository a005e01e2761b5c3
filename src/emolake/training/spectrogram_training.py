"""How one spectrogram network is trained: clips drawn by weight, changed at random, and an average of all weights."""

import copy
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from emolake.audio.features import band_centres_hz
from emolake.models.families.spectrogram_network import ClipFeatures, EmotionNetwork, clip_features
from emolake.models.families.spectrogram_options import FeatureOptions, NetworkOptions
from emolake.options import Options
from emolake.training.augment import AugmentOptions, choose_warps, crop_and_hide, disturb, mix, stretch
from emolake.training.averaging import average_into
from emolake.training.balance import drawing_weights
from emolake.training.epochs import HistoryRow, Weights
from emolake.training.spectrogram_store import SpectrogramStore

_PREDICTED_AT_ONCE = 32
_SCALED_AT_ONCE = 64


class LoopOptions(Options):
    """How one network is trained."""

    epochs: int = Field(80, ge=1)
    """Passes; a pass draws as many clips as there are, by weight."""
    batch: int = Field(32, ge=2)
    """Clips per step."""
    learning_rate: float = Field(2e-3, gt=0)
    """Highest rate of AdamW."""
    warm_up: float = Field(0.15, gt=0, lt=1)
    """Share of the steps until it; a cosine falls after."""
    weight_decay: float = Field(0.05, ge=0)
    """Of AdamW."""
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    """Share of the target spread over all labels."""
    clip_norm: float = Field(5.0, gt=0)
    """Longest gradient."""
    average: float = Field(0.99, ge=0, lt=1)
    """Decay per step of the averaged weights that result."""
    balance: float = Field(0.5, ge=0, le=1)
    """0: clips drawn evenly; 1: corpus' classes evenly."""
    trim_db: tuple[float, float] = (28.0, 42.0)
    """Silence is cut at a random depth."""
    augment: AugmentOptions = AugmentOptions()
    """Changes to the clips."""


@dataclass(frozen=True)
class SpectrogramInputs:
    """What all networks of a training share. It travels to processes, so the features stay in their folder."""

    store: Path
    """Folder that `emolake.training.spectrogram_store.build_store` filled with the features of N clips."""
    targets: np.ndarray
    """[N] int64: label of every clip."""
    strata: tuple[str, ...]
    """[N]: the groups of clips that are balanced."""
    labels: int
    features: FeatureOptions
    network: NetworkOptions
    loop: LoopOptions


class SpectrogramTraining:
    """A network under AdamW, and the average of its weights. See `emolake.training.epochs.Trainable`.

    The average predicts. The same seed gives the same weights on a processor with one thread.
    """

    def __init__(self, inputs: SpectrogramInputs, train: np.ndarray, *, seed: int) -> None:
        """Build a network, to be trained on the clips `train`, which are indices into the store."""
        self._inputs = inputs
        self._train = train
        self._store = SpectrogramStore.open(inputs.store, warps=inputs.loop.augment.warps)
        loop = inputs.loop
        self._generator = np.random.default_rng(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = EmotionNetwork(inputs.network, rows=inputs.features.rows, labels=inputs.labels)
            self._torch_state = torch.get_rng_state()
        self._fit_scale()
        self._drawing_weights = drawing_weights([inputs.strata[i] for i in train], loop.balance)
        self._steps_of_epoch = max(1, len(train) // loop.batch)
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), lr=loop.learning_rate, weight_decay=loop.weight_decay
        )
        # max(): the schedule needs a step on either side of its peak, also in the shortest of trials
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer,
            loop.learning_rate,
            total_steps=max(loop.epochs * self._steps_of_epoch, math.ceil(2 / loop.warm_up)),
            pct_start=loop.warm_up,
        )
        self._averaged = copy.deepcopy(self._network).eval()
        self._step = 0

    @property
    def learning_rate(self) -> float:
        """See `emolake.training.epochs.Trainable`."""
        return float(self._optimizer.param_groups[0]["lr"])

    def train_epoch(self, epoch: int) -> float:
        """Train on as many clips as there are, drawn by weight."""
        size = (self._steps_of_epoch, min(self._inputs.loop.batch, len(self._train)))
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._torch_state)
            self._network.train()
            drawn = self._generator.choice(self._train, size=size, p=self._drawing_weights)
            losses = [self._train_step(chosen, epoch) for chosen in drawn]
            self._torch_state = torch.get_rng_state()
        return float(np.mean(losses))

    @torch.inference_mode()
    def predict_logits(self, chosen: np.ndarray) -> np.ndarray:
        """See `emolake.training.epochs.Trainable`; of the averaged weights."""
        logits = [
            self._averaged(
                _plain_features(
                    self._store, chosen[start : start + _PREDICTED_AT_ONCE], self._inputs.features
                )
            )
            for start in range(0, len(chosen), _PREDICTED_AT_ONCE)
        ]
        return np.asarray(torch.cat([torch.zeros(0, self._inputs.labels), *logits]).numpy())

    def observe(self, row: HistoryRow) -> None:
        """See `emolake.training.epochs.Trainable`: the schedule depends on no figure."""

    def weights(self) -> Weights:
        """See `emolake.training.epochs.Trainable`."""
        return {name: value.clone() for name, value in self._averaged.state_dict().items()}

    def load_weights(self, weights: Weights) -> None:
        """See `emolake.training.epochs.Trainable`."""
        self._averaged.load_state_dict(weights)

    def state(self) -> dict[str, Any]:
        """See `emolake.training.epochs.Trainable`."""
        return {
            "step": self._step,
            "averaged": self._averaged.state_dict(),
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "torch_generator": self._torch_state,
            "generator": json.dumps(self._generator.bit_generator.state),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `emolake.training.epochs.Trainable`."""
        self._step = state["step"]
        self._averaged.load_state_dict(state["averaged"])
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._torch_state = state["torch_generator"]
        self._generator.bit_generator.state = json.loads(state["generator"])

    def _train_step(self, chosen: np.ndarray, epoch: int) -> float:
        """Train on one batch of clips and return its loss."""
        inputs, loop = self._inputs, self._inputs.loop
        clips = training_batch(self._store, chosen, inputs.features, loop, self._generator)
        wanted = functional.one_hot(torch.from_numpy(inputs.targets[chosen]), inputs.labels).to(torch.float32)
        wanted = wanted * (1 - loop.label_smoothing) + loop.label_smoothing / inputs.labels
        clips, wanted = mix(clips, wanted, self._generator, loop.augment)
        loss = functional.cross_entropy(self._network(clips), wanted)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} in epoch {epoch}; lower learning_rate")
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._network.parameters(), loop.clip_norm)
        self._optimizer.step()
        self._schedule.step()
        self._step += 1
        current = self._network.state_dict()
        average_into(self._averaged.state_dict(), current, decay=loop.average, step=self._step)
        return loss.item()

    def _fit_scale(self) -> None:
        """Give the network mean and deviation of each row of the image over the training clips."""
        features = self._inputs.features
        total = squares = torch.zeros(features.rows, dtype=torch.float64)
        count = 0
        for start in range(0, len(self._train), _SCALED_AT_ONCE):
            clips = _plain_features(self._store, self._train[start : start + _SCALED_AT_ONCE], features)
            image = clips.image.to(torch.float64)
            total = total + image.sum(dim=(0, 2))
            squares = squares + image.square().sum(dim=(0, 2))
            count += int(clips.frames.sum())
        mean = total / count
        self._network.image_mean.copy_(mean)
        self._network.image_scale.copy_((squares / count - mean.square()).clamp_min(1e-4).sqrt())


def training_batch(
    store: SpectrogramStore,
    chosen: Sequence[int] | np.ndarray,
    features: FeatureOptions,
    options: LoopOptions,
    generator: np.random.Generator,
) -> ClipFeatures:
    """Return the clips `chosen`, each changed at random, as a network sees them."""
    augment = options.augment
    pairs = []
    for index, warp in zip(chosen, choose_warps(generator, len(chosen), augment), strict=True):
        power, pitch = store.clip(int(index), int(warp))
        pairs.append(stretch(power, pitch, float(np.exp(generator.uniform(-augment.tempo, augment.tempo)))))
    power, pitch, frames = _padded(pairs)
    hop_s = features.mel.hop / features.mel.sampling_rate
    power = disturb(power, frames, generator, augment, hop_s=hop_s, centres_hz=band_centres_hz(features.mel))
    cut = features.model_copy(update={"trim_db": generator.uniform(*options.trim_db)})
    return crop_and_hide(clip_features(power, pitch, frames, cut), generator, augment)


def _plain_features(
    store: SpectrogramStore, indices: Iterable[int], features: FeatureOptions
) -> ClipFeatures:
    power, pitch, frames = _padded([store.plain(int(index)) for index in indices])
    return clip_features(power, pitch, frames, features)


def _padded(
    pairs: Sequence[tuple[torch.Tensor, torch.Tensor]],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return power [B, bands, T], pitch [B, 2, T] and frames [B] of single clips."""
    frames = torch.tensor([power.shape[1] for power, _ in pairs])
    power = nn.utils.rnn.pad_sequence([power.T for power, _ in pairs], batch_first=True).transpose(1, 2)
    pitch = nn.utils.rnn.pad_sequence([pitch.T for _, pitch in pairs], batch_first=True).transpose(1, 2)
    return power.contiguous(), pitch.contiguous(), frames
