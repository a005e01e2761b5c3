"""A pickle in place of any file of any family's model runs nothing, and is refused with a sentence."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from zoo import BUILDERS

from emolake.errors import ConfigurationError
from emolake.models.inference import InferenceOptions
from emolake.models.registry import ModelEntry
from emolake.settings import Settings
from emolake.training.training_run import Checkpoint

pytestmark = pytest.mark.slow

CPU = InferenceOptions(device="cpu")


class Bomb:
    """Makes a file when it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def torch_file(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    torch.save({"model": bomb, "Args": bomb, "layers.0.weight": bomb}, buffer)
    return buffer.getvalue()


def old_torch_file(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    torch.save({"model": bomb}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def joblib_file(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    joblib.dump([bomb], buffer)
    return buffer.getvalue()


def numpy_file(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([bomb], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def archive(bomb: Bomb) -> bytes:
    """A zip whose every usual member is a pickle: skops, Keras and torch read archives."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name in (
            "archive/data.pkl",
            "data.pkl",
            "schema.json",
            "config.json",
            "model.weights.h5",
            "1.npy",
        ):
            made.writestr(name, pickle.dumps(bomb))
    return buffer.getvalue()


KINDS: dict[str, Callable[[Bomb], bytes]] = {
    "pickle": pickle.dumps,
    "torch": torch_file,
    "old torch": old_torch_file,
    "joblib": joblib_file,
    "numpy": numpy_file,
    "archive": archive,
}


def goes_off(content: bytes, load: Callable[[io.BytesIO], object], path: Path) -> bool:
    load(io.BytesIO(content))
    found = path.exists()
    path.unlink(missing_ok=True)
    return found


def test_the_bombs_are_sharp(tmp_path: Path) -> None:
    """Each goes off where it is read without care: the tests below would show it."""
    path = tmp_path / "executed"
    bomb = Bomb(path)
    assert goes_off(pickle.dumps(bomb), pickle.load, path)
    assert goes_off(torch_file(bomb), lambda file: torch.load(file, weights_only=False), path)
    assert goes_off(old_torch_file(bomb), lambda file: torch.load(file, weights_only=False), path)
    assert goes_off(joblib_file(bomb), joblib.load, path)
    assert goes_off(numpy_file(bomb), lambda file: np.load(file, allow_pickle=True), path)


@pytest.mark.parametrize("family", BUILDERS)
def test_a_pickle_in_place_of_any_file_runs_nothing(family: str, tmp_path: Path) -> None:
    models = {family: BUILDERS[family](tmp_path)}
    if family == "ensemble":
        for member in models[family]["members"]:
            (tmp_path / member).mkdir()
            models[member] = BUILDERS[member](tmp_path / member)
    settings, executed = Settings(models=models), tmp_path / "executed"
    files = dict(settings.registry.entry(family).description.files)
    assert files
    for path in sorted(set(files.values())):
        whole = path.read_bytes()
        for kind, made in KINDS.items():
            path.write_bytes(made(Bomb(executed)))
            # A new entry each time: some families read their configuration before they load.
            with pytest.raises(ConfigurationError):
                load(settings, family)
            assert not executed.exists(), f"{kind} in place of {path.name} was run"
        path.write_bytes(whole)
    load(settings, family)


def load(settings: Settings, name: str) -> None:
    entry = settings.registry.entry(name)
    assert entry.fingerprint
    ModelEntry(entry.name, entry.family, entry.options).load(CPU)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_in_place_of_a_trainings_checkpoint_runs_nothing(kind: str, tmp_path: Path) -> None:
    path, executed = tmp_path / "0.pt", tmp_path / "executed"
    path.write_bytes(KINDS[kind](Bomb(executed)))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Checkpoint(path).read()
    assert not executed.exists()
