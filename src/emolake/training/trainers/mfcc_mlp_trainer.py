"""mfcc_mlp: a small dense network on a clip's mean cepstral coefficients; family "mfcc_mlp"."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import save_file

from emolake.audio.feature_options import MfccOptions
from emolake.models.families.mfcc_mlp import MfccMlpConfig
from emolake.models.families.mfcc_mlp_network import MfccMlpNetwork, mean_over_time
from emolake.models.trained_folder import CONFIG_FILE, WEIGHTS_FILE
from emolake.options import Options
from emolake.training.folds import Fold
from emolake.training.heads import compute_features, fit_heads
from emolake.training.optimise_options import OptimiseOptions
from emolake.training.trainer import Corpus, FitResult, InputSpec, ModelMetadata
from emolake.training.training_run import TrainingRun
from emolake.training.waves import WaveAugmentOptions


class MfccMlpRecipe(Options):
    """All that decides the weights, beside the data and the seed."""

    max_duration_s: float = Field(10.0, gt=0)
    """A longer clip is cut off."""
    augment: WaveAugmentOptions = WaveAugmentOptions()
    """Changes to training clips."""
    mfcc: MfccOptions = MfccOptions()
    """The cepstral coefficients."""
    hidden: tuple[int, ...] = (256, 128)
    """Width of each hidden layer."""
    activation: Literal["relu", "gelu"] = "relu"
    """Between two layers."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Share of values dropped after each hidden layer."""
    loop: OptimiseOptions = OptimiseOptions(
        epochs=150, batch=32, accumulate=1, learning_rate=1e-3, warm_up_steps=100, patience=30
    )
    """How the network is trained."""


class MfccMlpTrainer:
    """See `emolake.training.trainer.Trainer`."""

    recipe = MfccMlpRecipe()
    default_folds = 4

    def validates(self, recipe: MfccMlpRecipe) -> bool:
        """See `emolake.training.trainer.Trainer`."""
        return recipe.loop.patience is not None

    def input_spec(self, recipe: MfccMlpRecipe) -> InputSpec:
        """See `emolake.training.trainer.Trainer`."""
        return InputSpec(max_samples=round(recipe.max_duration_s * 16_000))

    def fit(
        self, recipe: MfccMlpRecipe, corpus: Corpus, folds: Sequence[Fold], run: TrainingRun
    ) -> list[FitResult]:
        """See `emolake.training.trainer.Trainer`."""

        def extract(wave: np.ndarray) -> np.ndarray:
            batch, length = torch.from_numpy(wave)[None], torch.tensor([len(wave)])
            return np.asarray(mean_over_time(batch, length, recipe.mfcc)[0].numpy())

        key = {"kind": "mean mfcc", **recipe.mfcc.model_dump(mode="json")}
        features = compute_features(corpus, extract, key, recipe.augment, self.input_spec(recipe), run)
        sizes = (recipe.mfcc.coefficients, *recipe.hidden, len(corpus.labels))
        fits = fit_heads(
            corpus, features, folds, run, options=recipe.loop, standardise=True,
            build=partial(MfccMlpNetwork, sizes, activation=recipe.activation, dropout=recipe.dropout),
        )  # fmt: skip
        count = sum(each.numel() for each in fits[-1].module.parameters())
        return [FitResult(each, each.logits[None], each.history, count) for each in fits]

    def write(
        self, recipe: MfccMlpRecipe, result: FitResult, folder: Path, metadata: ModelMetadata
    ) -> list[Path]:
        """See `emolake.training.trainer.Trainer`."""
        save_file(result.state.module.state_dict(), folder / WEIGHTS_FILE)
        config = MfccMlpConfig(
            family="mfcc_mlp", labels=metadata.labels, mfcc=recipe.mfcc, hidden=recipe.hidden,
            activation=recipe.activation, mean=tuple(result.state.mean.tolist()),
            scale=tuple(result.state.scale.tolist()), temperature=metadata.temperature, licence=metadata.licence,
            training=metadata.training,
        )  # fmt: skip
        (folder / CONFIG_FILE).write_text(config.model_dump_json(indent=2) + "\n", "utf-8")
        return [folder / WEIGHTS_FILE]

    def describe(self, recipe: MfccMlpRecipe, result: FitResult) -> str:
        """See `emolake.training.trainer.Trainer`."""
        widths = ", ".join(map(str, recipe.hidden))
        return (
            f"A dense network of {result.parameters:,} parameters (hidden layers of {widths}) on the mean over time of "
            f"{recipe.mfcc.coefficients} cepstral coefficients."
        )


MFCC_MLP = MfccMlpTrainer()
