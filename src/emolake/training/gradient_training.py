"""How transformers and heads are trained: accumulation, warm-up, schedules, precision, early stopping.

Every epoch draws from generators seeded by the fit's seed and the epoch's number, so that a checkpoint, written
between two epochs, needs no state of them, and a resumed fit is the uninterrupted one.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from emolake.errors import ConfigurationError
from emolake.options import Options
from emolake.training.epochs import EpochVerdict, FitPlan, HistoryRow, Weights, train_epochs
from emolake.training.seeds import seeded
from emolake.training.training_run import Checkpoint

Monitor = Literal["valid_uar", "valid_loss"]


class OptimiseOptions(Options):
    """How a network is trained; the key `loop` of a recipe."""

    epochs: int = Field(5, ge=1)
    """Passes over the training clips, at most."""
    batch: int = Field(4, ge=1)
    """Clips that go through the network at once."""
    accumulate: int = Field(4, ge=1)
    """Batches whose gradients are averaged, clip by clip, for one step."""
    learning_rate: float = Field(3e-5, gt=0)
    """Highest rate of AdamW."""
    weight_decay: float = Field(0.01, ge=0)
    """Of AdamW."""
    warm_up_steps: int = Field(1000, ge=0)
    """Steps until the highest rate; no more than a third of all steps, nor of those of `patience` epochs."""
    schedule: Literal["linear", "plateau", "constant"] = "linear"
    """After it: down to 0 at the last step, down by a factor when validation no longer improves, or unchanged."""
    plateau_factor: float = Field(0.5, gt=0, lt=1)
    """What the plateau's schedule multiplies the rate by."""
    plateau_patience: int = Field(2, ge=0)
    """Epochs without a better validation that it waits for."""
    clip_norm: float = Field(1.0, gt=0)
    """Longest gradient."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread over all labels."""
    class_weights: bool = True
    """A clip counts by the inverse of its label's share of the training clips."""
    monitor: Monitor = "valid_uar"
    """What says which epoch is best."""
    patience: int = Field(3, ge=1)
    """Epochs without a better one after which training ends."""
    threshold: float = Field(1e-3, ge=0)
    """By how much an epoch must be better to count as such."""
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    """What the training's forward pass runs in; fp16 needs a GPU. Validation and predictions are always in fp32."""


class Learner(Protocol):
    """A network and the clips that it is trained on."""

    module: nn.Module
    """The parameters that ask for gradients are trained."""
    device: str

    def logits(self, chosen: np.ndarray, generator: np.random.Generator | None) -> torch.Tensor:
        """Return logits [B, labels] of clips: changed at random by a generator, or as inference has them."""
        ...


@dataclass(frozen=True)
class EarlyStopping:
    """Keeps the best epoch's weights, and ends the fit after some epochs without a better one.

    Without validation clips there is no best epoch, and the last one is kept.
    """

    monitor: Monitor
    threshold: float
    patience: int

    def __call__(self, history: Sequence[HistoryRow]) -> EpochVerdict:
        """See `emolake.training.epochs.EpochPolicy`."""
        best, stale = -math.inf, 0
        for row in history:
            value = _monitored(row, self.monitor)
            if value is None or row["epoch"] == 1 or value > best + self.threshold:
                best, stale = -math.inf if value is None else value, 0
            else:
                stale += 1
        return EpochVerdict(keep=stale == 0, stop=stale >= self.patience)


def fit(
    learner: Learner,
    targets: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    *,
    labels: int,
    options: OptimiseOptions,
    seed: int,
    name: str,
    checkpoint: Checkpoint,
    on_step: Callable[[float, int], None] = lambda loss, clips: None,
) -> list[HistoryRow]:
    """Train a learner's network and leave the best epoch's weights in it; without validation the last one's.

    Args:
        learner: the network and its clips.
        targets: label of every clip, [N] int64.
        train: indices of the training clips.
        validation: indices of the clips that say which epoch is best; may be empty.
        labels: number of labels.
        options: how.
        seed: decides order, dropout and changes to clips.
        name: of the fit, in history and log.
        checkpoint: what an earlier, killed call left in it is resumed.
        on_step: gets the loss and the clips of every step.

    Returns:
        A row for each epoch.

    Raises:
        ConfigurationError: this device cannot compute in the precision.
        FloatingPointError: the loss is not finite.
    """
    weights = class_weights(targets[train], labels, enabled=options.class_weights)
    training = GradientTraining(learner, targets, train, weights, options, seed=seed, on_step=on_step)
    plan = FitPlan(name, options.epochs, targets, validation, weights.numpy(), checkpoint)
    stopping = EarlyStopping(options.monitor, options.threshold, options.patience)
    return train_epochs(training, plan, policy=stopping)


