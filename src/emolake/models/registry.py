"""The registry of classifier families, and the models that a configuration names.

A family is one file in this package and one line in `FAMILIES`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from emolake.errors import ConfigurationError
from emolake.models.protocol import EmotionModel
from emolake.schemas.labels import canonical
from emolake.settings import DEFAULT_MODEL, InferenceSettings, Settings

# family -> module:class; the class has `load(folder, *, device, precision)` and gives an EmotionModel.
FAMILIES: dict[str, str] = {
    "spectrogram_cnn": "emolake.models.spectrogram_cnn:SpectrogramCnn",
}


@dataclass(frozen=True)
class ModelEntry:
    """A named model of the configuration: a folder with `config.json` and weights. Nothing is loaded yet."""

    name: str
    folder: Path

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The folder's config.json.

        Raises:
            ConfigurationError: the folder is not one that `emolake train` wrote, or its family is unknown.
        """
        path = self.folder / "config.json"
        try:
            config = json.loads(path.read_text("utf-8"))
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"the model {self.name!r} has no {path}; give the folder that `emolake train --out` wrote"
            ) from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} of the model {self.name!r} is not JSON: {error}") from error
        if not isinstance(config, dict) or config.get("family") not in FAMILIES:
            family = config.get("family") if isinstance(config, dict) else None
            raise ConfigurationError(
                f"the model {self.name!r} is of family {family!r}; expected one of {', '.join(sorted(FAMILIES))}"
            )
        return config

    @property
    def family(self) -> str:
        """Name of the model's family."""
        return str(self.config["family"])

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's own labels in the order of its outputs."""
        return tuple(self.config["labels"])

    @property
    def licence(self) -> str:
        """Licence of the weights, as the folder states it."""
        return str(self.config.get("licence", "not stated"))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the family and of every byte of configuration and weights: a changed file is a changed model."""
        digest = hashlib.sha256(self.family.encode())
        for name in ("config.json", "model.safetensors"):
            path = self.folder / name
            if not path.is_file():
                raise ConfigurationError(
                    f"the model {self.name!r} has no {path}; train it again or correct its path"
                )
            with path.open("rb") as file:
                digest.update(f"\n{name}\n".encode() + hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:32]

    def emotions(self) -> dict[str, str]:
        """Return the shared emotion of each label.

        Raises:
            UnknownLabelError: the taxonomy does not know a label.
        """
        return {label: canonical(label) for label in self.labels}

    def load(self, inference: InferenceSettings) -> EmotionModel:
        """Load the weights onto a device.

        Raises:
            ConfigurationError: the weights do not fit the configuration, or the family lacks the precision or runtime.
            UnknownLabelError: the taxonomy does not know a label.
        """
        if inference.runtime == "onnx":
            raise ConfigurationError(
                f"inference.runtime is onnx, and the family {self.family} of the model {self.name!r} "
                "runs on torch only; set it to auto"
            )
        self.emotions()
        module, _, name = FAMILIES[self.family].partition(":")
        model: EmotionModel = getattr(import_module(module), name).load(
            self.folder, device=resolve_device(inference.device), precision=inference.precision
        )
        return model


def model_entry(settings: Settings, name: str | None = None) -> ModelEntry:
    """Return a model of the configuration: the given one, or the one that [inference] names.

    Raises:
        ConfigurationError: no model has that name, or its entry is wrong.
    """
    name = name or settings.inference.model
    entry = settings.models.get(name)
    if entry is None:
        if name == DEFAULT_MODEL:
            return ModelEntry(name, Path(str(files("emolake.models.default"))))
        known = ", ".join(model_names(settings))
        raise ConfigurationError(
            f"no model is called {name!r}; known are {known}; add [models.{name}] to the configuration"
        )
    unknown = sorted(set(entry) - {"path"})
    if unknown or not isinstance(entry.get("path"), str):
        raise ConfigurationError(
            f"[models.{name}] holds {', '.join(sorted(entry)) or 'nothing'}; "
            "expected path = a folder that `emolake train` wrote"
        )
    return ModelEntry(name, Path(entry["path"]))


def model_names(settings: Settings) -> list[str]:
    """Return the name of every model that the configuration can name, the shipped default first."""
    return [DEFAULT_MODEL, *(name for name in settings.models if name != DEFAULT_MODEL)]


def resolve_device(device: str) -> str:
    """Return the device that `auto` means here, or the given one if it exists.

    Raises:
        ConfigurationError: the device does not exist on this machine.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(
            f"inference.device is {device!r}, which this machine does not have; use auto or cpu"
        ) from error
    return device
