"""hf_finetune: transformers' own audio classifier, saved as such; family "transformers"."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from emolake.models.encoders import encoder_input, speech_encoder
from emolake.models.encoders.speech_encoder import load_part
from emolake.models.families.transformers_network import Classifier
from emolake.models.trained_folder import CONFIG_FILE, OPTIONS_KEY
from emolake.options import Options
from emolake.training.encoder_training import (
    SpecAugmentOptions,
    WaveLearner,
    encoder_input_spec,
    locate,
    prepare,
    shown_on,
    tune_waves,
    unfreeze,
)
from emolake.training.folds import Fold
from emolake.training.gradient_training import predict_logits
from emolake.training.optimise_options import OptimiseOptions
from emolake.training.seeds import seeded
from emolake.training.trainer import Corpus, FitResult, InputSpec, ModelMetadata
from emolake.training.training_bar import training_bar
from emolake.training.training_run import TrainingRun
from emolake.training.waves import WaveAugmentOptions

_NEW_HEADS = ("classifier.", "projector.", "layer_weights")


class HfRecipe(Options):
    """All that decides the weights, beside the data and the seed."""

    encoder: str = "facebook/hubert-large-ll60k"
    """Hub id or folder of a wav2vec 2.0, HuBERT, WavLM or Whisper model, pretrained or a classifier already."""
    revision: str | None = None
    """Revision on the hub; a commit pins it."""
    unfreeze_layers: Annotated[int, Field(ge=0)] | Literal["all"] = "all"
    """Last transformer layers that are trained beside the head: a number, or all but the convolutions."""
    max_duration_s: float = Field(10.0, gt=0)
    """A longer clip is cut off."""
    augment: WaveAugmentOptions = WaveAugmentOptions()
    """Changes to training clips."""
    spec_augment: SpecAugmentOptions = SpecAugmentOptions()
    """What is hidden of the encoder's states."""
    checkpointing: bool = False
    """Activations are computed twice, which saves memory."""
    loop: OptimiseOptions = OptimiseOptions()
    """How the network is trained."""


@dataclass(frozen=True)
class _SavedClassifier:
    """What is saved: on the CPU."""

    model: Any
    extractor: Any


class HfTrainer:
    """See `emolake.training.trainer.Trainer`."""

    recipe = HfRecipe()
    default_folds = 1

    def validates(self, recipe: HfRecipe) -> bool:
        """See `emolake.training.trainer.Trainer`."""
        return recipe.loop.patience is not None

    def input_spec(self, recipe: HfRecipe) -> InputSpec:
        """See `emolake.training.trainer.Trainer`."""
        return encoder_input_spec(locate(recipe.encoder, recipe.revision).folder, recipe.max_duration_s)

    def fit(
        self, recipe: HfRecipe, corpus: Corpus, folds: Sequence[Fold], run: TrainingRun
    ) -> list[FitResult]:
        """See `emolake.training.trainer.Trainer`."""
        fits = []
        steps = recipe.loop.epochs * sum(len(fold.train) for fold in folds)
        with training_bar(steps, "clips") as bar:
            for fold in folds:
                with seeded(run.seed, fold.number):
                    model, extractor = _new_classifier(recipe, corpus.labels)
                encoder = model.encoder if model.config.model_type == "whisper" else model.base_model
                unfreeze(encoder, recipe.unfreeze_layers)
                prepare(encoder, recipe.spec_augment, checkpointing=recipe.checkpointing)
                # The family's own forward pass, so that inference computes what was trained.
                network = Classifier(model.to(run.device))
                batching = encoder_input.batching(extractor, model.config.to_dict())
                learner = WaveLearner(
                    model, encoder, partial(_logits, network, extractor), batching, corpus, recipe.augment,
                    self.input_spec(recipe), run.device,
                )  # fmt: skip
                history = tune_waves(learner, corpus, fold, recipe.loop, run, shown_on(bar, folds))
                logits = predict_logits(
                    learner, fold.predicted, batch=recipe.loop.batch, labels=len(corpus.labels)
                )
                count = sum(each.numel() for each in model.parameters() if each.requires_grad)
                # Of several folds only the last model is written; the others would fill the memory.
                state = _SavedClassifier(model.to("cpu"), extractor) if fold is folds[-1] else None
                fits.append(FitResult(state, logits[None], history, count))
        return fits

    def write(self, recipe: HfRecipe, result: FitResult, folder: Path, metadata: ModelMetadata) -> list[Path]:
        """See `emolake.training.trainer.Trainer`."""
        result.state.model.save_pretrained(folder)
        result.state.extractor.save_pretrained(folder)
        path = folder / CONFIG_FILE
        config = json.loads(path.read_text("utf-8"))
        # transformers keeps keys that it does not know, so the folder is a checkpoint for it too.
        config |= {
            "family": "transformers",
            OPTIONS_KEY: {"model": ".", "temperature": metadata.temperature},
            "licence": metadata.licence,
            "training": metadata.training,
        }
        path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")
        return [folder / "model.safetensors"]

    def describe(self, recipe: HfRecipe, result: FitResult) -> str:
        """See `emolake.training.trainer.Trainer`."""
        return (
            f"The audio classifier of transformers on {Path(recipe.encoder).name}; {result.parameters:,} parameters "
            "were trained, and the convolutions were not."
        )


def _logits(network: Classifier, extractor: Any, waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = network(encoder_input.prepared(waves, lengths, extractor), lengths)
    return logits


def _new_classifier(recipe: HfRecipe, labels: tuple[str, ...]) -> tuple[Any, Any]:
    """Return a pretrained encoder under a head for these labels, random where the checkpoint has none that fits."""
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    folder = locate(recipe.encoder, recipe.revision).folder
    model = speech_encoder.load_exactly(
        AutoModelForAudioClassification, folder,
        other_heads=(*speech_encoder.OTHER_HEADS, "decoder.", "model.decoder."), new_heads=_NEW_HEADS,
        id2label=dict(enumerate(labels)), label2id={label: index for index, label in enumerate(labels)},
    )  # fmt: skip
    return model, load_part(AutoFeatureExtractor, folder)


HF_FINETUNE = HfTrainer()
