"""The trainers wav2vec2_* and whisper_*: a speech encoder under a linear head; family "encoder_head"."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, JsonValue, model_validator
from safetensors.torch import save_file
from torch import nn

from emolake.audio.feature_options import ConditioningOptions
from emolake.messages import counted
from emolake.models.families.encoder_head import EncoderHeadConfig, Pooling
from emolake.models.families.encoder_head_network import (
    EncoderNetwork,
    LinearHead,
    new_network,
    read_encoder,
)
from emolake.models.trained_folder import CONFIG_FILE, WEIGHTS_FILE
from emolake.options import Options
from emolake.training.call_channel import CallOptions
from emolake.training.encoder_training import (
    PretrainedFolder,
    SpecAugmentOptions,
    WaveLearner,
    digest,
    encoder_input_spec,
    fit_waves,
    locate,
    prepare,
    shown_on,
    unfreeze,
)
from emolake.training.epochs import HistoryRow
from emolake.training.folds import Fold
from emolake.training.heads import CorpusFeatures, compute_features, fit_heads
from emolake.training.model_card import what_is_removed
from emolake.training.optimise_options import OptimiseOptions
from emolake.training.regression import RegressionOptions, fit_regression
from emolake.training.seeds import seeded
from emolake.training.trainer import Corpus, FitResult, InputSpec, ModelMetadata
from emolake.training.training_bar import TrainingBar, training_bar
from emolake.training.training_run import TrainingRun
from emolake.training.waves import WaveAugmentOptions
from emolake.training.worker_processes import Report, side_by_side

ENCODER_FOLDER = "encoder"
_ENCODER_PREFIX = "encoder."


class EncoderRecipe(Options):
    """All that decides the weights, beside the data and the seed."""

    encoder: str = "facebook/wav2vec2-large-xlsr-53"
    """Hub id or folder of a wav2vec 2.0, HuBERT, WavLM or Whisper model, in transformers' layout."""
    revision: str | None = None
    """Revision on the hub; a commit pins it."""
    unfreeze_layers: Annotated[int, Field(ge=0)] | Literal["all"] = 0
    """Last transformer layers that are trained: a number, or all. With 0 the encoder runs once for each clip."""
    layers: int | None = Field(None, ge=1)
    """First transformer layers that are kept; all when left out. The last ones of Whisper know words, not voices."""
    pooling: Pooling = "mean"
    """How frames become a vector: mean, or mean_std."""
    conditioning: ConditioningOptions = ConditioningOptions()
    """What is removed from every clip, also in inference: an offset and hum, the level."""
    portable: bool = False
    """The written folder holds the encoder too, in float16, and needs no other file."""
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
    regression: RegressionOptions | None = None
    """The head begins as the optimum of a penalised logistic regression; of a frozen encoder that is all training."""

    @model_validator(mode="after")
    def _is_linear(self) -> Self:
        if self.regression is not None and self.projector is not None:
            raise ValueError("regression fits one linear layer; give projector null, or regression null")
        return self


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
        work = partial(_fit_fold, recipe, located, self.input_spec(recipe), corpus, run)
        steps = recipe.loop.epochs * sum(len(fold.train) for fold in folds)
        with training_bar(steps, "clips") as bar:
            show = shown_on(bar, folds)
            if len(folds) == 1:  # all threads are for it
                fits = [work(folds[0], show)]
            else:
                workers = run.workers if run.device == "cpu" else 1
                fits = side_by_side(work, folds, workers=workers, show=show)
        return [_fit_result(_tensors(state), logits, history) for state, logits, history in fits]

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
        removed = " ".join(what_is_removed(recipe.conditioning))
        return (
            f"A linear head on the {pooled} over time of the output of {part}{Path(recipe.encoder).name}, which "
            f"{tuned}; {result.parameters:,} parameters were trained. {removed}"
        ).rstrip()

    def _fit_head(
        self,
        recipe: EncoderRecipe,
        located: PretrainedFolder,
        corpus: Corpus,
        folds: Sequence[Fold],
        run: TrainingRun,
    ) -> list[FitResult]:
        network = _new_network(recipe, located, labels=2).to(run.device).eval()
        # Of Whisper's states there are those of clips that were padded, from earlier versions.
        kind = "mean state of own frames" if network.config.model_type == "whisper" else "mean state"
        key: dict[str, JsonValue] = {
            "kind": kind, "encoder": digest(located.folder), "device": run.device.split(":")[0],
            "layers": recipe.layers, "pooling": recipe.pooling, "portable": recipe.portable,
            "conditioning": recipe.conditioning.model_dump(mode="json"),
        }  # fmt: skip
        features = compute_features(
            corpus, partial(_pooled, network, run.device), key, recipe.augment, self.input_spec(recipe), run
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
    weight, bias = _regression(recipe, corpus, fold, features.versions[:, fold.train])
    logits = torch.from_numpy(features.plain[fold.predicted]) @ weight.T + bias
    bar.advance(fold.name, clips=len(fold.train) * len(features.versions))
    return _fit_result({"output.weight": weight, "output.bias": bias}, logits.double().numpy(), [])


def _regression(
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
    states = np.stack([_pooled(network, device, corpus.waves[i]) for i in fold.train])
    weight, bias = _regression(recipe, corpus, fold, states[None])
    network.output.load_state_dict({"weight": weight, "bias": bias})


_Arrays = tuple[dict[str, np.ndarray], np.ndarray, list[HistoryRow]]


def _fit_fold(
    recipe: EncoderRecipe,
    located: PretrainedFolder,
    input_spec: InputSpec,
    corpus: Corpus,
    run: TrainingRun,
    fold: Fold,
    show: Callable[[Report], None],
) -> _Arrays:
    """Tune an encoder for one fold; return what was trained, logits [predicted, labels], and the history."""
    with seeded(run.seed, fold.number):
        network = _new_network(recipe, located, labels=len(corpus.labels))
    if recipe.regression is not None:
        _begin_by_regression(network, recipe, corpus, fold, run.device)
    unfreeze(network.encoder, recipe.unfreeze_layers)
    prepare(network.encoder, recipe.spec_augment, checkpointing=recipe.checkpointing)
    learner = WaveLearner(
        network, network.encoder, network, network.batching, corpus, recipe.augment, input_spec, run.device
    )
    finish = partial(_round, network.encoder) if recipe.portable else None
    history, logits = fit_waves(learner, corpus, fold, recipe.loop, run, show, finish=finish)
    return {name: tensor.numpy() for name, tensor in network.tensors().items()}, logits, history


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _new_network(recipe: EncoderRecipe, located: PretrainedFolder, *, labels: int) -> EncoderNetwork:
    """Return the recipe's network before training."""
    described = read_encoder(located.folder, own_frames=True, conditioning=recipe.conditioning)
    network = new_network(
        described, labels=labels, projector=recipe.projector, pooling=recipe.pooling, layers=recipe.layers
    )
    if recipe.portable:
        _round(network.encoder)
    return network


@torch.no_grad()
def _round(encoder: nn.Module) -> None:
    """Round an encoder's weights to what float16 holds, as they are written, so that figures are of these."""
    for parameter in encoder.parameters():
        parameter.copy_(parameter.half())


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
    network = _new_network(recipe, located, labels=2)
    network.encoder.load_state_dict(tuned, strict=False)
    network.encoder.half().save_pretrained(folder)
    read_encoder(located.folder).extractor.save_pretrained(folder)
    return folder / WEIGHTS_FILE


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
_CALLS = EncoderRecipe(
    encoder="openai/whisper-base",
    unfreeze_layers="all",
    layers=3,
    pooling="mean_std",
    projector=None,
    conditioning=ConditioningOptions(high_pass_hz=80.0, level_dbfs=-20.0),
    portable=True,
    augment=WaveAugmentOptions(gain_db=12.0, call=CallOptions()),
    spec_augment=SpecAugmentOptions(
        mask_time_prob=0.1, mask_time_length=20, mask_feature_prob=0.1, mask_feature_length=8
    ),
    loop=OptimiseOptions(
        epochs=10, batch=16, accumulate=1, similar_lengths=8, learning_rate=1e-4, head_learning_rate=1e-3,
        warm_up_steps=150, weight_decay=0.05, label_smoothing=0.05, class_weights=False, balance=0.5,
        foreign_labels=0.1, average=0.99, patience=None, precision="bf16",
    ),
)  # fmt: skip
WHISPER_FINETUNE = EncoderTrainer(_CALLS, default_folds=4)
FROZEN = EncoderTrainer(EncoderRecipe(loop=_HEAD_LOOP), default_folds=4)
FINETUNE = EncoderTrainer(EncoderRecipe(unfreeze_layers=4), default_folds=1)
WHISPER = EncoderTrainer(EncoderRecipe(encoder="openai/whisper-small", loop=_HEAD_LOOP), default_folds=4)
