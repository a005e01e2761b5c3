"""config_id changes with everything that changes a result, and with nothing else."""

import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from emolake.errors import ConfigurationError
from emolake.models.reliability import HeldOutAnswers, Reliability, write_reliability
from emolake.pipeline.execution import planned_run
from emolake.pipeline.identity import analysis_key, options_json
from emolake.pipeline.run_request import RunRequest
from emolake.settings import Settings


def write_model(folder: Path) -> None:
    (folder / "config.json").write_text(
        json.dumps({"family": "spectrogram_cnn", "labels": ["anger", "sadness"]})
    )
    (folder / "model.safetensors").write_bytes(b"weights")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path)
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


def recommend(folder: Path, abstain_below: float) -> None:
    """Put a recommendation beside a model's weights."""
    of_all = HeldOutAnswers(
        group="made",
        split="corpus",
        clips=(1, 1),
        predicted=((1, 0), (0, 1)),
        probability=((0.9, 0.1), (0.1, 0.9)),
    )
    write_reliability(
        folder,
        Reliability(labels=("anger", "sadness"), abstain_below=abstain_below, held_out=(of_all,)),
    )


@given(below=st.floats(0, 1), recommended=st.none() | st.floats(0, 1))
def test_the_id_holds_the_value_that_marks_labels_and_not_who_said_it(
    below: float, recommended: float | None
) -> None:
    with TemporaryDirectory() as made:
        folder = Path(made)
        write_model(folder)
        whole = config_id(folder, inference={"abstain_below": 0.0})
        asked = config_id(folder, inference={"abstain_below": below})
        assert (asked == whole) is (below == 0)
        assert config_id(folder) == whole  # nothing is recommended: nothing is marked, as in earlier versions
        if recommended is not None:
            recommend(folder, recommended)
        settled = config_id(folder, inference={"abstain_below": recommended or 0.0})
        assert config_id(folder, inference={"abstain_below": "auto"}) == config_id(folder) == settled
        assert config_id(folder, inference={"abstain_below": below}) == asked


def test_a_recommendation_that_cannot_be_read_is_named_where_it_is_asked_for(folder: Path) -> None:
    (folder / "reliability.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"reliability\.json is no record"):
        config_id(folder)
    assert config_id(folder, inference={"abstain_below": 0.4})


@pytest.mark.parametrize("value", [-0.1, 1.01, "nan", "always", float("nan")])
def test_what_is_no_probability_marks_nothing(value: object) -> None:
    with pytest.raises(ValidationError, match="abstain_below"):
        Settings(inference={"abstain_below": value})


def test_a_run_stores_the_value_and_not_that_it_was_the_models(folder: Path) -> None:
    recommend(folder, 0.45)
    settings = Settings(models={"m": {"path": str(folder)}}, inference={"model": "m", "runtime": "torch"})
    run = planned_run(RunRequest("nightly", (date(2026, 11, 20),)), settings)
    assert json.loads(options_json(run.settings))["inference"]["abstain_below"] == 0.45
    assert run.key == analysis_key(settings, settings.registry.entry())


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

    def id_of(precision: str, model: str = "m") -> str:
        inference = {"device": "cpu", "precision": precision, "runtime": "torch"}
        settings = Settings(models={"m": entry}, inference=inference)
        return analysis_key(settings, settings.registry.entry(model)).config_id

    with pytest.raises(ConfigurationError, match="int8"):
        id_of("int8", "small")
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


SECRET_TEXTS = [
    "https://1234:hunter2@host/v1",
    "postgresql://me:hunter2@db:5432/lake",
    "https://hunter2@host",
    "https://host/v1?token=hunter2&x=1",
    "host=db password='hunter2 hunter2'",
]


def texts_of(options: BaseModel, *above: str) -> Iterator[tuple[str, ...]]:
    """Yield the path of each key that may hold a text, or texts."""
    for name, field in type(options).model_fields.items():
        value = getattr(options, name)
        if isinstance(value, BaseModel):
            yield from texts_of(value, *above, name)
        elif re.search(r"\bstr\b", str(field.annotation)):
            yield (*above, name)


def with_value(options: BaseModel, path: tuple[str, ...], value: object) -> Any:
    """Return options of which one key has another value; nothing is validated."""
    name, *below = path
    if below:
        value = with_value(getattr(options, name), tuple(below), value)
    return options.model_copy(update={name: value})


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_no_key_that_may_hold_a_text_stores_a_secret_with_a_run() -> None:
    whole = Settings()
    paths = list(texts_of(whole))
    assert {("telemetry", "otlp_endpoint"), ("alerts", "urls_file"), ("source", "endpoint_url")} <= set(paths)
    assert len(paths) > 20
    for path in paths:
        for text in SECRET_TEXTS:
            usual = getattr(with_value(whole, path[:1], whole.model_dump()[path[0]]), path[0])
            for name in path[1:]:
                usual = usual[name]
            filled = {"a": text} if isinstance(usual, dict) else (text,) if isinstance(usual, tuple) else text
            assert "hunter2" not in options_json(with_value(whole, path, filled)), (path, text)


def test_options_without_secrets_are_stored_as_they_are() -> None:
    settings = Settings(
        policy={"purpose": "Qualität, rôle@site"}, decode={"headerless_rates": {"ulaw": 8000}}
    )
    stored = json.loads(options_json(settings))
    whole = json.loads(settings.model_dump_json())
    for name in ("policy", "decode", "segmentation", "run", "logs", "publish", "aggregate"):
        assert stored[name] == whole[name]
