"""The loop that trains transformers and heads: accumulation, warm-up, early stopping, checkpoints.

Every epoch draws from generators seeded by the fit's seed and the epoch's number, so that a checkpoint, written
between two epochs, needs no state of them, and a resumed fit is the uninterrupted one.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import log_softmax
from sklearn.metrics import recall_score
from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from emolake.errors import ConfigurationError
from emolake.training.seeds import seeded
from emolake.training.trainer import HistoryRow
from emolake.training.training_run import Checkpoint

State = dict[str, torch.Tensor]

log = logging.getLogger(__name__)


class OptimiseOptions(BaseModel):
    """How a network is trained; the key `loop` of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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
    """Steps until the highest rate; no more than a third of all steps."""
    schedule: Literal["linear", "plateau", "constant"] = "linear"
    """After it: down to 0 at the last step, down by a factor when validation stands still, or as it is."""
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
    monitor: Literal["valid_uar", "valid_loss"] = "valid_uar"
    """What says which epoch is best."""
    patience: int = Field(3, ge=1)
    """Epochs without a better one after which training ends."""
    threshold: float = Field(1e-3, ge=0)
    """By how much an epoch must be better to count as such."""
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    """What the training's forward pass runs in; fp16 needs a GPU. Validation and answers are always in fp32."""


def told(row: HistoryRow) -> str:
    """A row of the history for the log."""
    figures = {
        "train loss": row["train_loss"],
        "validation loss": row["valid_loss"],
        "validation UAR": row["valid_uar"],
    }
    known = [f"{name} {value:.4f}" for name, value in figures.items() if value is not None]
    return f"{row['run']}, epoch {row['epoch']}: {', '.join(known)}, rate {row['learning_rate']:.3g}"


class Learner(Protocol):
    """A network and the clips that it hears."""

    module: nn.Module
    """The parameters that ask for gradients are trained."""
    device: str

    def logits(self, chosen: np.ndarray, generator: np.random.Generator | None) -> torch.Tensor:
        """Logits [B, labels] of the clips `chosen`: changed at random by a generator, or as inference hears them."""
        ...


@dataclass
class _Progress:
    """What a checkpoint holds beside weights."""

    epoch: int = 0
    best: float = -math.inf
    stale: int = 0
    finished: bool = False


def fit(
    learner: Learner,
    targets: np.ndarray,
    heard: np.ndarray,
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
        heard: indices of the training clips.
        validation: indices of the clips that say which epoch is best; may be empty.
        labels: number of labels.
        options: how.
        seed: decides order, dropout and changes to clips.
        name: of the fit, in history and log.
        checkpoint: what an earlier, killed call got to is taken from here.
        on_step: gets the loss and the clips of every step.

    Returns:
        A row for each epoch.

    Raises:
        ConfigurationError: this device cannot compute in the precision.
        FloatingPointError: the loss is not finite.
    """
    steps = math.ceil(len(heard) / (options.batch * options.accumulate))
    weights = class_weights(targets[heard], labels, enabled=options.class_weights)
    trainer = _Trainer(learner, targets, weights, options, steps)
    progress, history, best = _Progress(), cast("list[HistoryRow]", []), trained_state(learner.module)
    found = checkpoint.read()
    if found is not None:
        progress, history, best = _Progress(**found["progress"]), found["history"], found["best"]
        if not progress.finished:
            trainer.restore(found["trainer"])
            log.info("%s goes on after epoch %d", name, progress.epoch)
    while not progress.finished:
        progress.epoch += 1
        with seeded(seed, progress.epoch) as generator:
            loss = trainer.epoch(generator.permutation(heard), generator, on_step)
        valid_loss, uar = trainer.validate(validation)
        history.append({
            "run": name, "epoch": progress.epoch, "train_loss": loss, "valid_loss": valid_loss, "valid_uar": uar,
            "learning_rate": trainer.rate,
        })  # fmt: skip
        log.info("%s", told(history[-1]))
        measured = uar if options.monitor == "valid_uar" else valid_loss
        value = -math.inf if measured is None else measured if measured is uar else -measured
        if measured is None or progress.epoch == 1 or value > progress.best + options.threshold:
            progress.best, progress.stale, best = value, 0, trained_state(learner.module)
        else:
            progress.stale += 1
        trainer.watch(value)
        progress.finished = progress.epoch >= options.epochs or progress.stale >= options.patience
        # Once finished, the optimizer, twice as large as the weights, has served.
        rest = {} if progress.finished else {"trainer": trainer.content()}
        checkpoint.write({"progress": asdict(progress), "history": history, "best": best, **rest})
    _load(learner.module, best)
    learner.module.eval()
    return history


class _Trainer:
    """Optimizer, schedule and scaler of a fit, with what they need to go on."""

    def __init__(
        self,
        learner: Learner,
        targets: np.ndarray,
        weights: torch.Tensor,
        options: OptimiseOptions,
        steps: int,
    ) -> None:
        _check_precision(options, learner.device)
        self._learner = learner
        self._targets = targets
        self._weights = weights.to(learner.device)
        self._options = options
        self._parameters = [each for each in learner.module.parameters() if each.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self._rise = min(options.warm_up_steps, steps * options.epochs // 3)
        self._schedule = LambdaLR(self._optimizer, partial(_share, self._rise, steps, options))
        self._plateau = ReduceLROnPlateau(
            self._optimizer, factor=options.plateau_factor, patience=options.plateau_patience,
            threshold=options.threshold, threshold_mode="abs",
        )  # fmt: skip
        self._scaler = torch.amp.GradScaler(
            learner.device.partition(":")[0], enabled=options.precision == "fp16"
        )

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def content(self) -> dict[str, Any]:
        """What `restore` takes."""
        return {
            "weights": trained_state(self._learner.module),
            **{name: part.state_dict() for name, part in self._parts().items()},
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Go back to where `content` was taken."""
        _load(self._learner.module, content["weights"])
        for name, part in self._parts().items():
            part.load_state_dict(content[name])

    def epoch(
        self, order: np.ndarray, generator: np.random.Generator, on_step: Callable[[float, int], None]
    ) -> float:
        """Hear every clip once, in this order, and return the mean loss."""
        self._learner.module.train()
        options, total = self._options, 0.0
        size = options.batch * options.accumulate
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            loss = backward(
                self._learner, self._targets, chosen, self._weights, generator, self._scaler, options
            )
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
            total += loss * len(chosen)
            on_step(loss, len(chosen))
        return total / len(order)

    def validate(self, validation: np.ndarray) -> tuple[float | None, float | None]:
        """Loss and unweighted average recall, or None where there are no clips."""
        labels = len(self._weights)
        logits = answers(self._learner, validation, batch=self._options.batch, labels=labels)
        return valid_figures(logits, self._targets[validation], self._weights.cpu().numpy())

    def watch(self, value: float) -> None:
        """Lower the rate if the plateau's schedule says so; larger values are better."""
        past_rise = self._schedule.last_epoch >= self._rise
        if self._options.schedule == "plateau" and past_rise and math.isfinite(value):
            self._plateau.step(-value)

    def _parts(self) -> dict[str, Any]:
        return {
            "optimizer": self._optimizer,
            "schedule": self._schedule,
            "plateau": self._plateau,
            "scaler": self._scaler,
        }


def valid_figures(
    logits: np.ndarray, truth: np.ndarray, weights: np.ndarray
) -> tuple[float | None, float | None]:
    """Mean loss of [N, labels] logits, each clip by its label's weight, and unweighted average recall; None of none."""
    if not len(truth):
        return None, None
    scores = log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(truth)), truth]
    loss = -(scores * weights[truth]).sum() / weights[truth].sum()
    return float(loss), unweighted_average_recall(truth, logits.argmax(axis=1))


