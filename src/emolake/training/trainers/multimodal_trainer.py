"""multimodal: transcript and cepstra through a dense network; family "multimodal"."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import nn

from emolake.audio.feature_options import MfccOptions
from emolake.models.encoders import speech_encoder
from emolake.models.encoders.tokenizers import TOKENIZER_FILES
from emolake.models.families.multimodal import Multimodal, MultimodalConfig
from emolake.models.families.multimodal_network import MultimodalHead, TextEncoder
from emolake.models.trained_folder import CONFIG_FILE, WEIGHTS_FILE
from emolake.models.transcriber import Transcriber
from emolake.options import Options
from emolake.training.encoder_training import PretrainedFolder, digest, encoder_input_spec, locate
from emolake.training.folds import Fold
from emolake.training.heads import HeadFit, compute_features, fit_heads
from emolake.training.optimise_options import OptimiseOptions
from emolake.training.trainer import Corpus, FitResult, InputSpec, ModelMetadata
from emolake.training.training_run import TrainingRun
from emolake.training.waves import WaveAugmentOptions


class MultimodalRecipe(Options):
    """All that decides the weights, beside the data and the seed."""

    speech_to_text: str = "openai/whisper-small"
    """Hub id or folder of a Whisper model."""
    speech_to_text_revision: str | None = None
    """Its revision on the hub."""
    text_encoder: str = "kykim/bert-kor-base"
    """Hub id or folder of a BERT model."""
    text_encoder_revision: str | None = None
    """Its revision on the hub."""
    language: str | None = None
    """Two-letter code of what is spoken; guessed clip by clip when left out."""
    max_new_tokens: int = Field(128, ge=1, le=440)
    """Where a transcript is cut off."""
    mfcc: MfccOptions = MfccOptions()
    """The cepstral coefficients."""
    hidden: tuple[int, ...] = (256, 128)
    """Width of each hidden layer."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Share of values dropped after each hidden layer."""
    max_duration_s: float = Field(10.0, gt=0)
    """A longer clip is cut off."""
    augment: WaveAugmentOptions = WaveAugmentOptions(copies=1)
    """Changes to training clips; each changed clip is transcribed too."""
    loop: OptimiseOptions = OptimiseOptions(
        epochs=150, batch=32, accumulate=1, learning_rate=1e-3, warm_up_steps=50, patience=20
    )
    """How the head is trained."""


class MultimodalTrainer:
    """See `emolake.training.trainer.Trainer`."""

    recipe = MultimodalRecipe()
    default_folds = 4

    def validates(self, recipe: MultimodalRecipe) -> bool:
        """See `emolake.training.trainer.Trainer`."""
        return recipe.loop.patience is not None

    def input_spec(self, recipe: MultimodalRecipe) -> InputSpec:
        """See `emolake.training.trainer.Trainer`."""
        return encoder_input_spec(_located(recipe)[0].folder, recipe.max_duration_s)

    def fit(
        self, recipe: MultimodalRecipe, corpus: Corpus, folds: Sequence[Fold], run: TrainingRun
    ) -> list[FitResult]:
        """See `emolake.training.trainer.Trainer`."""
        speech, text = _located(recipe)
        metadata = ModelMetadata(labels=corpus.labels, temperature=1.0, licence="", training={})
        config = _config(recipe, metadata)
        text_encoder = TextEncoder(text.folder)
        width = text_encoder.width + recipe.mfcc.coefficients
        # The family's own way from clip to features; its head is not used.
        model = Multimodal(
            config, Transcriber(speech.folder, language=recipe.language, max_new_tokens=recipe.max_new_tokens),
            text_encoder, MultimodalHead((width, len(corpus.labels)), 0.0), device=run.device, keep_loaded=True,
            cache=None,
        )  # fmt: skip
        key = {
            "kind": "text and mean mfcc",
            "models": digest(speech.folder, text.folder),
            "language": recipe.language,
            "max_new_tokens": recipe.max_new_tokens,
            "device": run.device.split(":")[0],
            **recipe.mfcc.model_dump(mode="json"),
        }
        text_and_sound = _TextAndSound(model)
        features = compute_features(
            corpus, text_and_sound, key, recipe.augment, self.input_spec(recipe), run,
            prepare=text_and_sound.transcribe,
        )  # fmt: skip
        sizes = (width, *recipe.hidden, len(corpus.labels))
        fits = fit_heads(
            corpus, features, folds, run, options=recipe.loop, standardise=True,
            build=partial(MultimodalHead, sizes, recipe.dropout),
        )  # fmt: skip
        count = sum(each.numel() for each in fits[-1].module.parameters())
        return [FitResult(_folded(each), each.logits[None], each.history, count) for each in fits]

    def write(
        self, recipe: MultimodalRecipe, result: FitResult, folder: Path, metadata: ModelMetadata
    ) -> list[Path]:
        """See `emolake.training.trainer.Trainer`."""
        save_file(result.state, folder / WEIGHTS_FILE)
        config = _config(recipe, metadata)
        (folder / CONFIG_FILE).write_text(config.model_dump_json(indent=2) + "\n", "utf-8")
        return [folder / WEIGHTS_FILE]

    def describe(self, recipe: MultimodalRecipe, result: FitResult) -> str:
        """See `emolake.training.trainer.Trainer`."""
        return (
            f"A dense network of {result.parameters:,} parameters on {Path(recipe.text_encoder).name}'s state of the "
            f"transcript by {Path(recipe.speech_to_text).name}, and on the mean over time of "
            f"{recipe.mfcc.coefficients} cepstral coefficients."
        )


