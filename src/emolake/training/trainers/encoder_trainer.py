"""The trainers wav2vec2_* and whisper_*: a speech encoder under a linear head; family "encoder_head"."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file

from emolake.audio.feature_options import ConditioningOptions
from emolake.messages import counted
from emolake.models.families.encoder_head import EncoderHeadConfig
from emolake.models.families.encoder_head_network import (
    LinearHead,
    read_encoder,
)
from emolake.models.trained_folder import CONFIG_FILE, WEIGHTS_FILE
from emolake.training.call_channel import CallOptions
from emolake.training.encoder_training import (
    PretrainedFolder,
    SpecAugmentOptions,
    digest,
    encoder_input_spec,
    locate,
    shown_on,
)
from emolake.training.folds import Fold
from emolake.training.heads import CorpusFeatures, compute_features, fit_heads
from emolake.training.model_card import what_is_removed
from emolake.training.optimise_options import OptimiseOptions
from emolake.training.regression import RegressionOptions
from emolake.training.trainer import Corpus, FitResult, InputSpec, ModelMetadata
from emolake.training.trainers.encoder_recipe import EncoderRecipe
from emolake.training.trainers.encoder_tuning import (
    EncoderTuning,
    begun_network,
    fitted_head,
    jobs_of,
    pooled_states,
)
from emolake.training.training_bar import TrainingBar, training_bar
from emolake.training.training_run import TrainingRun
from emolake.training.waves import WaveAugmentOptions
from emolake.training.worker_processes import side_by_side

if TYPE_CHECKING:
    from pydantic import JsonValue

ENCODER_FOLDER = "encoder"
_ENCODER_PREFIX = "encoder."


class EncoderTrainer:
    """See `emolake.training.trainer.Trainer`."""

    def __init__(self, recipe: EncoderRecipe, *, default_folds: int) -> None:
        self.recipe = recipe
        self.default_folds = default_folds

    def validates(self, recipe: EncoderRecipe) -> bool:
        """See `emolake.training.trainer.Trainer`."""
        has_epochs = recipe.regression is None or recipe.unfreeze_layers != 0
        return has_epochs and recipe.loop.patience is not None

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
        jobs = jobs_of(folds, recipe.networks)
        tuning = EncoderTuning(recipe, located, self.input_spec(recipe), corpus, run)
        steps = recipe.loop.epochs * sum(len(job.fold.train) for job in jobs)
        with training_bar(steps, "clips") as bar:
            show = shown_on(bar, [job.fold for job in jobs])
            if len(jobs) == 1:  # all threads are for it
                tuned = [tuning.tune(jobs[0], show)]
            else:
                workers = run.workers if run.device == "cpu" else 1
                tuned = side_by_side(tuning.tune, jobs, workers=workers, show=show)
        fits = []
        for fold in folds:
            own = [each for job, each in zip(jobs, tuned, strict=True) if job.beginning == fold.number]
            state, logits = tuning.averaged(fold, [arrays for arrays, _ in own])
            fits.append(_fit_result(state, logits, [row for _, history in own for row in history]))
        return fits

    def write(
        self, recipe: EncoderRecipe, result: FitResult, folder: Path, metadata: ModelMetadata
    ) -> list[Path]:
        """See `emolake.training.trainer.Trainer`."""
        located = _locate(recipe)
        state, spec, revision = result.state, located.spec, located.revision
        files = [folder / WEIGHTS_FILE]
        if recipe.portable:
            state, encoder = _divided(result.state)
            spec, revision = ENCODER_FOLDER, None
            files.append(_write_encoder(recipe, located, encoder, folder / ENCODER_FOLDER))
        save_file(state, folder / WEIGHTS_FILE)
        config = EncoderHeadConfig(
            family="encoder_head", encoder=spec, revision=revision, context="clip",
            conditioning=recipe.conditioning, pooling=recipe.pooling, labels=metadata.labels,
            projector=recipe.projector, temperature=metadata.temperature, licence=metadata.licence,
            training=metadata.training,
        )  # fmt: skip
        (folder / CONFIG_FILE).write_text(config.model_dump_json(indent=2) + "\n", "utf-8")
        return files

    def describe(self, recipe: EncoderRecipe, result: FitResult) -> str:
        """See `emolake.training.trainer.Trainer`."""
        tuned_layers = recipe.unfreeze_layers
        last = "layer" if tuned_layers == 1 else f"{tuned_layers} layers"
        tuned = {
            0: "was not trained",
            "all": "was trained except for its convolutions",
        }.get(tuned_layers, f"was trained in its last {last}")
        pooled = "mean" if recipe.pooling == "mean" else "mean and standard deviation"
        part = "" if recipe.layers is None else f"the first {counted(recipe.layers, 'transformer layer')} of "
        several = (
            f"The weights are the mean of those of {counted(recipe.networks, 'network')} that began alike."
            if recipe.networks > 1
            else ""
        )
        told = (several, *what_is_removed(recipe.conditioning))
        return (
            f"A linear head on the {pooled} over time of the output of {part}{Path(recipe.encoder).name}, which "
            f"{tuned}; {result.parameters:,} parameters were trained. {' '.join(filter(None, told))}"
        ).rstrip()

    def _fit_head(
        self,
        recipe: EncoderRecipe,
        located: PretrainedFolder,
        corpus: Corpus,
        folds: Sequence[Fold],
        run: TrainingRun,
    ) -> list[FitResult]:
        network = begun_network(recipe, located, labels=2).to(run.device).eval()
        # Of Whisper's states there are those of clips that were padded, from earlier versions.
        kind = "mean state of own frames" if network.config.model_type == "whisper" else "mean state"
        key: dict[str, JsonValue] = {
            "kind": kind, "encoder": digest(located.folder), "device": run.device.split(":")[0],
            "layers": recipe.layers, "pooling": recipe.pooling, "portable": recipe.portable,
            "conditioning": recipe.conditioning.model_dump(mode="json"),
        }  # fmt: skip
        features = compute_features(
            corpus,
            partial(pooled_states, network, run.device),
            key,
            recipe.augment,
            self.input_spec(recipe),
            run,
        )
        if recipe.regression is not None:
            with training_bar(len(folds), "fits") as bar:
                return [_fit_regression(recipe, corpus, features, fold, bar) for fold in folds]
        fits = fit_heads(
            corpus, features, folds, run, options=recipe.loop, standardise=False,
            build=partial(
                LinearHead, network.width, labels=len(corpus.labels), projector=recipe.projector
            ),
        )  # fmt: skip
        return [_fit_result(each.module.state_dict(), each.logits, each.history) for each in fits]


def _fit_regression(
    recipe: EncoderRecipe, corpus: Corpus, features: CorpusFeatures, fold: Fold, bar: TrainingBar
) -> FitResult:
    """Fit the head of a frozen encoder for one fold, on its clips and their changed versions."""
    weight, bias = fitted_head(recipe, corpus, fold, features.versions[:, fold.train])
    logits = torch.from_numpy(features.plain[fold.predicted]) @ weight.T + bias
    bar.advance(fold.name, clips=len(fold.train) * len(features.versions))
    return _fit_result({"output.weight": weight, "output.bias": bias}, logits.double().numpy(), [])


def _divided(
    state: dict[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the tensors of the head, and those of the encoder by its own names."""
    head = {name: tensor for name, tensor in state.items() if not name.startswith(_ENCODER_PREFIX)}
    encoder = {
        name.removeprefix(_ENCODER_PREFIX): tensor for name, tensor in state.items() if name not in head
    }
    return head, encoder


