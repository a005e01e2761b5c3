"""How transformers and heads are trained: accumulation, warm-up, schedules, precision, early stopping.

Every epoch draws from generators seeded by the fit's seed and the epoch's number, so that a checkpoint, written
between two epochs, needs no state of them, and a resumed fit is the uninterrupted one.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from emolake.errors import ConfigurationError
from emolake.training.averaging import average_into
from emolake.training.balance import by_length, drawing_weights
from emolake.training.epochs import (
    EpochPolicy,
    EpochReport,
    EpochVerdict,
    FitPlan,
    HistoryRow,
    Weights,
    keep_last,
    log_report,
    train_epochs,
)
from emolake.training.goals import Goals, class_weights
from emolake.training.optimise_options import Monitor, OptimiseOptions
from emolake.training.seeds import seeded
from emolake.training.training_run import Checkpoint


class Learner(Protocol):
    """A network and the clips that it is trained on."""

    module: nn.Module
    """The parameters that ask for gradients are trained."""
    device: str
    pretrained: Sequence[nn.Parameter]
    """Those of its parameters that were trained before."""
    lengths: np.ndarray
    """[N]: how long each clip is, in any unit."""

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
    corpora: Sequence[str] | None = None,
    on_step: Callable[[float, int], None] = lambda loss, clips: None,
    report: Callable[[EpochReport], None] = log_report,
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
        corpora: corpus of every clip, [N]; one and the same when left out.
        on_step: gets the loss and the clips of every step.
        report: gets every epoch.

    Returns:
        A row for each epoch.

    Raises:
        ConfigurationError: this device cannot compute in the precision.
        FloatingPointError: the loss is not finite.
    """
    weights = class_weights(targets[train], labels, enabled=options.class_weights)
    goals = Goals.of(targets, corpora or [""] * len(targets), weights, options)
    training = GradientTraining(learner, goals, train, options, seed=seed, on_step=on_step)
    plan = FitPlan(name, options.epochs, targets, validation, weights.numpy(), checkpoint)
    policy: EpochPolicy = keep_last
    if options.patience is not None:
        policy = EarlyStopping(options.monitor, options.threshold, options.patience)
    return train_epochs(training, plan, policy=policy, report=report)