class _TextAndSound:
    """The features of clips: transcribed in batches, which changes no text, and then computed one by one."""

    def __init__(self, model: Multimodal) -> None:
        self._model = model
        self._texts: dict[bytes, str] = {}

    def transcribe(self, waves: Sequence[np.ndarray]) -> None:
        """Keep the transcripts of clips, each [samples] float32, until the next call."""
        self._texts = {}
        if waves:
            padded = nn.utils.rnn.pad_sequence([torch.from_numpy(wave) for wave in waves], batch_first=True)
            texts = self._model.transcripts(padded, torch.tensor([len(wave) for wave in waves]))
            self._texts = {wave.tobytes(): text for wave, text in zip(waves, texts, strict=True)}

    def __call__(self, wave: np.ndarray) -> np.ndarray:
        """Return the features of text and sound [n] of a clip [samples] float32."""
        waves, lengths = torch.from_numpy(wave)[None], torch.tensor([len(wave)])
        # Unknown of a clip whose entry in the cache turns out to be broken.
        known = self._texts.get(wave.tobytes())
        texts = self._model.transcripts(waves, lengths) if known is None else [known]
        return np.asarray(self._model.features(waves, lengths, texts)[0].cpu().numpy())


def _folded(fit: HeadFit) -> dict[str, torch.Tensor]:
    """Return the head's weights for features as they are: the family has no scale, so the first layer takes it up."""
    head = fit.module
    state = {name: value.detach().double() for name, value in head.state_dict().items()}
    first: nn.Linear = head.layers[0]  # type: ignore[index,assignment]
    weight = first.weight.detach().double() / torch.from_numpy(fit.scale).double()
    state["layers.0.weight"] = weight
    state["layers.0.bias"] = state["layers.0.bias"] - weight @ torch.from_numpy(fit.mean).double()
    return {name: value.float().contiguous() for name, value in state.items()}


def _located(recipe: MultimodalRecipe) -> tuple[PretrainedFolder, PretrainedFolder]:
    patterns = (*speech_encoder.FILES, *TOKENIZER_FILES)
    return (
        locate(recipe.speech_to_text, recipe.speech_to_text_revision, patterns),
        locate(recipe.text_encoder, recipe.text_encoder_revision, patterns),
    )


def _config(recipe: MultimodalRecipe, metadata: ModelMetadata) -> MultimodalConfig:
    speech, text = _located(recipe)
    return MultimodalConfig(
        family="multimodal", labels=metadata.labels, speech_to_text=speech.spec,
        speech_to_text_revision=speech.revision, text_encoder=text.spec, text_encoder_revision=text.revision,
        language=recipe.language, max_new_tokens=recipe.max_new_tokens, mfcc=recipe.mfcc, hidden=recipe.hidden,
        dropout=recipe.dropout, temperature=metadata.temperature, licence=metadata.licence, training=metadata.training,
    )  # fmt: skip


MULTIMODAL = MultimodalTrainer()
