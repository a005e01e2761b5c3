"""wav2vec2_frozen, wav2vec2_finetune and whisper_head: a speech encoder under a linear head; family "encoder_head"."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import save_file

from emolake.models.families.encoder_head import EncoderHeadConfig
from emolake.models.families.encoder_head_network import EncoderNetwork, LinearHead, new_network
from emolake.models.trained_folder import CONFIG_FILE, WEIGHTS_FILE
from emolake.options import Options
from emolake.training.encoder_training import (
    PretrainedFolder,
    SpecAugmentOptions,
    WaveLearner,
    digest,
    encoder_input_spec,
    fit_waves,
    locate,
    prepare,
    unfreeze,
)
from emolake.training.folds import Fold
from emolake.training.gradient_training import OptimiseOptions
from emolake.training.heads import compute_features, fit_heads
from emolake.training.seeds import seeded
from emolake.training.trainer import Corpus, FitResult, InputSpec, ModelMetadata
from emolake.training.training_bar import training_bar
from emolake.training.training_run import TrainingRun
from emolake.training.waves import WaveAugmentOptions


class EncoderRecipe(Options):
    """All that decides the weights, beside the data and the seed."""

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


class EncoderTrainer:
    """See `emolake.training.trainer.Trainer`."""

    validates = True

    def __init__(self, recipe: EncoderRecipe, *, default_folds: int) -> None:
        self.recipe = recipe
        self.default_folds = default_folds

    def input_spec(self, recipe: EncoderRecipe) -> InputSpec:
        """See `emolake.training.trainer.Trainer`."""
        return encoder_input_spec(_locate(recipe).folder, recipe.max_duration_s)

    def fit(
        self, recipe: EncoderRecipe, corpus: Corpus, folds: Sequence[Fold], run: TrainingRun
    ) -> list[FitResult]:
        """See `emolake.training.trainer.Trainer`."""
        located = _locate(recipe)
        if recipe.unfreeze_layers == 0:
            return self._fit_head(recipe, located, corpus, folds, run)
        fits = []
        steps = recipe.loop.epochs * sum(len(fold.train) for fold in folds)
        with training_bar(steps, "clips") as bar:
            for fold in folds:
                with seeded(run.seed, fold.number):
                    network = new_network(
                        located.folder, labels=len(corpus.labels), projector=recipe.projector, own_frames=True
                    )
                unfreeze(network.encoder, recipe.unfreeze_layers)
                prepare(network.encoder, recipe.spec_augment, checkpointing=recipe.checkpointing)
                learner = WaveLearner(
                    network, network.encoder, network, network.batching, corpus, recipe.augment,
                    self.input_spec(recipe), run.device,
                )  # fmt: skip
                history, logits = fit_waves(learner, corpus, fold, recipe.loop, run, bar)
                fits.append(_fit_result(network.tensors(), logits, history))
        return fits

    def write(self, recipe: EncoderRecipe, result: FitResult, folder: Path, metadata: ModelMetadata) -> Path:
        """See `emolake.training.trainer.Trainer`."""
        located = _locate(recipe)
        save_file(result.state, folder / WEIGHTS_FILE)
        config = EncoderHeadConfig(
            family="encoder_head", encoder=located.spec, revision=located.revision, context="clip",
            labels=metadata.labels,
            projector=recipe.projector, temperature=metadata.temperature, licence=metadata.licence,
            training=metadata.training,
        )  # fmt: skip
        (folder / CONFIG_FILE).write_text(config.model_dump_json(indent=2) + "\n", "utf-8")
        return folder / WEIGHTS_FILE

    def describe(self, recipe: EncoderRecipe, result: FitResult) -> str:
        """See `emolake.training.trainer.Trainer`."""
        layers = recipe.unfreeze_layers
        last = "layer" if layers == 1 else f"{layers} layers"
        tuned = {
            0: "was not trained",
            "all": "was trained except for its convolutions",
        }.get(layers, f"was trained in its last {last}")
        return (
            f"A linear head on the mean over time of the output of {Path(recipe.encoder).name}, which {tuned}; "
            f"{result.parameters:,} parameters were trained."
        )

    def _fit_head(
        self,
        recipe: EncoderRecipe,
        located: PretrainedFolder,
        corpus: Corpus,
        folds: Sequence[Fold],
        run: TrainingRun,
    ) -> list[FitResult]:
        network = new_network(located.folder, labels=2, projector=None, own_frames=True).to(run.device).eval()
        # Of Whisper's states there are those of clips that were padded, from earlier versions.
        kind = "mean state of own frames" if network.config.model_type == "whisper" else "mean state"
        key = {"kind": kind, "encoder": digest(located.folder), "device": run.device.split(":")[0]}
        features = compute_features(
            corpus, partial(_pooled, network, run.device), key, recipe.augment, self.input_spec(recipe), run
        )
        fits = fit_heads(
            corpus, features, folds, run, options=recipe.loop, standardise=False,
            build=partial(
                LinearHead, network.config.hidden_size, labels=len(corpus.labels), projector=recipe.projector
            ),
        )  # fmt: skip
        return [_fit_result(each.module.state_dict(), each.logits, each.history) for each in fits]


@torch.inference_mode()
def _pooled(network: EncoderNetwork, device: str, wave: np.ndarray) -> np.ndarray:
    waves, lengths = torch.from_numpy(wave)[None].to(device), torch.tensor([len(wave)], device=device)
    return np.asarray(network.pooled(waves, lengths)[0].cpu().numpy())


def _fit_result(tensors: dict[str, torch.Tensor], logits: np.ndarray, history: Any) -> FitResult:
    state = {name: tensor.clone() for name, tensor in tensors.items()}
    return FitResult(state, logits[None], history, sum(tensor.numel() for tensor in state.values()))


def _locate(recipe: EncoderRecipe) -> PretrainedFolder:
    return locate(recipe.encoder, recipe.revision)


_HEAD_LOOP = OptimiseOptions(
    epochs=100, batch=32, accumulate=1, learning_rate=1e-3, warm_up_steps=50, patience=15
)
FROZEN = EncoderTrainer(EncoderRecipe(loop=_HEAD_LOOP), default_folds=4)
FINETUNE = EncoderTrainer(EncoderRecipe(unfreeze_layers=4), default_folds=1)
WHISPER = EncoderTrainer(EncoderRecipe(encoder="openai/whisper-small", loop=_HEAD_LOOP), default_folds=4)
