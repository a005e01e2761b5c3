"""What the trainers on speech encoders share: finding one, freezing some of it, feeding it clips."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder
from emolake.models.encoders.speech_encoder import load_part
from emolake.models.families.encoder_head_network import transformer_stack
from emolake.models.hub import model_folder
from emolake.models.protocol import Batching
from emolake.options import Options
from emolake.training.epochs import HistoryRow, log_report
from emolake.training.folds import Fold, fold_seed
from emolake.training.gradient_training import fit
from emolake.training.optimise_options import OptimiseOptions
from emolake.training.trainer import Corpus, InputSpec
from emolake.training.training_bar import TrainingBar
from emolake.training.training_run import TrainingRun
from emolake.training.waves import WaveAugmentOptions, augment_wave
from emolake.training.worker_processes import Report, StepReport

# Of the encoder: never trained, as in every published recipe. The first is wav2vec 2.0's kind, the others Whisper's.
_ALWAYS_FROZEN = ("feature_extractor.", "conv1.", "conv2.", "embed_positions.")


class SpecAugmentOptions(Options):
    """What transformers hides of an encoder's states in training, and of Whisper of its log-mel frames and bands."""

    mask_time_prob: float = Field(0.05, ge=0, lt=1)
    """Share of frames at which a hidden stretch begins, times the stretch's length."""
    mask_time_length: int = Field(10, ge=1)
    """Frames of a stretch."""
    mask_feature_prob: float = Field(0.0, ge=0, lt=1)
    """The same of the states' components."""
    mask_feature_length: int = Field(10, ge=1)
    """Components of a stretch."""


@dataclass(frozen=True)
class PretrainedFolder:
    """A pretrained model on this machine, and how a configuration names it."""

    folder: Path
    spec: str
    revision: str | None


def locate(
    spec: str, revision: str | None, patterns: tuple[str, ...] = speech_encoder.FILES
) -> PretrainedFolder:
    """Find a folder, or fetch `owner/name` from the hub; a revision is pinned to the commit that was fetched.

    Raises:
        ConfigurationError: neither is there, or access to it is denied.
    """
    folder = model_folder(spec, revision, patterns)
    if Path(spec).is_dir():
        return PretrainedFolder(folder=folder, spec=str(folder.resolve()), revision=None)
    return PretrainedFolder(
        folder=folder,
        spec=spec,
        revision=folder.name if folder.parent.name == "snapshots" else revision,
    )


def encoder_input_spec(folder: Path, max_duration_s: float) -> InputSpec:
    """Return which clips an encoder takes; Whisper has a longest duration of its own."""
    from transformers import AutoFeatureExtractor

    extractor = load_part(AutoFeatureExtractor, folder)
    longest = round(max_duration_s * extractor.sampling_rate)
    return InputSpec(max_samples=min(longest, getattr(extractor, "n_samples", longest)))


def digest(*folders: Path) -> str:
    """Return the sha256 of all that a load reads of these folders, for the key of a feature cache."""
    total = hashlib.sha256()
    for folder in folders:
        for name, path in sorted(speech_encoder.weight_files(folder).items()):
            with path.open("rb") as file:
                total.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def unfreeze(encoder: Any, layers: int | Literal["all"]) -> None:
    """Let the last `layers` transformer layers of an encoder be trained, or all; never its convolutions.

    Raises:
        ConfigurationError: it has fewer layers.
    """
    encoder.requires_grad_(False)
    whisper = encoder.config.model_type == "whisper"
    stack = transformer_stack(encoder)
    if not whisper:
        encoder.feature_extractor._freeze_parameters()  # or it asks for gradients of the waveform
    if layers == "all":
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(not name.startswith(_ALWAYS_FROZEN))
        return
    if layers > len(stack.layers):
        raise ConfigurationError(
            f"unfreeze_layers is {layers}, and the encoder has {len(stack.layers)}; give fewer, or all"
        )
    if layers:
        stack.layers[-layers:].requires_grad_(True)
        if whisper or encoder.config.do_stable_layer_norm:  # else the norm comes before the layers
            stack.layer_norm.requires_grad_(True)


def prepare(encoder: Any, spec_augment: SpecAugmentOptions, *, checkpointing: bool) -> None:
    """Set what is hidden in training, and whether activations are computed twice to save memory."""
    encoder.config.update({"apply_spec_augment": True, **spec_augment.model_dump()})
    if checkpointing:
        encoder.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})


def tune_waves(
    learner: "WaveLearner",
    corpus: Corpus,
    fold: Fold,
    options: OptimiseOptions,
    run: TrainingRun,
    show: Callable[[Report], None],
) -> list[HistoryRow]:
    """Train on a fold's clips, or resume what an earlier, killed call left; `show` gets every step and epoch."""

    def show_step(loss: float, clips: int) -> None:
        show(StepReport(fold.name, clips, loss))

    return fit(
        learner, corpus.targets, fold.train, fold.validation, labels=len(corpus.labels), options=options,
        seed=fold_seed(run.seed, fold), name=fold.name, checkpoint=run.checkpoint(f"fit-{fold.number}"),
        corpora=corpus.corpora, on_step=show_step, report=show,
    )  # fmt: skip


def shown_on(bar: TrainingBar, folds: Sequence[Fold]) -> Callable[[Report], None]:
    """Return what shows the fits of these folds on a bar of clips, and logs their epochs."""
    clips_of = {fold.name: len(fold.train) for fold in folds}

    def show(report: Report) -> None:
        if isinstance(report, StepReport):
            bar.advance(report.run, clips=report.clips, loss=report.loss, steps=report.clips)
            return
        if report.resumed:
            name = report.last["run"]
            bar.advance(name, clips=0, steps=report.count * clips_of[name])
        log_report(report)

    return show


class WaveLearner:
    """A network on waveforms. See `emolake.training.gradient_training.Learner`."""

    def __init__(
        self,
        module: nn.Module,
        encoder: Any,
        forward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        batching: Batching,
        corpus: Corpus,
        augment: WaveAugmentOptions,
        input_spec: InputSpec,
        device: str,
    ) -> None:
        """Feed `corpus` to `forward`, which takes waves [B, T] and lengths [B] to logits, as `batching` allows."""
        self.module = module.to(device)
        self.device = device
        self.pretrained: Sequence[nn.Parameter] = [*encoder.parameters()]
        self.lengths = np.array([len(wave) for wave in corpus.waves])
        self._config = encoder.config
        self._forward = forward
        self._batching = batching
        self._corpus = corpus
        self._augment = augment
        self._input_spec = input_spec

    def logits(self, chosen: np.ndarray, generator: np.random.Generator | None) -> torch.Tensor:
        """See `emolake.training.gradient_training.Learner`."""
        waves = [self._corpus.waves[index] for index in chosen]
        if generator is not None:
            waves = [augment_wave(wave, generator, self._augment, self._input_spec) for wave in waves]
        if self._batching is Batching.MASKED:
            return self._together(waves)
        # A group norm would take the padding of one clip into its statistics.
        return torch.cat([self._together([wave]) for wave in waves])

    def _together(self, waves: list[np.ndarray]) -> torch.Tensor:
        lengths = torch.tensor([len(wave) for wave in waves])
        if self._config.model_type != "whisper":
            frames = int(speech_encoder.frame_counts(lengths, self._config).max())
            # transformers refuses stretches that are longer than the clips
            self._config.apply_spec_augment = frames > self._config.mask_time_length
        padded = nn.utils.rnn.pad_sequence([torch.from_numpy(wave) for wave in waves], batch_first=True)
        return self._forward(padded.to(self.device), lengths.to(self.device))
