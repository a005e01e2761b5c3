"""Family "multimodal": the transcript and the sound of a clip, in one vector, through a small dense network.

Whisper transcribes the clip, BERT's [CLS] state of that text (768 wide for `kykim/bert-kor-base`) is joined with
the clip's mean cepstral coefficients (40), in this order and unscaled, and goes through dense layers with GELU
(808 -> 256 -> 128 -> labels). The model's folder holds `config.json` (see `MultimodalConfig`) and
`model.safetensors` with `layers.N.weight` and `layers.N.bias`, N from 0.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, JsonValue

from emolake.audio.feature_options import MfccOptions
from emolake.models.encoders import speech_encoder
from emolake.models.encoders.tokenizers import TOKENIZER_FILES, model_files
from emolake.models.hub import model_folder
from emolake.models.protocol import TORCH_FP32, Batching, Description, PersonalCacheFolder, Prediction
from emolake.models.trained_folder import CONFIG_FILE, TrainedFolder, fill, read_config
from emolake.models.transcripts import TranscriptCache
from emolake.options import Options

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch

    from emolake.models.families.multimodal_network import MultimodalHead, TextEncoder
    from emolake.models.transcriber import Transcriber


class MultimodalOptions(TrainedFolder):
    """The keys of a model of this family."""

    keep_loaded: bool = False
    """Leave both large models on the device; else one at a time is there, and the other waits in main memory."""
    transcript_cache: PersonalCacheFolder | None = None
    """An existing folder that transcripts are kept in, by content and model; none are kept when left out."""


class MultimodalConfig(Options):
    """The contents of `config.json`."""

    family: Literal["multimodal"]
    """The name in the registry."""
    labels: tuple[str, ...] = Field(min_length=2)
    """What the outputs mean, in order."""
    speech_to_text: str = Field(min_length=1)
    """Hub id or folder of a Whisper model; a relative folder is looked for in the model's own."""
    speech_to_text_revision: str | None = None
    """Its revision on the hub; a commit pins it."""
    text_encoder: str = Field(min_length=1)
    """Hub id or folder of a BERT model; a relative folder is looked for in the model's own."""
    text_encoder_revision: str | None = None
    """Its revision on the hub; a commit pins it."""
    language: str | None = None
    """Two-letter code of what is spoken, such as ko; Whisper guesses it clip by clip when left out."""
    max_new_tokens: int = Field(default=128, ge=1, le=440)
    """Where a transcript is cut off."""
    mfcc: MfccOptions = MfccOptions()
    """The cepstral coefficients; librosa's when left out, 40 of them."""
    hidden: tuple[int, ...] = (256, 128)
    """Width of each hidden layer."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of values dropped after each hidden layer in training."""
    temperature: float = Field(default=1.0, gt=0)
    """The logits are divided by it: calibration."""
    licence: str = "not stated"
    """Under which the weights may be used."""
    training: dict[str, JsonValue] = Field(default_factory=dict)
    """The recipe and the hash of the data; a record."""


