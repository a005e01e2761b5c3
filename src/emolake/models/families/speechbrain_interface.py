"""Family "speechbrain": SpeechBrain's `foreign_class` interfaces, which run code from the model's folder.

Such a folder holds `hyperparams.yaml`, whose tags call any Python function, and a Python file with the interface's
class: loading the model runs both. So a load needs `trust_remote_code = true` and, under `sha256`, the hash of every
Python and YAML file of the folder as it was read by whoever trusts it; a file that changed or came along later is
refused, and every load logs a warning. The class has `classify_batch(wavs, rel_lengths)`, as
`CustomEncoderWav2vec2Classifier` of speechbrain/emotion-recognition-wav2vec2-IEMOCAP does.
"""

import hashlib
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from importlib.machinery import ModuleSpec
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, JsonValue

from emolake.errors import ConfigurationError, EmolakeError
from emolake.models.protocol import TORCH_FP32, Batching, Description, Prediction
from emolake.options import Options

if TYPE_CHECKING:
    import torch

_logger = logging.getLogger(__name__)
_ENCODER_FILE = "label_encoder.txt"
_ENCODED = re.compile(r"'(.+)' => (\d+)")
_FOLDER = "{model}"  # in an override, stands for the model's folder
_CODE = (".py", ".yaml", ".yml")
_TINY = 1e-38
# What SpeechBrain, PyYAML's tags and a folder's own code raise for a file that is missing or does not fit.
_LOAD_ERRORS = (
    ImportError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    UnpicklingError,
)


class InterfaceError(EmolakeError):
    """An interface's code failed, or gave something else than its options describe."""


class SpeechbrainOptions(Options):
    """The keys of a model of this family."""

    model: Path
    """Folder of the model. Hub ids are not taken: what runs is to be read first."""
    trust_remote_code: bool = False
    """Whether the folder's code may run; nothing loads without it."""
    sha256: dict[str, str] = Field(default_factory=dict)
    """The SHA-256 of every .py and .yaml file of the folder, by its path in the folder."""
    hparams_file: str = "hyperparams.yaml"
    """Name of the hyperparameters in the folder."""
    interface_file: str = "custom_interface.py"
    """Name of the Python file in the folder."""
    class_name: str = "CustomEncoderWav2vec2Classifier"
    """Name of the interface's class in that file."""
    overrides: dict[str, JsonValue] = Field(default_factory=dict)
    """Replaces values of the hyperparameters; `{model}` in a string stands for the folder."""
    output: Literal["probabilities", "log_probabilities", "logits"] = "probabilities"
    """What the first value of `classify_batch` is."""
    labels: tuple[str, ...] | None = None
    """Order of the outputs; read from label_encoder.txt when left out."""
    min_samples: int = Field(400, ge=1)
    """The fewest samples at 16 kHz that the model takes."""
    unused_weights: tuple[str, ...] = ()
    """Prefixes of weights in the checkpoints that serve training only; any other weight left over is an error."""
    self_loading: tuple[str, ...] = ()
    """Modules whose weights the interface loads itself, not SpeechBrain's pretrainer; any other without is an error."""


