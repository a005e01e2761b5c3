"""Family "s3prl": S3PRL's utterance-level emotion head on a self-supervised encoder (Kushinada and its kind).

Logits are `W2 (W1 mean_t(sum_i a_i s_i,t) + b1) + b2` with `a` the softmax of the checkpoint's Featurizer weights
over the N+1 hidden states, as S3PRL 0.4.18's Featurizer and emotion downstream compute them for one utterance alone
(https://github.com/s3prl/s3prl). The head is linear in its states, so each is pooled as its layer runs and added up;
they are never stacked.
"""

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder
from emolake.models.hub import model_file, model_folder
from emolake.models.protocol import ENCODER_PRECISIONS, Batching, Description, Prediction

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from emolake.models.families.s3prl_network import Head
    from emolake.models.runtimes.graphs import Graphs
    from emolake.models.runtimes.networks import Network

_METADATA = "train_meta_data.json"
_CHECKPOINT_PARTS = {
    "Optimizer",
    "Scheduler",
    "Step",
    "Epoch",
    "Args",
    "Config",
    "WorldSize",
    "Featurizer",
    "Downstream",
}
_HEAD = {
    "projector.weight",
    "projector.bias",
    "model.post_net.linear.weight",
    "model.post_net.linear.bias",
}


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class S3prlOptions(BaseModel):
    """The keys of a model of this family."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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


class S3prl:
    """A loaded encoder with one head, or the mean of several. See `emolake.models.protocol.EmotionModel`."""

    Options = S3prlOptions
    family = "s3prl"
    sampling_rate = 16_000
    min_samples = speech_encoder.MIN_SAMPLES
    max_samples: int | None = None
    precisions = ENCODER_PRECISIONS

    def __init__(
        self,
        network: "Network",
        *,
        labels: tuple[str, ...],
        batching: Batching,
        eps: float | None,
        temperature: float,
        device: str,
        precision: str,
    ) -> None:
        """Take what runs an `S3prlNetwork`; `eps` is None where waveforms are not normalised."""
        self.labels = labels
        self.batching = batching
        self.device = device
        self.precision = precision
        self._network = network
        self._eps = eps
        self._temperature = temperature

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
    def load(
        cls, options: S3prlOptions, *, device: str, precision: str, graphs: "Graphs | None" = None
    ) -> Self:
        """Load encoder and heads, refusing by name whatever the checkpoint holds beyond this layout."""
        from emolake.models.families.s3prl_network import S3prlNetwork
        from emolake.models.runtimes.networks import exact_batching, load_network

        folder = _encoder_folder(options)
        config = _encoder_config(folder)
        eps = options.waveform_eps if is_normalised(folder) else None
        checkpoints = _checkpoint_files(options)
        labels = _labels(options, checkpoints[0])
        batching = speech_encoder.batching(config)

        def build() -> S3prlNetwork:
            encoder = load_encoder(folder)
            return S3prlNetwork(
                encoder, [_read_head(path, encoder.config, len(labels)) for path in checkpoints]
            )

        network = load_network(
            build,
            partial(speech_encoder.normalised, eps=eps),
            batching=batching,
            device=device,
            precision=precision,
            graphs=graphs,
        )
        return cls(
            network,
            labels=labels,
            batching=exact_batching(batching, precision),
            eps=eps,
            temperature=options.temperature,
            device=device,
            precision=precision,
        )

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.EmotionModel`; the logits are calibrated."""
        import torch

        with torch.inference_mode():
            waves, lengths = waves.to(self.device), lengths.to(self.device)
            inputs = speech_encoder.normalised(waves, lengths, self._eps)
            logits = self._network(inputs, lengths) / self._temperature
        return Prediction(logits.to("cpu", torch.float32))

    def modules(self) -> "Mapping[str, torch.nn.Module]":
        """See `emolake.predict.diagnosis.Inspectable`."""
        upstream = getattr(self._network, "upstream", None)
        return {} if upstream is None else {"upstream": upstream}

    def layer_weights(self) -> "Mapping[str, torch.Tensor]":
        """See `emolake.predict.diagnosis.Inspectable`."""
        heads = getattr(self._network, "heads", [])
        return {f"checkpoint{index}": head.layer_weights for index, head in enumerate(heads)}


def load_encoder(folder: Path) -> "PreTrainedModel":
    """Load an upstream; raises ConfigurationError when it is of another kind."""
    from transformers import AutoModel

    _encoder_config(folder)
    return speech_encoder.load_exactly(AutoModel, folder, other_heads=speech_encoder.OTHER_HEADS)