class GradientTraining:
    """A learner under AdamW with its schedule and scaler. See `emolake.training.epochs.Trainable`."""

    def __init__(
        self,
        learner: Learner,
        goals: Goals,
        train: np.ndarray,
        options: OptimiseOptions,
        *,
        seed: int,
        on_step: Callable[[float, int], None],
    ) -> None:
        _check_precision(options, learner.device)
        self._learner = learner
        self._goals = goals
        self._train = train
        self._drawn_by = (
            None
            if options.balance is None
            else drawing_weights([goals.strata[i] for i in train], options.balance)
        )
        self._options = options
        self._seed = seed
        self._on_step = on_step
        self._parameters = [each for each in learner.module.parameters() if each.requires_grad]
        self._optimizer = torch.optim.AdamW(
            _rates(self._parameters, learner.pretrained, options), weight_decay=options.weight_decay
        )
        live = live_weights(learner.module)
        self._average = (
            {name: each.detach().clone() for name, each in live.items()} if options.average else None
        )
        self._steps_done = 0
        steps = math.ceil(len(train) / (options.batch * options.accumulate))
        # Of little data an epoch is a step or two: training must not end for lack of patience before the rate is up.
        patience = options.patience or options.epochs
        self._rise = min(options.warm_up_steps, steps * min(options.epochs, patience) // 3)
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
        """Train on every clip once, or on as many drawn by weight, in an order drawn for this epoch."""
        with seeded(self._seed, epoch) as generator:
            order = (
                generator.permutation(self._train)
                if self._drawn_by is None
                else generator.choice(self._train, size=len(self._train), p=self._drawn_by)
            )
            size = self._options.batch * self._options.accumulate
            if self._options.similar_lengths > 1:
                order = by_length(
                    order, self._learner.lengths, size, self._options.similar_lengths, generator
                )
            self._learner.module.train()
            total = 0.0
            for start in range(0, len(order), size):
                chosen = order[start : start + size]
                loss = self._step(chosen, generator)
                total += loss * len(chosen)
                self._on_step(loss, len(chosen))
        return total / len(order)

    def predict_logits(self, chosen: np.ndarray) -> np.ndarray:
        """See `emolake.training.epochs.Trainable`."""
        labels = self._goals.wanted.shape[1]
        with self._as_predicting():
            return predict_logits(self._learner, chosen, batch=self._options.batch, labels=labels)

    def observe(self, row: HistoryRow) -> None:
        """Lower the rate if the plateau's schedule says so."""
        value = _monitored(row, self._options.monitor)
        past_rise = self._schedule.last_epoch >= self._rise
        if self._options.schedule == "plateau" and past_rise and value is not None and math.isfinite(value):
            self._plateau.step(-value)

    def weights(self) -> Weights:
        """See `emolake.training.epochs.Trainable`; averaged where that is asked for."""
        with self._as_predicting():
            return trained_weights(self._learner.module)

    def load_weights(self, weights: Weights) -> None:
        """See `emolake.training.epochs.Trainable`."""
        _load(self._learner.module, weights)
        self._learner.module.eval()

    def state(self) -> dict[str, Any]:
        """See `emolake.training.epochs.Trainable`."""
        parts = {name: part.state_dict() for name, part in self._stateful().items()}
        averaged = {} if self._average is None else {"average": self._average}
        return {
            "weights": trained_weights(self._learner.module),
            "steps_done": self._steps_done,
            **averaged,
            **parts,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `emolake.training.epochs.Trainable`."""
        _load(self._learner.module, state["weights"])
        self._steps_done = state["steps_done"]
        if self._average is not None:
            for name, value in state["average"].items():
                self._average[name].copy_(value)
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])

    def _step(self, chosen: np.ndarray, generator: np.random.Generator) -> float:
        options = self._options
        loss = backward(self._learner, self._goals, chosen, generator, self._scaler, options)
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
        self._steps_done += 1
        if self._average is not None:
            current = live_weights(self._learner.module)
            average_into(self._average, current, decay=options.average, step=self._steps_done)
        return loss

    @contextmanager
    def _as_predicting(self) -> Iterator[None]:
        """Run the block with the weights that a prediction uses in the network."""
        if self._average is None:
            yield
            return
        trained = trained_weights(self._learner.module)
        _load(self._learner.module, self._average)
        try:
            yield
        finally:
            _load(self._learner.module, trained)

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
    goals: Goals,
    chosen: np.ndarray,
    generator: np.random.Generator | None,
    scaler: torch.amp.GradScaler,
    options: OptimiseOptions,
) -> float:
    """Add the gradients of one step's clips, `batch` at a time, and return their loss.

    The loss is the mean over all clips of the step, each by its weight, also when the last batch is short: as if they
    had gone through at once.
    """
    wanted, offsets, weights = (
        each[chosen].to(learner.device) for each in (goals.wanted, goals.offsets, goals.weights)
    )
    total = weights.sum()
    loss = 0.0
    for start in range(0, len(chosen), options.batch):
        own = slice(start, start + options.batch)
        with _autocast(options, learner.device):
            logits = learner.logits(chosen[own], generator)
        each = functional.cross_entropy(logits.float() + offsets[own], wanted[own], reduction="none")
        part = (each * weights[own]).sum() / total
        scaler.scale(part).backward()
        loss += part.item()
    return loss


def live_weights(module: nn.Module) -> Weights:
    """Return all that training changes, itself: later steps reach it."""
    trained = [(name, each) for name, each in module.named_parameters() if each.requires_grad]
    return dict([*trained, *module.named_buffers()])


def trained_weights(module: nn.Module) -> Weights:
    """Return a copy, on the CPU, of all that training changes: later steps do not reach it."""
    return {name: each.detach().to("cpu", copy=True) for name, each in live_weights(module).items()}


def _rates(
    parameters: Sequence[nn.Parameter], pretrained: Sequence[nn.Parameter], options: OptimiseOptions
) -> list[dict[str, Any]]:
    """Return the optimizer's groups: what was trained before, and what was not."""
    before = {id(each) for each in pretrained}
    old = [each for each in parameters if id(each) in before]
    new = [each for each in parameters if id(each) not in before]
    groups = [
        {"params": old, "lr": options.learning_rate},
        {"params": new, "lr": options.head_learning_rate or options.learning_rate},
    ]
    return [group for group in groups if group["params"]]


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
