"""wav2vec2_frozen, wav2vec2_finetune and whisper_head: a speech encoder under a linear head; family "encoder_head"."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import save_file

from emolake.models.families.encoder_head import EncoderHeadConfig
from emolake.models.families.encoder_head_network import EncoderNetwork, LinearHead, new_network
from emolake.models.trained_folder import CONFIG_FILE, WEIGHTS_FILE
from emolake.training.encoder_training import (
    Located,
    SpecAugmentOptions,
    WaveLearner,
    digest,
    encoder_hearing,
    fit_waves,
    locate,
    prepare,
    unfreeze,
)
from emolake.training.folds import Part
from emolake.training.gradient_training import OptimiseOptions
from emolake.training.heads import compute_features, fit_heads
from emolake.training.seeds import seeded
from emolake.training.trainer import Corpus, Facts, Fitted, Hearing
from emolake.training.training_bar import training_bar
from emolake.training.training_run import Run
from emolake.training.waves import WaveAugmentOptions


class EncoderRecipe(BaseModel):
    """All that decides the weights, beside the data and the seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    encoder: str = "facebook/wav2vec2-large-xlsr-53"
    """Hub id or folder of a wav2vec 2.0, HuBERT, WavLM or Whisper model, in transformers' layout."""
    revision: str | None = None
    """Revision on the hub; a commit pins it."""
    unfreeze_layers: Annotated[int, Field(ge=0)] | Literal["all"] = 0
    """Last transformer layers that are trained: a number, or all. With 0 the encoder runs once for each clip."""
    projector: int | None = Field(256, ge=1)
    """Width of the layer before the output; none: null."""
    max_duration_s: float = Field(10.0, gt=0)
    """A longer clip is cut off."""
    augment: WaveAugmentOptions = WaveAugmentOptions()
    """Changes to training clips."""
    spec_augment: SpecAugmentOptions = SpecAugmentOptions()
    """What is hidden of the encoder's states, where it is trained."""
    checkpointing: bool = False
    """Activations are computed twice, which saves memory."""
    loop: OptimiseOptions = OptimiseOptions()
    """How the network is trained."""


class EncoderKind:
    """See `emolake.training.trainer.Kind`."""

    validates = True

    def __init__(self, recipe: EncoderRecipe, *, folds: int) -> None:
        self.recipe = recipe
        self.folds = folds

    def hearing(self, recipe: EncoderRecipe) -> Hearing:
        """See `emolake.training.trainer.Kind`."""
        return encoder_hearing(_locate(recipe).folder, recipe.max_duration_s)

    def fit(self, recipe: EncoderRecipe, corpus: Corpus, parts: Sequence[Part], run: Run) -> list[Fitted]:
        """See `emolake.training.trainer.Kind`."""
        located = _locate(recipe)
        if recipe.unfreeze_layers == 0:
            return self._fit_head(recipe, located, corpus, parts, run)
        fits = []
        steps = recipe.loop.epochs * sum(len(part.heard) for part in parts)
        with training_bar(steps, "clips") as bar:
            for part in parts:
                with seeded(run.seed, part.number):
                    network = new_network(
                        located.folder, labels=len(corpus.labels), projector=recipe.projector
                    )
                unfreeze(network.encoder, recipe.unfreeze_layers)
                prepare(network.encoder, recipe.spec_augment, checkpointing=recipe.checkpointing)
                learner = WaveLearner(
                    network, network.encoder, network, network.batching, corpus, recipe.augment,
                    self.hearing(recipe), run.device,
                )  # fmt: skip
                history, logits = fit_waves(learner, corpus, part, recipe.loop, run, bar)
                fits.append(_fitted(network.tensors(), logits, history))
        return fits

    def write(self, recipe: EncoderRecipe, fitted: Fitted, folder: Path, facts: Facts) -> Path:
        """See `emolake.training.trainer.Kind`."""
        located = _locate(recipe)
        save_file(fitted.state, folder / WEIGHTS_FILE)
        config = EncoderHeadConfig(
            family="encoder_head", encoder=located.spec, revision=located.revision, labels=facts.labels,
            projector=recipe.projector, temperature=facts.temperature, licence=facts.licence,
            training=facts.training,
        )  # fmt: skip
        (folder / CONFIG_FILE).write_text(config.model_dump_json(indent=2) + "\n", "utf-8")
        return folder / WEIGHTS_FILE

    def describe(self, recipe: EncoderRecipe, fitted: Fitted) -> str:
        """See `emolake.training.trainer.Kind`."""
        tuned = {
            0: "was left as it is",
            "all": "was trained but for its convolutions",
        }.get(recipe.unfreeze_layers, f"was trained in its last {recipe.unfreeze_layers} layers")
        return (
            f"A linear head on the mean over time of the output of {Path(recipe.encoder).name}, which {tuned}; "
            f"{fitted.parameters:,} parameters were trained."
        )

    def _fit_head(
        self,
        recipe: EncoderRecipe,
        located: Located,
        corpus: Corpus,
        parts: Sequence[Part],
        run: Run,
    ) -> list[Fitted]:
        network = new_network(located.folder, labels=2, projector=None).to(run.device).eval()
        key = {"kind": "mean state", "encoder": digest(located.folder), "device": run.device.split(":")[0]}
        features = compute_features(
            corpus, partial(_pooled, network, run.device), key, recipe.augment, self.hearing(recipe), run
        )
        fits = fit_heads(
            corpus, features, parts, run, options=recipe.loop, standardise=False,
            build=partial(
                LinearHead, network.config.hidden_size, labels=len(corpus.labels), projector=recipe.projector
            ),
        )  # fmt: skip
        return [_fitted(each.module.state_dict(), each.logits, each.history) for each in fits]


@torch.inference_mode()
def _pooled(network: EncoderNetwork, device: str, wave: np.ndarray) -> np.ndarray:
    waves, lengths = torch.from_numpy(wave)[None].to(device), torch.tensor([len(wave)], device=device)
    return np.asarray(network.pooled(waves, lengths)[0].cpu().numpy())


def _fitted(tensors: dict[str, torch.Tensor], logits: np.ndarray, history: Any) -> Fitted:
    state = {name: tensor.clone() for name, tensor in tensors.items()}
    return Fitted(state, logits[None], history, sum(tensor.numel() for tensor in state.values()))


def _locate(recipe: EncoderRecipe) -> Located:
    return locate(recipe.encoder, recipe.revision)


_HEAD_LOOP = OptimiseOptions(
    epochs=100, batch=32, accumulate=1, learning_rate=1e-3, warm_up_steps=50, patience=15
)
FROZEN = EncoderKind(EncoderRecipe(loop=_HEAD_LOOP), folds=4)
FINETUNE = EncoderKind(EncoderRecipe(unfreeze_layers=4), folds=1)
WHISPER = EncoderKind(EncoderRecipe(encoder="openai/whisper-small", loop=_HEAD_LOOP), folds=4)
