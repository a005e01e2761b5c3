"""How an encoder under a linear head is tuned: its beginning, its networks one by one, and their mean."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from emolake.models.families.encoder_head_network import EncoderNetwork, new_network, read_encoder
from emolake.training.encoder_training import PretrainedFolder, WaveLearner, prepare, tune_waves, unfreeze
from emolake.training.epochs import HistoryRow
from emolake.training.folds import Fold
from emolake.training.gradient_training import predict_logits
from emolake.training.regression import RegressionOptions, fit_regression
from emolake.training.seeds import seeded
from emolake.training.trainer import Corpus, InputSpec
from emolake.training.trainers.encoder_recipe import EncoderRecipe
from emolake.training.training_run import TrainingRun
from emolake.training.worker_processes import Report

Arrays = dict[str, np.ndarray]
"""What was trained of a network, by name."""


@dataclass(frozen=True)
class Job:
    """One network to be tuned."""

    fold: Fold
    """Its clips; number and name are the network's own."""
    beginning: int
    """Number of the fold whose networks begin alike."""


def jobs_of(folds: Sequence[Fold], networks: int) -> list[Job]:
    """Return what is tuned: for each fold so many networks, the first of which has the fold's own number and name."""
    return [
        Job(
            replace(
                fold,
                number=fold.number + member * len(folds),
                name=f"{fold.name}, network {member + 1}" if member else fold.name,
            ),
            fold.number,
        )
        for fold in folds
        for member in range(networks)
    ]


@dataclass(frozen=True)
class EncoderTuning:
    """What all networks of a training share."""

    recipe: EncoderRecipe
    located: PretrainedFolder
    input_spec: InputSpec
    corpus: Corpus
    run: TrainingRun

    def tune(self, job: Job, show: Callable[[Report], None]) -> tuple[Arrays, list[HistoryRow]]:
        """Tune one network; return what was trained of it, and the history."""
        recipe, corpus, run = self.recipe, self.corpus, self.run
        with seeded(run.seed, job.beginning):
            network = begun_network(recipe, self.located, labels=len(corpus.labels))
        if recipe.regression is not None:
            _begin_by_regression(network, recipe, corpus, job.fold, run.device)
        unfreeze(network.encoder, recipe.unfreeze_layers)
        prepare(network.encoder, recipe.spec_augment, checkpointing=recipe.checkpointing)
        history = tune_waves(self._learner(network), corpus, job.fold, recipe.loop, run, show)
        return {name: tensor.numpy() for name, tensor in network.tensors().items()}, history

    def averaged(self, fold: Fold, tuned: Sequence[Arrays]) -> tuple[dict[str, torch.Tensor], np.ndarray]:
        """Return the mean of a fold's networks as it will be written, and its logits [predicted, labels]."""
        labels = len(self.corpus.labels)
        network = begun_network(self.recipe, self.located, labels=labels)
        places = network.state_dict()
        for name in tuned[0]:
            mean = np.mean([each[name] for each in tuned], axis=0, dtype=np.float64)
            places[name].copy_(torch.from_numpy(mean))
        if self.recipe.portable:
            round_to_float16(network.encoder)
        learner = self._learner(network)
        logits = predict_logits(learner, fold.predicted, batch=self.recipe.loop.batch, labels=labels)
        return {name: places[name].cpu().clone() for name in tuned[0]}, logits

    def _learner(self, network: EncoderNetwork) -> WaveLearner:
        return WaveLearner(
            network, network.encoder, network, network.batching, self.corpus, self.recipe.augment,
            self.input_spec, self.run.device,
        )  # fmt: skip


def begun_network(recipe: EncoderRecipe, located: PretrainedFolder, *, labels: int) -> EncoderNetwork:
    """Return the recipe's network before training."""
    described = read_encoder(located.folder, own_frames=True, conditioning=recipe.conditioning)
    network = new_network(
        described, labels=labels, projector=recipe.projector, pooling=recipe.pooling, layers=recipe.layers
    )
    if recipe.portable:
        round_to_float16(network.encoder)
    return network


@torch.no_grad()
def round_to_float16(encoder: nn.Module) -> None:
    """Round an encoder's weights to what float16 holds, as they are written, so that figures are of these."""
    for parameter in encoder.parameters():
        parameter.copy_(parameter.half())


def fitted_head(
    recipe: EncoderRecipe, corpus: Corpus, fold: Fold, states: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weights and biases of the head for a fold's training clips, of states [versions, clips, width]."""
    versions = len(states)
    return fit_regression(
        np.concatenate(states),
        np.tile(corpus.targets[fold.train], versions),
        [corpus.corpora[i] for i in fold.train] * versions,
        labels=len(corpus.labels), loop=recipe.loop, options=recipe.regression or RegressionOptions(),
    )  # fmt: skip


def _begin_by_regression(
    network: EncoderNetwork, recipe: EncoderRecipe, corpus: Corpus, fold: Fold, device: str
) -> None:
    """Give a network that is still as it was pretrained the best head for a fold's training clips.

    Tuning under a random head would first spoil the states for the sake of that head (Kumar et al. 2022).
    """
    network.to(device).eval()
    states = np.stack([pooled_states(network, device, corpus.waves[i]) for i in fold.train])
    weight, bias = fitted_head(recipe, corpus, fold, states[None])
    network.output.load_state_dict({"weight": weight, "bias": bias})


@torch.inference_mode()
def pooled_states(network: EncoderNetwork, device: str, wave: np.ndarray) -> np.ndarray:
    """Return the pooled state [width] of one clip."""
    waves, lengths = torch.from_numpy(wave)[None].to(device), torch.tensor([len(wave)], device=device)
    return np.asarray(network.pooled(waves, lengths)[0].cpu().numpy())