class SpeechbrainInterface:
    """A loaded interface. See `emolake.models.protocol.EmotionModel`."""

    Options = SpeechbrainOptions
    family = "speechbrain"
    sampling_rate = 16_000
    max_samples: int | None = None
    # What padding does to an interface is up to its code; alone is exact whatever that is.
    batching = Batching.SINGLE
    precision = "fp32"
    precisions = TORCH_FP32

    def __init__(
        self, interface: Any, options: SpeechbrainOptions, *, labels: tuple[str, ...], device: str
    ) -> None:
        self.labels = labels
        self.device = device
        self.min_samples = options.min_samples
        self._interface = interface
        self._output = options.output
        self._own_labels = options.labels is None

    @classmethod
    def describe(cls, options: SpeechbrainOptions) -> Description:
        """Find files and labels without running anything; see `emolake.models.protocol.Family`."""
        _existing(options)
        files = {path.relative_to(options.model).as_posix(): path for path in _files(options.model)}
        parameters: dict[str, JsonValue] = {
            "class_name": options.class_name,
            "hparams_file": options.hparams_file,
            "interface_file": options.interface_file,
            "output": options.output,
            "overrides": options.overrides,
        }
        return Description(_labels(options), files, parameters)

    @classmethod
    def load(cls, options: SpeechbrainOptions, *, device: str, precision: str) -> Self:
        """Run the folder's code, if it is trusted and is what was trusted, and load its weights exactly."""
        _existing(options)
        labels = _labels(options)
        _check_trust(options)
        _logger.warning(
            "trust_remote_code is true: running %s and %s of %s with all rights of this process",
            options.interface_file,
            options.hparams_file,
            options.model,
        )
        with ExitStack() as stack:
            stack.enter_context(redirect_stdout(sys.stderr))  # stdout is for rows
            stack.enter_context(_torchaudio())
            stack.enter_context(_same_path())
            problems = stack.enter_context(_transfer_problems(options.unused_weights))
            interface = _interface(options, device)
        problems += _never_loaded(interface, options.self_loading)
        if problems:
            raise ConfigurationError(
                f"the weights in {options.model} do not fit {options.hparams_file}: {'; '.join(problems[:5])}; "
                "use a complete checkpoint"
            )
        rate = getattr(interface.hparams, "sample_rate", cls.sampling_rate)
        if rate != cls.sampling_rate:
            raise ConfigurationError(
                f"{options.model} takes {rate} Hz, expected {cls.sampling_rate} Hz; use a 16 kHz model"
            )
        return cls(interface, options, labels=labels, device=device)

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.EmotionModel`."""
        import torch

        rows = []
        with torch.inference_mode(), redirect_stdout(sys.stderr):
            for wave, length in zip(waves.to(self.device), lengths.tolist(), strict=True):
                with torch.random.fork_rng(devices=_cuda_devices(self.device)):
                    # SpeechBrain's StatisticsPooling adds noise of 1e-5: the same for each clip, each time.
                    torch.manual_seed(0)
                    answer = self._interface.classify_batch(
                        wave[None, :length], torch.ones(1, device=self.device)
                    )
                rows.append(self._logits(answer))
        return Prediction(torch.stack(rows))

    def modules(self) -> "Mapping[str, torch.nn.Module]":
        """See `emolake.models.protocol.Inspectable`."""
        return dict(self._interface.mods.items())

    def layer_weights(self) -> "Mapping[str, torch.Tensor]":
        """See `emolake.models.protocol.Inspectable`; what an interface sums, it sums inside."""
        return {}

    def _logits(self, answer: Any) -> "torch.Tensor":
        import torch

        output, _, index, text = answer
        row = torch.as_tensor(output).detach().to("cpu", torch.float32).reshape(-1)
        if len(row) != len(self.labels):
            raise InterfaceError(
                f"the interface gave {len(row)} outputs, and there are {len(self.labels)} labels; correct labels"
            )
        named, given = self.labels[int(torch.as_tensor(index).reshape(-1)[0])], _first(text)
        if self._own_labels and given != named:
            raise InterfaceError(
                f"the interface calls {given!r} what {_ENCODER_FILE} calls {named!r}; set labels"
            )
        if self._output == "logits":
            return row
        total = float((row.exp() if self._output == "log_probabilities" else row).sum())
        if abs(total - 1) > 1e-3 or (self._output == "probabilities" and float(row.min()) < 0):
            raise InterfaceError(
                f"the interface gave {self._output} that sum to {total:.4g}, expected 1; "
                "set output to probabilities, log_probabilities or logits"
            )
        return row.clamp_min(_TINY).log() if self._output == "probabilities" else row


def _existing(options: SpeechbrainOptions) -> None:
    for name in (options.hparams_file, options.interface_file):
        if not (options.model / name).is_file():
            raise ConfigurationError(
                f"there is no {options.model / name}; give the folder of a SpeechBrain interface"
            )


def _files(folder: Path) -> list[Path]:
    """Return every file of the folder: code may read any of them."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _labels(options: SpeechbrainOptions) -> tuple[str, ...]:
    if options.labels is not None:
        return options.labels
    path = options.model / _ENCODER_FILE
    try:
        head, _, _ = path.read_text("utf-8").partition("====")
    except FileNotFoundError as error:
        raise ConfigurationError(f"there is no {path}; set labels to the order of the outputs") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text: {error}") from error
    encoded = [_ENCODED.fullmatch(line.strip()) for line in head.splitlines() if line.strip()]
    named = {int(match[2]): match[1] for match in encoded if match}
    if not named or len(named) != len(encoded) or sorted(named) != list(range(len(named))):
        raise ConfigurationError(
            f"{path} does not map labels to 0, 1, …; set labels to the order of the outputs"
        )
    return tuple(named[index] for index in range(len(named)))


def _check_trust(options: SpeechbrainOptions) -> None:
    """Refuse code that nobody trusted, changed since, or was not there then."""
    code = [path for path in _files(options.model) if path.suffix.casefold() in _CODE]
    found = {
        path.relative_to(options.model).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in code
    }
    if not options.trust_remote_code:
        raise ConfigurationError(
            f"{options.model} runs its own code ({', '.join(found)}) with all rights of this process; read it, then "
            "set trust_remote_code = true and the sha256 of each of these files"
        )
    odd = [name for name in found if options.sha256.get(name, "").casefold() != found[name]]
    if odd:
        listed = "; ".join(
            f"{name} has {found[name]}, expected {options.sha256.get(name, 'none given')}" for name in odd
        )
        raise ConfigurationError(
            f"the code in {options.model} is not what sha256 trusts: {listed}; read it again before you change sha256"
        )
    absent = sorted(options.sha256.keys() - found.keys())
    if absent:
        raise ConfigurationError(
            f"sha256 names {', '.join(absent)}, which {options.model} does not hold; take them out"
        )


def _interface(options: SpeechbrainOptions, device: str) -> Any:
    try:
        from speechbrain.inference.interfaces import foreign_class
        from speechbrain.utils.fetching import FetchConfig, LocalStrategy
    except ImportError as error:
        raise ConfigurationError(
            f'the family speechbrain needs SpeechBrain ({error}); pip install "emolake[speechbrain]" into '
            "an environment of its own: it needs ruamel.yaml below 0.19"
        ) from error
    arguments = {"overrides": _expanded(options.overrides, options.model), "run_opts": {"device": device}}
    try:
        return foreign_class(
            source=str(options.model),
            hparams_file=options.hparams_file,
            pymodule_file=options.interface_file,
            classname=options.class_name,
            local_strategy=LocalStrategy.NO_LINK,
            fetch_config=FetchConfig(allow_network=False, allow_updates=False),
            **arguments,
        )
    except _LOAD_ERRORS as error:
        raise ConfigurationError(
            f"the interface in {options.model} cannot be loaded: {type(error).__name__}: {str(error).strip()}"
        ) from error


def _expanded(value: Any, folder: Path) -> Any:
    if isinstance(value, str):
        return value.replace(_FOLDER, str(folder))
    if isinstance(value, dict):
        return {key: _expanded(each, folder) for key, each in value.items()}
    return [_expanded(each, folder) for each in value] if isinstance(value, list) else value


def _never_loaded(interface: Any, self_loading: tuple[str, ...]) -> list[str]:
    """Return modules with parameters that the pretrainer did not fill: they are as random as they were made."""
    loaded: set[int] = set()
    for each in interface.hparams.pretrainer.loadables.values():
        loaded |= {id(tensor) for tensor in each.parameters()} if hasattr(each, "parameters") else set()
    return [
        f"{name} is in no checkpoint"
        for name, module in interface.mods.items()
        if name not in self_loading and any(id(tensor) not in loaded for tensor in module.parameters())
    ]


@contextmanager
def _transfer_problems(unused: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield a list that takes up what SpeechBrain only warns of: weights missing or left over."""
    problems: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            message = record.getMessage()
            if message.startswith("During parameter transfer"):
                name, left_over = message.rpartition(": ")[2], "could not use" in message
                if not (left_over and name.startswith(unused or ("\0",))):
                    problems.append(f"{'left over' if left_over else 'missing'}: {name}")

    logger = logging.getLogger("speechbrain.utils.checkpoints")
    collector = Collector(logging.WARNING)
    logger.addHandler(collector)
    try:
        yield problems
    finally:
        logger.removeHandler(collector)


@contextmanager
def _same_path() -> Iterator[None]:
    """Take the model's folder, which `foreign_class` leaves behind, off the import path again."""
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before


@contextmanager
def _torchaudio() -> Iterator[None]:
    """Stand in for torchaudio while SpeechBrain is imported, where it is missing or built for another torch.

    SpeechBrain imports it for reading files and resampling, which is done before a model runs.
    """
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):
        missing = {
            name: ModuleType(name)
            for name in ("torchaudio", "torchaudio.transforms", "torchaudio.functional")
        }
        for name, module in missing.items():
            module.__spec__ = ModuleSpec(name, None)
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(missing[parent], child, module)
        sys.modules.update(missing)
        try:
            yield
        finally:
            for name in missing:
                sys.modules.pop(name, None)
    else:
        yield


def _cuda_devices(device: str) -> list[str]:
    """Return the devices whose random state is to be kept beside the CPU's."""
    return [device] if device.startswith("cuda") else []


def _first(text: object) -> object:
    while isinstance(text, list | tuple) and text:
        text = text[0]
    return text
