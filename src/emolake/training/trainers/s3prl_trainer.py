"""s3prl_head: S3PRL's utterance-level head on the weighted states of a frozen encoder; family "s3prl"."""

import argparse
import json
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, JsonValue
from torch import nn

from emolake.models.encoders import speech_encoder
from emolake.models.encoders.speech_encoder import is_normalised
from emolake.models.families.s3prl_network import Head, S3prlNetwork, load_encoder
from emolake.models.trained_folder import CONFIG_FILE, OPTIONS_KEY
from emolake.options import Options
from emolake.training.encoder_training import digest, encoder_input_spec, locate
from emolake.training.folds import Fold
from emolake.training.heads import compute_features, fit_heads
from emolake.training.optimise_options import OptimiseOptions
from emolake.training.trainer import Corpus, FitResult, InputSpec, ModelMetadata
from emolake.training.training_run import TrainingRun
from emolake.training.waves import WaveAugmentOptions

CHECKPOINT_FILE = "dev-best.ckpt"


class S3prlRecipe(Options):
    """All that decides the weights, beside the data and the seed."""

    encoder: str = "imprt/kushinada-hubert-large"
    """Hub id or folder of a wav2vec 2.0, HuBERT or WavLM encoder, in transformers' layout."""
    revision: str | None = None
    """Revision on the hub; a commit pins it."""
    projector: int = Field(256, ge=1)
    """Width of the layer before the output."""
    waveform_eps: float = Field(speech_encoder.HUGGING_FACE_EPS, gt=0)
    """Added to the variance of the waveform, as in the family."""
    max_duration_s: float = Field(10.0, gt=0)
    """A longer clip is cut off."""
    augment: WaveAugmentOptions = WaveAugmentOptions()
    """Changes to training clips."""
    loop: OptimiseOptions = OptimiseOptions(
        epochs=100, batch=32, accumulate=1, learning_rate=1e-3, warm_up_steps=50, patience=15
    )
    """How the head is trained."""


class S3prlHead(nn.Module):
    """The family's head as parameters, from pooled states [B, layers + 1, hidden] to logits."""

    def __init__(self, states: int, hidden: int, *, projector: int, labels: int) -> None:
        super().__init__()
        self.raw_weights = nn.Parameter(torch.zeros(states))
        self.projector = nn.Linear(hidden, projector)
        self.linear = nn.Linear(projector, labels)

    def downstream(self) -> dict[str, torch.Tensor]:
        """Return the tensors of S3PRL's Downstream, by its names."""
        return {
            "projector.weight": self.projector.weight,
            "projector.bias": self.projector.bias,
            "model.post_net.linear.weight": self.linear.weight,
            "model.post_net.linear.bias": self.linear.bias,
        }

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return logits [B, labels]."""
        return Head(self.raw_weights, self.downstream())(list(states.unbind(dim=1)))


class S3prlTrainer:
    """See `emolake.training.trainer.Trainer`."""

    recipe = S3prlRecipe()
    default_folds = 4

    def validates(self, recipe: S3prlRecipe) -> bool:
        """See `emolake.training.trainer.Trainer`."""
        return recipe.loop.patience is not None

    def input_spec(self, recipe: S3prlRecipe) -> InputSpec:
        """See `emolake.training.trainer.Trainer`."""
        return encoder_input_spec(locate(recipe.encoder, recipe.revision).folder, recipe.max_duration_s)

    def fit(
        self, recipe: S3prlRecipe, corpus: Corpus, folds: Sequence[Fold], run: TrainingRun
    ) -> list[FitResult]:
        """See `emolake.training.trainer.Trainer`."""
        folder = locate(recipe.encoder, recipe.revision).folder
        network = S3prlNetwork(load_encoder(folder), []).to(run.device)
        eps = recipe.waveform_eps if is_normalised(folder) else None
        key: dict[str, JsonValue] = {
            "kind": "mean of every state",
            "encoder": digest(folder),
            "eps": recipe.waveform_eps,
            "device": run.device.split(":")[0],
        }
        features = compute_features(
            corpus, partial(_pooled, network, eps), key, recipe.augment, self.input_spec(recipe), run
        )
        states, hidden = features.plain.shape[1:]
        fits = fit_heads(
            corpus, features, folds, run, options=recipe.loop, standardise=False,
            build=partial(S3prlHead, states, hidden, projector=recipe.projector, labels=len(corpus.labels)),
        )  # fmt: skip
        count = sum(each.numel() for each in fits[-1].module.parameters())
        return [FitResult(each.module, each.logits[None], each.history, count) for each in fits]

    def write(
        self, recipe: S3prlRecipe, result: FitResult, folder: Path, metadata: ModelMetadata
    ) -> list[Path]:
        """See `emolake.training.trainer.Trainer`."""
        located = locate(recipe.encoder, recipe.revision)
        head: S3prlHead = result.state
        layout = {
            "select": "UtteranceLevel",
            "projector_dim": recipe.projector,
            "UtteranceLevel": {"pooling": "MeanPooling"},
        }
        checkpoint = {
            "Args": argparse.Namespace(
                upstream_feature_selection="hidden_states", upstream_layer_selection=None
            ),
            "Config": {"downstream_expert": {"modelrc": layout}},
            "Featurizer": OrderedDict(weights=head.raw_weights.detach()),
            "Downstream": OrderedDict((name, each.detach()) for name, each in head.downstream().items()),
            "Step": 0,
        }
        torch.save(checkpoint, folder / CHECKPOINT_FILE)
        config = {
            "family": "s3prl",
            OPTIONS_KEY: {
                "upstream": located.spec,
                "revision": located.revision,
                "checkpoint": CHECKPOINT_FILE,
                "labels": metadata.labels,
                "waveform_eps": recipe.waveform_eps,
                "temperature": metadata.temperature,
            },
            "licence": metadata.licence,
            "training": metadata.training,
        }
        text = json.dumps(config, indent=2, ensure_ascii=False)
        (folder / CONFIG_FILE).write_text(text + "\n", "utf-8")
        return [folder / CHECKPOINT_FILE]

    def describe(self, recipe: S3prlRecipe, result: FitResult) -> str:
        """See `emolake.training.trainer.Trainer`."""
        shares = torch.softmax(result.state.raw_weights.detach(), dim=0)
        return (
            f"S3PRL's utterance-level head of {result.parameters:,} parameters on the weighted states of "
            f"{Path(recipe.encoder).name}, which was not trained; state {int(shares.argmax())} of "
            f"{len(shares) - 1} weighs most."
        )


@torch.inference_mode()
def _pooled(network: S3prlNetwork, eps: float | None, wave: np.ndarray) -> np.ndarray:
    device = network.upstream.device
    waves, lengths = torch.from_numpy(wave)[None].to(device), torch.tensor([len(wave)], device=device)
    states = network.pooled_states(speech_encoder.normalised(waves, lengths, eps), lengths)
    return np.asarray(torch.cat(states).cpu().numpy())


S3PRL_HEAD = S3prlTrainer()
