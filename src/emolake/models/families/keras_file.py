"""Files of Keras, read without running code of theirs, and Keras itself, imported on torch."""

import io
import json
import os
import sys
import zipfile
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

from emolake.errors import ConfigurationError

if TYPE_CHECKING:
    import h5py

_CODE_LAYERS = {"Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer"}
_NOT_OF_THE_NETWORK = {"optimizer", "optimizer_weights", "metrics"}  # groups that only more training needs


def load_model(path: Path, device: str) -> Any:
    """Load a network without code of its own onto a device.

    Raises:
        ConfigurationError: Keras is not installed, or the file runs code, is broken, or lacks weights.
    """
    keras = import_keras()
    stored = _stored_weights(path)
    try:
        with keras.device(device):
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        lines = str(error).splitlines()
        raise ConfigurationError(
            f"{path} cannot be loaded by Keras {keras.__version__}: {lines[0] if lines else type(error).__name__}"
        ) from error
    if stored != len(model.weights):
        raise ConfigurationError(
            f"{path} holds {stored} arrays of weights, and its network has {len(model.weights)}; save it again"
        )
    return model


def import_keras() -> ModuleType:
    """Import Keras on torch, with a configuration of nobody's home.

    Raises:
        ConfigurationError: it is not installed, or something else in this process imported it on another backend.
    """
    if "keras" not in sys.modules:
        with TemporaryDirectory() as home:
            _import_with({"KERAS_BACKEND": "torch", "KERAS_HOME": home})
    import keras

    if keras.backend.backend() != "torch":
        raise ConfigurationError(
            f"Keras was imported with the backend {keras.backend.backend()} before; set KERAS_BACKEND=torch"
        )
    module: ModuleType = keras
    return module


def _import_with(environment: Mapping[str, str]) -> None:
    """Import Keras, which reads the environment only then; it is left as it was."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        import_module("keras")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            'the family keras needs Keras 3; install it with: pip install "emolake[keras]"'
        ) from error
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _stored_weights(path: Path) -> int:
    """Return how many arrays of the network's weights a file holds, once its layers are found to hold no code."""
    import h5py

    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                config = json.loads(archive.read("config.json"))
                weights = h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r")
        elif path.suffix in (".h5", ".hdf5"):
            weights = h5py.File(path, "r")
            config = json.loads(weights.attrs["model_config"])
        else:
            raise ConfigurationError(
                f"{path} is no .keras and no .h5 file; save the network as one of these with Keras"
            )
        with weights:
            _check_layers(path, config)
            return sum(_arrays(weights))
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, zipfile.BadZipFile) as error:
        raise ConfigurationError(
            f"{path} cannot be read as a network of Keras ({type(error).__name__}: {error}); save or copy it again"
        ) from error


def _arrays(weights: "h5py.File") -> Iterator[bool]:
    """Yield for each array of a file whether it belongs to the network; links are not followed."""
    import h5py

    names: list[str] = []
    weights.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    for name in names:
        # The states of Dropout's generators are kept by some versions and not by others; inference draws nothing.
        yield name.split("/")[0] not in _NOT_OF_THE_NETWORK and "seed_generator" not in name


def _check_layers(path: Path, config: object) -> None:
    """Refuse what runs code or remembers an earlier batch, before Keras sees it."""
    for node in _nodes(config):
        module, kind = node.get("module"), node.get("class_name")
        if kind in _CODE_LAYERS:
            raise ConfigurationError(
                f"{path} holds a layer of type {kind}, which runs code from the file; rebuild it without"
            )
        if isinstance(module, str) and module.split(".")[0] not in ("keras", "builtins"):
            raise ConfigurationError(
                f"{path} names {module}.{kind}, which is no part of Keras; rebuild it without"
            )
        if node.get("stateful") is True:
            raise ConfigurationError(
                f"{path} holds a stateful layer, {node.get('name')}, that remembers earlier clips"
            )


def _nodes(config: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(config, dict):
        yield config
        # The optimizer and the loss are not loaded.
        config = [value for key, value in config.items() if key != "compile_config"]
    if isinstance(config, list):
        for each in config:
            yield from _nodes(each)