def _write_encoder(
    recipe: EncoderRecipe, located: PretrainedFolder, tuned: dict[str, torch.Tensor], folder: Path
) -> Path:
    """Write the layers that were kept of an encoder, in float16 and transformers' layout; return the weights' file."""
    network = begun_network(recipe, located, labels=2)
    network.encoder.load_state_dict(tuned, strict=False)
    network.encoder.half().save_pretrained(folder)
    read_encoder(located.folder).extractor.save_pretrained(folder)
    return folder / WEIGHTS_FILE


def _fit_result(tensors: dict[str, torch.Tensor], logits: np.ndarray, history: Any) -> FitResult:
    state = {name: tensor.clone() for name, tensor in tensors.items()}
    return FitResult(state, logits[None], history, sum(tensor.numel() for tensor in state.values()))


def _locate(recipe: EncoderRecipe) -> PretrainedFolder:
    return locate(recipe.encoder, recipe.revision)


_HEAD_LOOP = OptimiseOptions(
    epochs=100, batch=32, accumulate=1, learning_rate=1e-3, warm_up_steps=50, patience=15
)
_CALLS = EncoderRecipe(
    encoder="openai/whisper-base",
    unfreeze_layers="all",
    layers=3,
    pooling="mean_std",
    projector=None,
    conditioning=ConditioningOptions(high_pass_hz=80.0, level_dbfs=-20.0),
    networks=2,
    regression=RegressionOptions(),
    portable=True,
    augment=WaveAugmentOptions(gain_db=12.0, speed=(0.82, 1.2), call=CallOptions()),
    spec_augment=SpecAugmentOptions(
        mask_time_prob=0.1, mask_time_length=20, mask_feature_prob=0.1, mask_feature_length=8
    ),
    loop=OptimiseOptions(
        epochs=8, batch=16, accumulate=1, similar_lengths=8, learning_rate=1e-4, head_learning_rate=1e-3,
        warm_up_steps=150, weight_decay=0.05, label_smoothing=0.05, class_weights=False, balance=0.5,
        foreign_labels=0.1, average=0.99, patience=None, precision="bf16",
    ),
)  # fmt: skip
WHISPER_FINETUNE = EncoderTrainer(_CALLS, default_folds=4)
FROZEN = EncoderTrainer(EncoderRecipe(loop=_HEAD_LOOP), default_folds=4)
FINETUNE = EncoderTrainer(EncoderRecipe(unfreeze_layers=4), default_folds=1)
WHISPER = EncoderTrainer(EncoderRecipe(encoder="openai/whisper-small", loop=_HEAD_LOOP), default_folds=4)
