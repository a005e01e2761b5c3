"""Family "s3prl": S3PRL's utterance-level emotion head on a self-supervised encoder (Kushinada and its kind).

Logits are `W2 (W1 mean_t(sum_i a_i s_i,t) + b1) + b2` with `a` the softmax of the checkpoint's Featurizer weights
over the N+1 hidden states, as S3PRL 0.4.18's Featurizer and emotion downstream compute them for one utterance alone
(https://github.com/s3prl/s3prl). The head is linear in its states, so each is pooled as its layer runs and added up;
they are never stacked.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field

from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder
from emolake.models.encoders.encoder_model import EncoderModel, EncoderPlan, SpeechEncoder
from emolake.models.hub import model_file, model_folder
from emolake.models.protocol import Description
from emolake.options import Options

if TYPE_CHECKING:
    import torch

_METADATA = "train_meta_data.json"


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class S3prlOptions(Options):
    """The keys of a model of this family."""

    upstream: str
    """Hub id or folder of the encoder, in transformers' layout."""
    checkpoint: Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
    """Path or `owner/name/file` of S3PRL's checkpoint; of several, such as folds, the logits are averaged."""
    revision: str | None = None
    """Revision of the upstream on the hub."""
    checkpoint_revision: str | None = None
    """Revision of the checkpoint's repository on the hub."""
    labels: tuple[str, ...] | None = None
    """Order of the outputs; read from S3PRL's metadata file when left out."""
    metadata: str | None = None
    """S3PRL's metadata file; train_meta_data.json beside the first checkpoint when left out."""
    waveform_eps: float = Field(speech_encoder.HUGGING_FACE_EPS, gt=0)
    """Added to the variance of the waveform: 1e-7 as transformers' extractor, 1e-5 as S3PRL's hubert expert."""
    temperature: float = Field(1.0, gt=0)
    """The logits are divided by it: calibration."""


class S3prl(EncoderModel):
    """A loaded encoder with one head, or the mean of several. See `emolake.models.protocol.EmotionModel`."""

    Options = S3prlOptions
    family = "s3prl"

    @classmethod
    def describe(cls, options: S3prlOptions) -> Description:
        """Find encoder, checkpoints and labels; see `emolake.models.protocol.Family`."""
        folder = _encoder_folder(options)
        checkpoints = _checkpoint_files(options)
        files = {f"upstream/{name}": path for name, path in speech_encoder.weight_files(folder).items()}
        files |= {f"checkpoint{index}": path for index, path in enumerate(checkpoints)}
        parameters = {"waveform_eps": options.waveform_eps, "temperature": options.temperature}
        return Description(_labels(options, checkpoints[0]), files, parameters)

    @classmethod
    def plan(cls, options: S3prlOptions) -> EncoderPlan:
        """Plan encoder and heads; what a checkpoint holds beyond this layout is refused by name when it is read."""
        folder = _encoder_folder(options)
        config = speech_encoder.encoder_config(folder)
        eps = options.waveform_eps if speech_encoder.is_normalised(folder) else None
        checkpoints = _checkpoint_files(options)
        labels = _labels(options, checkpoints[0])

        def build() -> "torch.nn.Module":
            from emolake.models.families.s3prl_checkpoint import read_head
            from emolake.models.families.s3prl_network import S3prlNetwork, load_encoder

            encoder = load_encoder(folder)
            return S3prlNetwork(
                encoder, [read_head(path, encoder.config, len(labels)) for path in checkpoints]
            )

        return EncoderPlan(SpeechEncoder(folder, config, eps=eps), build, labels, options.temperature)

    def modules(self) -> "Mapping[str, torch.nn.Module]":
        """See `emolake.models.protocol.Inspectable`."""
        upstream = getattr(self._network, "upstream", None)
        return {} if upstream is None else {"upstream": upstream}

    def layer_weights(self) -> "Mapping[str, torch.Tensor]":
        """See `emolake.models.protocol.Inspectable`."""
        heads = getattr(self._network, "heads", [])
        return {f"checkpoint{index}": head.layer_weights for index, head in enumerate(heads)}


def _encoder_folder(options: S3prlOptions) -> Path:
    return model_folder(options.upstream, options.revision, speech_encoder.FILES)


def _checkpoint_files(options: S3prlOptions) -> list[Path]:
    return [model_file(each, options.checkpoint_revision) for each in options.checkpoint]


def _labels(options: S3prlOptions, checkpoint: Path) -> tuple[str, ...]:
    if options.labels is not None:
        return options.labels
    path = (
        model_file(options.metadata, options.checkpoint_revision)
        if options.metadata
        else checkpoint.with_name(_METADATA)
    )
    if not path.is_file():
        raise ConfigurationError(
            f"{checkpoint} has no {_METADATA} beside it, and a checkpoint holds no label names; set labels or metadata"
        )
    indices = speech_encoder.read_json(path).get("labels")
    if not isinstance(indices, dict) or sorted(indices.values()) != list(range(len(indices))):
        raise ConfigurationError(f"{path} has no map of labels to 0, 1, …; set labels")
    return tuple(sorted(indices, key=lambda name: int(indices[name])))
