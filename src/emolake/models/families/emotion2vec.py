"""Family "emotion2vec": the classifiers of the emotion2vec+ family, on FunASR's own network.

A folder or hub repository of this family holds FunASR's `config.yaml`, `model.pt` and `tokens.txt`. The answer is
that of `funasr.AutoModel(...).generate(wave, granularity="utterance")`: outputs whose name starts with `unuse` take
no part in the softmax, `<unk>` does (https://github.com/modelscope/FunASR, `models/emotion2vec/model.py`).
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from emolake.errors import ConfigurationError
from emolake.models.hub import model_folder
from emolake.models.protocol import TORCH_FP32, Batching, Description, Prediction
from emolake.options import Options

if TYPE_CHECKING:
    import torch

_CONFIG, _WEIGHTS, _TOKENS = "config.yaml", "model.pt", "tokens.txt"
_EPS = 1e-5  # of torch's layer_norm, which FunASR normalises the waveform with
_UNUSED = "unuse"
# FunASR evaluates this string as Python, so nothing but sums and products of tuples of numbers may reach it.
_CONVOLUTIONS = re.compile(r"[\d\s()\[\],+*]{1,200}")


class Emotion2vecOptions(Options):
    """The keys of a model of this family."""

    model: str
    """Hub id or folder, in FunASR's layout."""
    revision: str | None = None
    """Revision on the hub; a commit pins the model."""
    unused_weights: tuple[str, ...] = ()
    """Prefixes of weights in model.pt that serve training only; any other weight left over is an error."""


class Emotion2vec:
    """A loaded checkpoint. See `emolake.models.protocol.EmotionModel`."""

    Options = Emotion2vecOptions
    family = "emotion2vec"
    sampling_rate = 16_000
    max_samples: int | None = None
    # FunASR's padding mask leaves a convolution's view of the padding: only equal lengths are exact.
    batching = Batching.EQUAL_LENGTH
    precision = "fp32"
    precisions = TORCH_FP32

    def __init__(
        self, network: "torch.nn.Module", *, labels: tuple[str, ...], outputs: tuple[int, ...], device: str
    ) -> None:
        from emolake.models.families.emotion2vec_network import receptive_field

        self.labels = labels
        self.device = device
        self._outputs = list(outputs)
        network.to(device)
        self._network: Any = network
        encoders: Any = network.modality_encoders
        self.min_samples = receptive_field(encoders["AUDIO"].feature_enc_layers)

    @classmethod
    def describe(cls, options: Emotion2vecOptions) -> Description:
        """Find the folder and its labels; see `emolake.models.protocol.Family`."""
        folder = _folder(options)
        labels = tuple(_named_outputs(folder).values())
        # unused_weights changes no number: it only lets a file through.
        return Description(labels, {name: folder / name for name in (_CONFIG, _WEIGHTS, _TOKENS)})

    @classmethod
    def load(cls, options: Emotion2vecOptions, *, device: str, precision: str) -> Self:
        """Build FunASR's network from config.yaml and fill it from model.pt, exactly."""
        from emolake.models.families.emotion2vec_network import fill_from_pickle, funasr_class

        folder = _folder(options)
        outputs = _named_outputs(folder)
        network_class = funasr_class()
        config = _read_config(folder / _CONFIG)
        tokens = len(_tokens(folder))
        try:
            network = network_class(model_conf=config["model_conf"], vocab_size=tokens)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ConfigurationError(
                f"{folder / _CONFIG} does not describe an emotion2vec network: {error}"
            ) from error
        fill_from_pickle(network, folder / _WEIGHTS, config.get("scope_map"), options.unused_weights)
        network.eval()
        return cls(network, labels=tuple(outputs.values()), outputs=tuple(outputs), device=device)

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.EmotionModel`."""
        import torch

        from emolake.audio.features import normalise_waveform

        waves = waves.to(self.device)
        if self._network.cfg.normalize:
            waves = normalise_waveform(waves, lengths.to(self.device), _EPS)
        with torch.inference_mode():
            states = self._network.extract_features(waves, padding_mask=None)["x"]
            logits = self._network.proj(states.mean(dim=1))[:, self._outputs]
        return Prediction(logits.to("cpu", torch.float32))

    def modules(self) -> "Mapping[str, torch.nn.Module]":
        """See `emolake.models.protocol.Inspectable`."""
        return {"model": self._network}

    def layer_weights(self) -> "Mapping[str, torch.Tensor]":
        """See `emolake.models.protocol.Inspectable`; only the last layer is used."""
        return {}


def _folder(options: Emotion2vecOptions) -> Path:
    folder = model_folder(options.model, options.revision, (_CONFIG, _WEIGHTS, _TOKENS))
    missing = [name for name in (_CONFIG, _WEIGHTS, _TOKENS) if not (folder / name).is_file()]
    if missing:
        raise ConfigurationError(
            f"{folder} has no {', '.join(missing)}; give a classifier in FunASR's layout, such as emotion2vec+"
        )
    return folder


def _tokens(folder: Path) -> list[str]:
    try:
        return [line.rstrip() for line in (folder / _TOKENS).read_text("utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{folder / _TOKENS} is not UTF-8 text: {error}") from error


def _named_outputs(folder: Path) -> dict[int, str]:
    """Return the label of each output that is used: `生气/angry` is angry."""
    named = {
        index: token.rpartition("/")[2]
        for index, token in enumerate(_tokens(folder))
        if not token.startswith(_UNUSED)
    }
    if not named or not all(named.values()) or len(set(named.values())) != len(named):
        raise ConfigurationError(
            f"{folder / _TOKENS} names {', '.join(named.values()) or 'nothing'}; expected one label a line, each once"
        )
    return named


def _read_config(path: Path) -> Mapping[str, Any]:
    """Return config.yaml as plain values, refusing whatever FunASR would evaluate or look up elsewhere."""
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        # OmegaConf's reader, because YAML's own takes 1e-05 for a string.
        config = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException, OSError, ValueError) as error:
        raise ConfigurationError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
    if (
        not isinstance(config, dict)
        or config.get("model") != "Emotion2vec"
        or not isinstance(config.get("model_conf"), dict)
    ):
        raise ConfigurationError(
            f"{path} does not describe an Emotion2vec model; expected model: Emotion2vec and model_conf"
        )
    found = [value for value in _strings(config) if "${" in value]
    if found:
        raise ConfigurationError(f"{path} holds the interpolation {found[0]!r}; write the value itself")
    audio = (config["model_conf"].get("modalities") or {}).get("audio") or {}
    convolutions = str(audio.get("feature_encoder_spec"))
    if not _CONVOLUTIONS.fullmatch(convolutions) or "**" in convolutions:
        raise ConfigurationError(
            f"{path} gives {convolutions!r} as feature_encoder_spec, which FunASR would run as code; expected tuples "
            "of numbers such as [(512, 10, 5)] + [(512, 3, 2)] * 4"
        )
    named: Mapping[str, Any] = {str(key): value for key, value in config.items()}
    return named


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in (*value.keys(), *value.values()):
            yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)