def is_normalised(folder: Path) -> bool:
    """Whether an upstream's waveforms are normalised."""
    return bool(speech_encoder.read_json(folder / "preprocessor_config.json").get("do_normalize", True))


def _encoder_config(folder: Path) -> Mapping[str, Any]:
    config = speech_encoder.read_json(folder / "config.json")
    if config.get("model_type") not in speech_encoder.MODEL_TYPES:
        raise ConfigurationError(
            f"{folder} is a {config.get('model_type')!r} model; expected one of {', '.join(speech_encoder.MODEL_TYPES)}"
        )
    return config


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


def _read_head(path: Path, config: Any, labels: int) -> "Head":
    checkpoint = _unpickled(path)
    unknown = sorted(set(checkpoint) - _CHECKPOINT_PARTS)
    if unknown:
        hint = " (the encoder was fine-tuned with it)" if "Upstream" in unknown else ""
        raise _refused(path, f"it holds {', '.join(unknown)}{hint}")
    _check_recipe(path, checkpoint)
    weights, head = checkpoint["Featurizer"].get("weights"), dict(checkpoint["Downstream"])
    head.pop("best_score", None)
    if set(checkpoint["Featurizer"]) != {"weights"}:
        raise _refused(
            path, f"its Featurizer holds {', '.join(checkpoint['Featurizer']) or 'nothing'}, expected weights"
        )
    if set(head) != _HEAD:
        odd = sorted(set(head) ^ _HEAD)
        raise _refused(path, f"its Downstream differs by {', '.join(odd)}")
    states = config.num_hidden_layers + 1
    if tuple(weights.shape) != (states,):
        raise _refused(path, f"it weighs {weights.numel()} states, and the upstream has {states}")
    projected = head["projector.weight"].shape[0]
    shapes = {name: tuple(tensor.shape) for name, tensor in head.items()}
    expected = {
        "projector.weight": (projected, config.hidden_size),
        "projector.bias": (projected,),
        "model.post_net.linear.weight": (labels, projected),
        "model.post_net.linear.bias": (labels,),
    }
    if shapes != expected:
        raise _refused(
            path,
            f"its head is {shapes}, and an upstream of {config.hidden_size} with {labels} labels needs {expected}",
        )
    from emolake.models.families.s3prl_network import Head

    return Head(weights.float(), {name: tensor.float() for name, tensor in head.items()})


def _unpickled(path: Path) -> Mapping[str, Any]:
    import torch

    try:
        # Namespace is the one class that S3PRL's Runner stores beside tensors and plain values.
        with torch.serialization.safe_globals([argparse.Namespace]):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"{path} is no checkpoint that can be read without running code: {str(error).splitlines()[0]}"
        ) from error
    missing = {"Args", "Config", "Featurizer", "Downstream"} - set(
        checkpoint if isinstance(checkpoint, dict) else ()
    )
    if missing:
        raise ConfigurationError(
            f"{path} lacks {', '.join(sorted(missing))}; expected a checkpoint of S3PRL's Runner"
        )
    found: Mapping[str, Any] = checkpoint
    return found


def _check_recipe(path: Path, checkpoint: Mapping[str, Any]) -> None:
    args = vars(checkpoint["Args"])
    if args.get("upstream_feature_normalize"):
        raise _refused(path, "it was trained with upstream_feature_normalize")
    if args.get("upstream_layer_selection") is not None:
        raise _refused(path, f"it selects the layer {args['upstream_layer_selection']}")
    if args.get("upstream_feature_selection", "hidden_states") != "hidden_states":
        raise _refused(
            path, f"it was trained on {args['upstream_feature_selection']}, expected hidden_states"
        )
    recipe = checkpoint["Config"].get("downstream_expert", {}).get("modelrc", {})
    pooling = recipe.get("UtteranceLevel", {}).get("pooling")
    if recipe.get("select") != "UtteranceLevel" or pooling != "MeanPooling":
        raise _refused(
            path,
            f"its head is {recipe.get('select')} with {pooling}, expected UtteranceLevel with MeanPooling",
        )
    odd = sorted(set(recipe.get("UtteranceLevel", {})) - {"pooling"})
    if odd:
        raise _refused(path, f"its UtteranceLevel has {', '.join(odd)}")


def _refused(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is not of the layout that this family computes exactly: {why}; use a head with projector, "
        "mean pooling and one linear output on frozen hidden states"
    )