def unweighted_average_recall(truth: np.ndarray, guess: np.ndarray) -> float:
    """Mean of the recalls of the classes that [N] clips have; as balanced_accuracy_score, without its warnings."""
    return float(recall_score(truth, guess, labels=np.unique(truth), average="macro", zero_division=0))


@torch.no_grad()
def answers(learner: Learner, asked: np.ndarray, *, batch: int, labels: int) -> np.ndarray:
    """Logits [asked, labels] float64 of clips as inference hears them."""
    learner.module.eval()
    found = [
        learner.logits(asked[start : start + batch], None).double().cpu().numpy()
        for start in range(0, len(asked), batch)
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
    """Weight of each label, [labels] float32: the inverse of its share, of mean 1 over the clips.

    >>> class_weights(np.array([0, 0, 0, 1]), 2, enabled=True).tolist()
    [0.6666666865348816, 2.0]
    """
    counts = np.bincount(targets, minlength=labels)
    weights = len(targets) / np.maximum(counts, 1) / max(1, int(np.count_nonzero(counts)))
    return torch.from_numpy((weights if enabled else np.ones(labels)).astype(np.float32))


def _share(rise: int, steps: int, options: OptimiseOptions, step: int) -> float:
    """Share of the rate at a step: up to the rise, then down in a line to 0 after the last, or as it is."""
    if step < rise:
        return (step + 1) / (rise + 1)
    total = steps * options.epochs
    return (total - step) / max(1, total - rise) if options.schedule == "linear" else 1.0


def trained_state(module: nn.Module) -> State:
    """A copy, on the CPU, of all that training changes: later steps do not reach it."""
    trained = [(name, each) for name, each in module.named_parameters() if each.requires_grad]
    return {name: each.detach().to("cpu", copy=True) for name, each in [*trained, *module.named_buffers()]}


@torch.no_grad()
def _load(module: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    places: dict[str, Any] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, value in state.items():
        places[name].copy_(value)


@contextmanager
def _autocast(options: OptimiseOptions, device: str) -> Iterator[None]:
    kind = device.partition(":")[0]
    dtype = torch.float16 if options.precision == "fp16" else torch.bfloat16
    with torch.autocast(kind, dtype=dtype, enabled=options.precision != "fp32"):
        yield


def _check_precision(options: OptimiseOptions, device: str) -> None:
    if options.precision == "fp16" and device == "cpu":
        raise ConfigurationError(
            "precision fp16 was asked on the CPU, which computes fp32 and bf16; give --precision bf16 or fp32"
        )
