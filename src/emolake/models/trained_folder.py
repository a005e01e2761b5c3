"""Folders that `emolake train` writes: a `config.json` that names the family, and its weights as safetensors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from emolake.errors import ConfigurationError
from emolake.options import Options

if TYPE_CHECKING:
    import torch

CONFIG_FILE: Final = "config.json"
WEIGHTS_FILE: Final = "model.safetensors"
OPTIONS_KEY: Final = "options"  # of the configuration of a folder whose family takes no path

Config = TypeVar("Config", bound=BaseModel)


class TrainedFolder(Options):
    """The key of a family whose models are such folders; a family may add keys of its own."""

    path: Path
    """Folder that `emolake train` wrote."""

    def files(self, *names: str) -> dict[str, Path]:
        """Return `config.json` and the files of these names, by name; the weights alone when none is named."""
        return {name: self.path / name for name in (CONFIG_FILE, *(names or (WEIGHTS_FILE,)))}


class TrainingRecord(Options):
    """The part of a trained folder's `config.json` that every family has: the record of its training."""

    model_config = ConfigDict(extra="ignore")  # the family's own keys

    licence: str | None = None
    """Of the weights."""
    training: dict[str, JsonValue] = Field(default_factory=dict)
    """The recipe, the hash of the data, and the speakers in the training data."""


def read_config(folder: Path, config: type[Config], family: str) -> Config:
    """Return the contents of a folder's `config.json`.

    Raises:
        ConfigurationError: the file is missing, or is not a configuration of the family.
    """
    path = folder / CONFIG_FILE
    try:
        return config.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error}); give a trained folder of the family {family}"
        ) from error
    except ValidationError as error:
        raise ConfigurationError(f"{path} is not a configuration of the family {family}: {error}") from error


def family_of_folder(name: str, folder: Path) -> str:
    """Return the family that a folder's `config.json` names.

    Args:
        name: of the model, for errors.
        folder: the folder.

    Raises:
        ConfigurationError: the file is missing, or is not JSON.
    """
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigurationError(
            f"the model {name!r} has no {path}; give the folder that `emolake train --out` wrote"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} of the model {name!r} is not JSON: {error}") from error
    return str(config.get("family")) if isinstance(config, dict) else "none"


def options_of_folder(folder: Path) -> dict[str, Any]:
    """Return the family's own keys from a folder's `config.json`, which is JSON; files of the folder by their paths.

    Raises:
        ConfigurationError: it has none.
    """
    config = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
    options = config.get(OPTIONS_KEY)
    if not isinstance(options, dict):
        raise ConfigurationError(
            f"{folder / CONFIG_FILE} has no {OPTIONS_KEY} for its family {config.get('family')!r}; "
            "give a folder that `emolake train --out` wrote"
        )
    return {
        name: str(folder / value) if isinstance(value, str) and (folder / value).exists() else value
        for name, value in options.items()
    }


def fill(
    places: Mapping[str, "torch.Tensor"],
    folder: Path,
    *,
    beside: str = CONFIG_FILE,
    may_lack: tuple[str, ...] = (),
) -> None:
    """Put the weights of a folder in place; all must be there, fit and be finite, and no others.

    Args:
        places: parameters and buffers by the names that the file gives them; they are written to.
        folder: where `model.safetensors` lies.
        beside: what decides the places, for the error's sentence.
        may_lack: prefixes of places that keep what they hold when the file has nothing for them.

    Raises:
        ConfigurationError: the file is missing or broken, or does not fit; every fault is named, ten at most.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS_FILE
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigurationError(
            f"{path} cannot be read as safetensors ({error}); train or copy it again"
        ) from error
    faults = [
        f"{name} is missing"
        for name in places.keys() - tensors.keys()
        if not may_lack or not name.startswith(may_lack)
    ]
    for name, tensor in tensors.items():
        if name not in places:
            faults.append(f"{name} is not expected")
        elif tensor.shape != places[name].shape:
            faults.append(f"{name} has the shape {tuple(tensor.shape)}, expected {tuple(places[name].shape)}")
        elif not tensor.isfinite().all():
            faults.append(f"{name} is not finite")
    if faults:
        listed = "; ".join(sorted(faults)[:10])
        raise ConfigurationError(
            f"{path} does not fit its {beside}: {listed}; take all files from one training"
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            places[name].copy_(tensor)
