"""config_id changes with everything that changes a result, and with nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from emolake.errors import ConfigurationError
from emolake.pipeline.identity import analysis_key, options_json
from emolake.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(
        json.dumps({"family": "spectrogram_cnn", "labels": ["anger", "sadness"]})
    )
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def config_id(folder: Path, **sections: Any) -> str:
    settings = Settings(models={"m": {"path": str(folder)}}, **sections)
    return analysis_key(settings, settings.registry.entry("m")).config_id


@pytest.mark.parametrize(
    "sections",
    [
        {"segmentation": {"window_s": 5.0, "hop_s": 5.0}},
        {"segmentation": {"min_speech_ratio": 0.2}},
        {"segmentation": {"channels": "split"}},
        {"segmentation": {"vad_threshold": 0.4}},
        {"decode": {"headerless_rates": {"ulaw": 16_000}}},
    ],
)
def test_what_changes_a_result_changes_the_id(folder: Path, sections: dict[str, dict[str, object]]) -> None:
    assert config_id(folder, **sections) != config_id(folder)


@pytest.mark.parametrize(
    "sections",
    [
        {"inference": {"batch_seconds": 20.0}},
        {"inference": {"device": "cpu"}},
        {"source": {"uri": "s3://other", "lookback_days": 9}},
        {"run": {"shard_seconds": 60.0}},
        {"decode": {"unpacked_mb": 100}},
        {"warehouse": {"data": "elsewhere"}},
    ],
)
def test_what_changes_no_result_keeps_the_id(folder: Path, sections: dict[str, dict[str, object]]) -> None:
    assert config_id(folder, **sections) == config_id(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_one_more_byte_is_another_model(folder: Path, name: str) -> None:
    before = config_id(folder)
    with (folder / name).open("ab") as file:
        file.write(b" ")
    assert config_id(folder) != before


def test_a_precision_is_another_id_and_one_that_the_family_lacks_is_refused(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text("{}")
    labels = {str(index): label for index, label in enumerate(("anger", "sadness"))}
    (folder / "config.json").write_text(json.dumps({"model_type": "hubert", "id2label": labels}))
    entry = {"family": "transformers", "model": str(folder)}

    def id_of(precision: str) -> str:
        inference = {"device": "cpu", "precision": precision, "runtime": "torch"}
        settings = Settings(models={"m": entry}, inference=inference)
        return analysis_key(settings, settings.registry.entry("m")).config_id

    with pytest.raises(ConfigurationError, match="int8"):
        id_of("int8")
    if torch.cpu.get_capabilities().get("avx512_bf16"):
        assert id_of("fp32") != id_of("bf16")


def test_options_stored_with_a_run_hold_no_secret() -> None:
    settings = Settings(
        source={"uri": "s3://calls"},
        warehouse={"catalog": "postgres:dbname=lake password=hunter2"},
    )
    stored = options_json(settings)
    assert "hunter2" not in stored
    assert json.loads(stored)["segmentation"]["window_s"] == 10.0
