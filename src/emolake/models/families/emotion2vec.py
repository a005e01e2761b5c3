"""Family "emotion2vec": the classifiers of the emotion2vec+ family, on FunASR's own network.

A folder or hub repository of this family holds FunASR's `config.yaml`, `model.pt` and `tokens.txt`. The answer is
that of `funasr.AutoModel(...).generate(wave, granularity="utterance")`: outputs whose name starts with `unuse` take
no part in the softmax, `<unk>` does (https://github.com/modelscope/FunASR, `models/emotion2vec/model.py`).
"""

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict

from emolake.audio.features import normalise_waveform
from emolake.errors import ConfigurationError
from emolake.models.hub import model_folder
from emolake.models.protocol import TORCH_FP32, Batching, Description, Prediction

if TYPE_CHECKING:
    import torch

_CONFIG, _WEIGHTS, _TOKENS = "config.yaml", "model.pt", "tokens.txt"
_EPS = 1e-5  # of torch's layer_norm, which FunASR normalises the waveform with
_UNUSED = "unuse"
# FunASR evaluates this string as Python, so nothing but sums and products of tuples of numbers may reach it.
_CONVOLUTIONS = re.compile(r"[\d\s()\[\],+*]{1,200}")


class Emotion2vecOptions(BaseModel):
    """The keys of a model of this family."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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
        self.labels = labels
        self.device = device
        self._outputs = list(outputs)
        network.to(device)
        self._network: Any = network
        encoders: Any = network.modality_encoders
        self.min_samples = _receptive_field(encoders["AUDIO"].feature_enc_layers)

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
        folder = _folder(options)
        outputs = _named_outputs(folder)
        network_class = _funasr_class()
        config = _read_config(folder / _CONFIG)
        tokens = len(_tokens(folder))
        try:
            network = network_class(model_conf=config["model_conf"], vocab_size=tokens)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ConfigurationError(
                f"{folder / _CONFIG} does not describe an emotion2vec network: {error}"
            ) from error
        _fill(network, folder / _WEIGHTS, config.get("scope_map"), options.unused_weights)
        network.eval()
        return cls(network, labels=tuple(outputs.values()), outputs=tuple(outputs), device=device)

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.EmotionModel`."""
        import torch

        waves = waves.to(self.device)
        if self._network.cfg.normalize:
            waves = normalise_waveform(waves, lengths.to(self.device), _EPS)
        with torch.inference_mode():
            states = self._network.extract_features(waves, padding_mask=None)["x"]
            logits = self._network.proj(states.mean(dim=1))[:, self._outputs]
        return Prediction(logits.to("cpu", torch.float32))

    def modules(self) -> "Mapping[str, torch.nn.Module]":
        """See `emolake.predict.diagnosis.Inspectable`."""
        return {"model": self._network}

    def layer_weights(self) -> "Mapping[str, torch.Tensor]":
        """See `emolake.predict.diagnosis.Inspectable`; only the last layer is used."""
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


def _funasr_class() -> Any:
    """Import FunASR's network; its import configures the root logger and prints, neither of which stays."""
    try:
        with _quiet_import():
            from funasr.models.emotion2vec.model import Emotion2vec as Network
    except ImportError as error:
        raise ConfigurationError(
            f'the family emotion2vec needs FunASR ({error}); pip install "emolake[emotion2vec]"'
        ) from error
    return Network


@contextmanager
def _quiet_import() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        with redirect_stdout(sys.stderr):  # stdout is for rows
            yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


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


def _fill(network: "torch.nn.Module", path: Path, scope_map: object, unused: tuple[str, ...]) -> None:
    """Put model.pt into the network under FunASR's names; every weight must have its place, and fit."""
    state = _unpickled(path)
    prefixes = ("module.", *_dropped_prefixes(scope_map))
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found: dict[str, torch.Tensor] = {}
    left_over: list[str] = []
    for name, tensor in state.items():
        stripped = next((name.removeprefix(each) for each in prefixes if name.startswith(each)), name)
        if stripped in expected and stripped not in found:
            found[stripped] = tensor
        elif not name.startswith(unused or ("\0",)):
            left_over.append(name)
    problems = {
        "missing": sorted(expected.keys() - found.keys()),
        "left over": sorted(left_over),
        "of another shape": [name for name, tensor in found.items() if tuple(tensor.shape) != expected[name]],
        "not finite": [name for name, tensor in found.items() if not tensor.isfinite().all()],
    }
    listed = "; ".join(f"{kind}: {', '.join(names[:5])}" for kind, names in problems.items() if names)
    if listed:
        raise ConfigurationError(
            f"the weights in {path} do not fit its {_CONFIG} and {_TOKENS}: {listed}; use a complete checkpoint, "
            "or name weights that only training needs in unused_weights"
        )
    network.load_state_dict({name: tensor.float() for name, tensor in found.items()})


def _dropped_prefixes(scope_map: object) -> list[str]:
    """Return what FunASR's scope_map, pairs of prefix in the file and prefix in the network, takes off the names."""
    if scope_map is None:
        return []
    pairs = scope_map.split(",") if isinstance(scope_map, str) else scope_map
    if (
        not isinstance(pairs, list)
        or len(pairs) % 2
        or any(str(each).casefold() != "none" for each in pairs[1::2])
    ):
        raise ConfigurationError(
            f"scope_map {scope_map!r} renames weights; expected prefixes that are taken off"
        )
    return [str(each) for each in pairs[::2] if str(each).casefold() != "none"]


def _unpickled(path: Path) -> "Mapping[str, torch.Tensor]":
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"{path} is no checkpoint that can be read without running code: {str(error).splitlines()[0]}"
        ) from error
    for nested in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(nested), dict):
            state = state[nested]
    if not isinstance(state, dict) or not all(isinstance(each, torch.Tensor) for each in state.values()):
        raise ConfigurationError(
            f"{path} holds something else than named tensors; expected FunASR's model.pt"
        )
    found: Mapping[str, torch.Tensor] = state
    return found


def _receptive_field(convolutions: list[tuple[int, int, int]]) -> int:
    """Return the fewest samples that give one frame, of (channels, kernel, stride) from the waveform on."""
    samples = 1
    for _, kernel, stride in reversed(convolutions):
        samples = (samples - 1) * stride + kernel
    return samples