class GradientTraining:
    """A learner under AdamW with its schedule and scaler. See `emolake.training.epochs.Trainable`."""

    def __init__(
        self,
        learner: Learner,
        targets: np.ndarray,
        train: np.ndarray,
        weights: torch.Tensor,
        options: OptimiseOptions,
        *,
        seed: int,
        on_step: Callable[[float, int], None],
    ) -> None:
        _check_precision(options, learner.device)
        self._learner = learner
        self._targets = targets
        self._train = train
        self._weights = weights.to(learner.device)
        self._options = options
        self._seed = seed
        self._on_step = on_step
        self._parameters = [each for each in learner.module.parameters() if each.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=options.learning_rate, weight_decay=options.weight_decay
        )
        steps = math.ceil(len(train) / (options.batch * options.accumulate))
        # Of little data an epoch is a step or two: training must not end for lack of patience before the rate is up.
        self._rise = min(options.warm_up_steps, steps * min(options.epochs, options.patience) // 3)
        self._schedule = LambdaLR(self._optimizer, partial(_share, self._rise, steps, options))
        self._plateau = ReduceLROnPlateau(
            self._optimizer, factor=options.plateau_factor, patience=options.plateau_patience,
            threshold=options.threshold, threshold_mode="abs",
        )  # fmt: skip
        self._scaler = torch.amp.GradScaler(
            learner.device.partition(":")[0], enabled=options.precision == "fp16"
        )

    @property
    def learning_rate(self) -> float:
        """See `emolake.training.epochs.Trainable`."""
        return float(self._optimizer.param_groups[0]["lr"])

    def train_epoch(self, epoch: int) -> float:
        """Train on every clip once, in an order drawn for this epoch."""
        with seeded(self._seed, epoch) as generator:
            order = generator.permutation(self._train)
            self._learner.module.train()
            size = self._options.batch * self._options.accumulate
            total = 0.0
            for start in range(0, len(order), size):
                chosen = order[start : start + size]
                loss = self._step(chosen, generator)
                total += loss * len(chosen)
                self._on_step(loss, len(chosen))
        return total / len(order)

    def predict_logits(self, chosen: np.ndarray) -> np.ndarray:
        """See `emolake.training.epochs.Trainable`."""
        return predict_logits(self._learner, chosen, batch=self._options.batch, labels=len(self._weights))

    def observe(self, row: HistoryRow) -> None:
        """Lower the rate if the plateau's schedule says so."""
        value = _monitored(row, self._options.monitor)
        past_rise = self._schedule.last_epoch >= self._rise
        if self._options.schedule == "plateau" and past_rise and value is not None and math.isfinite(value):
            self._plateau.step(-value)

    def weights(self) -> Weights:
        """See `emolake.training.epochs.Trainable`."""
        return trained_weights(self._learner.module)

    def load_weights(self, weights: Weights) -> None:
        """See `emolake.training.epochs.Trainable`."""
        _load(self._learner.module, weights)
        self._learner.module.eval()

    def state(self) -> dict[str, Any]:
        """See `emolake.training.epochs.Trainable`."""
        parts = {name: part.state_dict() for name, part in self._stateful().items()}
        return {"weights": self.weights(), **parts}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `emolake.training.epochs.Trainable`."""
        _load(self._learner.module, state["weights"])
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])

    def _step(self, chosen: np.ndarray, generator: np.random.Generator) -> float:
        options = self._options
        loss = backward(self._learner, self._targets, chosen, self._weights, generator, self._scaler, options)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss}; lower learning_rate, or choose another precision than {options.precision}"
            )
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self._parameters, options.clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()
        # Beyond its rise the schedule would undo what the plateau lowered.
        if options.schedule == "linear" or self._schedule.last_epoch < self._rise:
            self._schedule.step()
        return loss

    def _stateful(self) -> dict[str, Any]:
        return {
            "optimizer": self._optimizer,
            "schedule": self._schedule,
            "plateau": self._plateau,
            "scaler": self._scaler,
        }


@torch.no_grad()
def predict_logits(learner: Learner, chosen: np.ndarray, *, batch: int, labels: int) -> np.ndarray:
    """Return logits [chosen, labels] float64 of clips as inference has them."""
    learner.module.eval()
    found = [
        learner.logits(chosen[start : start + batch], None).double().cpu().numpy()
        for start in range(0, len(chosen), batch)
    ]
    return np.concatenate([np.zeros((0, labels)), *found])


def backward(
    learner: Learner,
    targets: np.ndarray,
    chosen: np.ndarray,
    weights: torch.Tensor,
    generator: np.random.Generator | None,
    scaler: torch.amp.GradScaler,
    options: OptimiseOptions,
) -> float:
    """Add the gradients of one step's clips, `batch` at a time, and return their loss.

    The loss is the mean over all clips of the step, each by its weight, also when the last batch is short: as if they
    had gone through at once.
    """
    wanted = torch.from_numpy(targets[chosen]).to(learner.device)
    total = weights[wanted].sum()
    loss = 0.0
    for start in range(0, len(chosen), options.batch):
        own = slice(start, start + options.batch)
        with _autocast(options, learner.device):
            logits = learner.logits(chosen[own], generator)
        each = functional.cross_entropy(
            logits.float(), wanted[own], reduction="none", label_smoothing=options.label_smoothing
        )
        part = (each * weights[wanted[own]]).sum() / total
        scaler.scale(part).backward()
        loss += part.item()
    return loss


def class_weights(targets: np.ndarray, labels: int, *, enabled: bool) -> torch.Tensor:
    """Return the weight of each label, [labels] float32: the inverse of its share, of mean 1 over the clips.

    >>> class_weights(np.array([0, 0, 0, 1]), 2, enabled=True).tolist()
    [0.6666666865348816, 2.0]
    """
    counts = np.bincount(targets, minlength=labels)
    weights = len(targets) / np.maximum(counts, 1) / max(1, int(np.count_nonzero(counts)))
    return torch.from_numpy((weights if enabled else np.ones(labels)).astype(np.float32))


def trained_weights(module: nn.Module) -> Weights:
    """Return a copy, on the CPU, of all that training changes: later steps do not reach it."""
    trained = [(name, each) for name, each in module.named_parameters() if each.requires_grad]
    return {name: each.detach().to("cpu", copy=True) for name, each in [*trained, *module.named_buffers()]}


def _monitored(row: HistoryRow, monitor: Monitor) -> float | None:
    """Return what is monitored such that larger is better; None where it was not measured."""
    value = row[monitor]
    return -value if value is not None and monitor == "valid_loss" else value


def _share(rise: int, steps: int, options: OptimiseOptions, step: int) -> float:
    """Return the share of the rate at a step: up to the rise, then down in a line to 0 after the last, or constant."""
    if step < rise:
        return (step + 1) / (rise + 1)
    total = steps * options.epochs
    return (total - step) / max(1, total - rise) if options.schedule == "linear" else 1.0


@torch.no_grad()
def _load(module: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    places: dict[str, Any] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, value in weights.items():
        places[name].copy_(value)


@contextmanager
def _autocast(options: OptimiseOptions, device: str) -> Iterator[None]:
    """Run the block in the precision of the options."""
    kind = device.partition(":")[0]
    dtype = torch.float16 if options.precision == "fp16" else torch.bfloat16
    with torch.autocast(kind, dtype=dtype, enabled=options.precision != "fp32"):
        yield


def _check_precision(options: OptimiseOptions, device: str) -> None:
    if options.precision == "fp16" and device == "cpu":
        raise ConfigurationError(
            "precision fp16 was asked on the CPU, which computes fp32 and bf16; give --precision bf16 or fp32"
        )