class Multimodal:
    """A loaded folder of this family. See `emolake.models.protocol.EmotionModel`."""

    Options = MultimodalOptions
    family = "multimodal"
    sampling_rate = speech_encoder.SAMPLING_RATE
    min_samples = speech_encoder.MIN_SAMPLES
    # Transcripts are those of each clip alone (see `Transcriber`), text and sound are masked.
    batching = Batching.MASKED
    precision = "fp32"
    precisions = TORCH_FP32

    def __init__(
        self,
        config: MultimodalConfig,
        transcriber: "Transcriber",
        text_encoder: "TextEncoder",
        head: "MultimodalHead",
        *,
        device: str,
        keep_loaded: bool,
        cache: TranscriptCache | None,
    ) -> None:
        self.labels = config.labels
        self.device = device
        self.max_samples = transcriber.max_samples
        self._mfcc = config.mfcc
        self._temperature = config.temperature
        self._transcriber = transcriber
        self._text_encoder = text_encoder
        self._head = head.to(device).eval()
        self._keep_loaded = keep_loaded
        self._cache = cache
        self._latest: dict[bytes, str] = {}

    @classmethod
    def describe(cls, options: MultimodalOptions) -> Description:
        """Read the labels and find the three networks; see `emolake.models.protocol.Family`."""
        config = read_config(options.path, MultimodalConfig, cls.family)
        files = options.files()
        for part, folder in (
            ("speech_to_text", speech_to_text_folder(config, options.path)),
            ("text_encoder", text_encoder_folder(config, options.path)),
        ):
            files |= {f"{part}/{name}": path for name, path in model_files(folder).items()}
        return Description(config.labels, files, licence=config.licence)

    @classmethod
    def load(cls, options: MultimodalOptions, *, device: str, precision: str) -> Self:
        """Load all three networks into main memory; the large ones visit the device when they are used."""
        from emolake.models.families.multimodal_network import MultimodalHead, TextEncoder
        from emolake.models.transcriber import Transcriber

        config = read_config(options.path, MultimodalConfig, cls.family)
        speech_to_text = speech_to_text_folder(config, options.path)
        transcriber = Transcriber(
            speech_to_text, language=config.language, max_new_tokens=config.max_new_tokens
        )
        text_encoder = TextEncoder(text_encoder_folder(config, options.path))
        sizes = (text_encoder.width + config.mfcc.coefficients, *config.hidden, len(config.labels))
        head = MultimodalHead(sizes, config.dropout)
        fill(dict(head.named_parameters()), options.path, beside=f"{CONFIG_FILE} and text encoder")
        cache = None
        if options.transcript_cache is not None:
            recipe = {"language": config.language, "max_new_tokens": config.max_new_tokens}
            cache = TranscriptCache(options.transcript_cache, model_files(speech_to_text), recipe)
        return cls(
            config,
            transcriber,
            text_encoder,
            head,
            device=device,
            keep_loaded=options.keep_loaded,
            cache=cache,
        )

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.EmotionModel`; the logits are calibrated."""
        import torch

        with torch.inference_mode():
            transcripts = self.transcripts(waves, lengths)
            logits = self._head(self.features(waves, lengths, transcripts)) / self._temperature
            return Prediction(logits.to("cpu", torch.float32), transcripts=transcripts)

    def features(
        self, waves: "torch.Tensor", lengths: "torch.Tensor", transcripts: Sequence[str]
    ) -> "torch.Tensor":
        """Return the head's input of waves [B, T] of `lengths` [B] samples: text and sound [B, text + coefficients]."""
        import torch

        from emolake.models.families.mfcc_mlp_network import mean_over_time

        with torch.inference_mode():
            with self._on_device(self._text_encoder.model):
                text = self._text_encoder.states(transcripts)
            sound = mean_over_time(waves.to(self.device), lengths.to(self.device), self._mfcc)
            return torch.cat([text, sound], dim=1)

    def transcripts(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> tuple[str, ...]:
        """Return the transcripts of waves [B, T] of `lengths` [B] samples; see `emolake.models.protocol.Transcribing`.

        They are those of each clip alone; equal clips are transcribed once.
        """
        import torch

        from emolake.models.encoders import encoder_input

        encoder_input.check_lengths(lengths, self.max_samples, "Whisper")
        clips = [wave[:length].float().cpu() for wave, length in zip(waves, lengths.tolist(), strict=True)]
        keys = [hashlib.sha256(clip.numpy().tobytes()).digest() for clip in clips]
        known = {key: self._latest[key] for key in keys if key in self._latest}
        if self._cache is not None:
            kept = {key: self._cache.read(key) for key in keys if key not in known}
            known |= {key: text for key, text in kept.items() if text is not None}
        new = {key: clip for key, clip in zip(keys, clips, strict=True) if key not in known}
        if new:
            with torch.inference_mode(), self._on_device(self._transcriber.model):
                texts = self._transcriber.transcripts(list(new.values()))
            for key, text in zip(new, texts, strict=True):
                known[key] = text
                if self._cache is not None:
                    self._cache.write(key, text)
        self._latest = known
        return tuple(known[key] for key in keys)

    def modules(self) -> "Mapping[str, torch.nn.Module]":
        """See `emolake.models.protocol.Inspectable`."""
        return {"text_encoder": self._text_encoder.model, "head": self._head}

    def layer_weights(self) -> "Mapping[str, torch.Tensor]":
        """See `emolake.models.protocol.Inspectable`; this family sums no layers."""
        return {}

    def _on_device(self, model: "torch.nn.Module") -> "AbstractContextManager[None]":
        from emolake.models.families.multimodal_network import on_device

        return on_device(model, self.device, keep_loaded=self._keep_loaded)


def speech_to_text_folder(config: MultimodalConfig, beside: Path) -> Path:
    """Return the folder of Whisper; a relative one is looked for in `beside`."""
    return _part_folder(config.speech_to_text, config.speech_to_text_revision, beside)


def text_encoder_folder(config: MultimodalConfig, beside: Path) -> Path:
    """Return the folder of BERT; a relative one is looked for in `beside`."""
    return _part_folder(config.text_encoder, config.text_encoder_revision, beside)


def _part_folder(spec: str, revision: str | None, beside: Path) -> Path:
    own = beside / spec
    return own if own.is_dir() else model_folder(spec, revision, (*speech_encoder.FILES, *TOKENIZER_FILES))
