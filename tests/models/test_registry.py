"""Named models: where they lie, what they are refused for, and what the refusal says."""

import json
from pathlib import Path

import pytest

from emolake.errors import ConfigurationError
from emolake.models.inference import InferenceOptions
from emolake.models.known_families import FAMILIES
from emolake.models.registry import ModelEntry
from emolake.models.runtimes.devices import resolve_device
from emolake.schemas.labels import UnknownLabelError
from emolake.settings import Settings


def write_model(folder: Path, **config: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(
        json.dumps({"family": "spectrogram_cnn", "labels": ["anger", "sadness"], **config})
    )
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_the_default_needs_no_configuration() -> None:
    assert Settings().registry.entry().name == "default"
    assert Settings().registry.names() == ["default", "small"]


def test_a_named_model_is_found_by_its_path(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine", licence="CC0-1.0")
    settings = Settings(models={"mine": {"path": str(folder)}}, inference={"model": "mine"})
    entry = settings.registry.entry()
    assert (entry.family, entry.labels, entry.licence) == ("spectrogram_cnn", ("anger", "sadness"), "CC0-1.0")
    assert entry.description.files["model.safetensors"] == folder / "model.safetensors"
    assert settings.registry.entry("default").name == "default"


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(
        ConfigurationError, match=r"'nobody'; known are default, small, mine; add \[models\.nobody\]"
    ):
        Settings(models={"mine": {"path": "x"}}).registry.entry("nobody")


def entry_of(folder: Path) -> ModelEntry:
    return Settings(models={"mine": {"path": str(folder)}}).registry.entry("mine")


@pytest.mark.parametrize("entry", [{}, {"path": 3}])
def test_an_entry_without_folder_or_family_is_refused(entry: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=r"\[models\.mine\] holds .*expected path"):
        Settings(models={"mine": entry}).registry.entry("mine")


def test_a_key_that_the_family_does_not_have_names_those_it_has(tmp_path: Path) -> None:
    entry = {"path": str(write_model(tmp_path)), "colour": "red"}
    with pytest.raises(ConfigurationError, match=r"colour: .*; the keys of spectrogram_cnn are path"):
        Settings(models={"mine": entry}).registry.entry("mine")


def test_an_unknown_family_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"'oracle'; expected one of {', '.join(sorted(FAMILIES))}"):
        entry_of(write_model(tmp_path, family="oracle"))


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_a_broken_config_is_a_configuration_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigurationError, match="'mine'"):
        entry_of(tmp_path)


def test_missing_weights_name_the_file(tmp_path: Path) -> None:
    (write_model(tmp_path) / "model.safetensors").unlink()
    with pytest.raises(ConfigurationError, match=r"model\.safetensors"):
        _ = entry_of(tmp_path).fingerprint


def test_a_label_that_the_taxonomy_lacks_stops_the_load(tmp_path: Path) -> None:
    with pytest.raises(UnknownLabelError, match="'melancholy'"):
        entry_of(write_model(tmp_path, labels=["anger", "melancholy"])).load(InferenceOptions())


def test_a_runtime_that_the_family_lacks_is_refused_not_ignored(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="onnx.*runs on torch only"):
        entry_of(write_model(tmp_path)).load(InferenceOptions(runtime="onnx"))


def test_a_device_that_is_not_there_is_named() -> None:
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(ConfigurationError, match=r"'cuda:99'.*use auto or cpu"):
        resolve_device("cuda:99")
