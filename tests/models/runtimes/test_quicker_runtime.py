"""Which runtime `auto` is, is measured once on a processor, written down with the graph, and the same from then on."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from zoo import BUILDERS

from emolake.models.inference import InferenceOptions
from emolake.models.registry import ModelEntry
from emolake.models.runtimes import graphs, quicker_runtime
from emolake.models.runtimes.quicker_runtime import remember, remembered
from emolake.pipeline.identity import analysis_key
from emolake.settings import Settings

TORCH = {"onnx": 1.0, "torch": 0.5}
ONNX = {"onnx": 0.5, "torch": 1.0}
ALIKE = {"onnx": 1.0, "torch": 0.95}


class Stopwatch:
    """In place of the measurement: says what it was given, and counts."""

    def __init__(self, seconds: dict[Any, float]) -> None:
        self.seconds = seconds
        self.calls = 0

    def __call__(self, _load: Any) -> dict[Any, float]:
        self.calls += 1
        return self.seconds


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    folder = tmp_path_factory.mktemp("s3prl")
    return Settings(models={"tiny": BUILDERS["s3prl"](folder)}).registry.entry("tiny")


@pytest.fixture(scope="module")
def made(entry: ModelEntry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the model's graph, with nothing measured."""
    folder = tmp_path_factory.mktemp("graphs")
    entry.load(InferenceOptions(device="cpu", graph_cache=str(folder)))
    return folder


@pytest.fixture
def chosen(made: Path) -> Any:
    yield InferenceOptions(device="cpu", graph_cache=str(made))
    for file in made.glob("*/runtime-*"):
        file.unlink()


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    stopwatch = Stopwatch(TORCH)
    monkeypatch.setattr(graphs, "measured", stopwatch)
    return stopwatch


def loads_torch(entry: ModelEntry, chosen: InferenceOptions) -> bool:
    return bool(getattr(entry.load(chosen), "modules")())  # noqa: B009 - of the families that show their inside


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "runtime"), [(TORCH, "torch"), (ONNX, "onnx"), (ALIKE, "onnx")])
def test_what_is_much_quicker_is_taken_and_stays(
    seconds: Any, runtime: str, entry: ModelEntry, chosen: InferenceOptions, stopwatch: Stopwatch
) -> None:
    stopwatch.seconds = seconds
    assert entry.runtime(chosen) == "onnx"  # until it is measured
    entry.prepare(chosen)
    assert entry.runtime(chosen) == runtime
    assert loads_torch(entry, chosen) == (runtime == "torch")
    stopwatch.seconds = {"onnx": seconds["torch"], "torch": seconds["onnx"]}
    entry.prepare(chosen)
    assert (entry.runtime(chosen), stopwatch.calls) == (runtime, 1)
    for explicit in ("onnx", "torch"):
        assert entry.runtime(chosen.model_copy(update={"runtime": explicit})) == explicit


def test_the_choice_is_a_part_of_the_config_id(
    entry: ModelEntry, chosen: InferenceOptions, stopwatch: Stopwatch
) -> None:
    def config_id(**keys: Any) -> str:
        return analysis_key(Settings(inference=chosen.model_copy(update=keys)), entry).config_id

    assert config_id() == config_id(runtime="onnx")
    entry.prepare(chosen)
    assert config_id() == config_id(runtime="torch")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"runtime": "onnx"}', '{"processor": 1}', "\ud800", b"\xff\xfe", "runtime"]
)  # fmt: skip
def test_a_broken_file_is_measured_again(
    content: str | bytes, made: Path, entry: ModelEntry, chosen: InferenceOptions, stopwatch: Stopwatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    entry.prepare(chosen)
    (path,) = made.glob("*/runtime-*.json")
    if content == "runtime":  # one that there is not
        content = path.read_text("utf-8").replace('"runtime": "torch"', '"runtime": "abacus"')
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    stopwatch.seconds = ONNX
    with caplog.at_level(logging.WARNING):
        assert entry.runtime(chosen) == "onnx"
    assert f"{path} cannot be read, and is measured again" in caplog.text
    entry.prepare(chosen)
    assert stopwatch.calls == 2
    assert json.loads(path.read_text("utf-8"))["runtime"] == "onnx"


def test_another_processor_measures_for_itself(
    made: Path, entry: ModelEntry, chosen: InferenceOptions, stopwatch: Stopwatch, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    entry.prepare(chosen)
    monkeypatch.setattr(quicker_runtime, "processor", lambda: "another one")
    assert entry.runtime(chosen) == "onnx"
    stopwatch.seconds = ONNX
    entry.prepare(chosen)
    assert (entry.runtime(chosen), stopwatch.calls, len(list(made.glob("*/runtime-*")))) == ("onnx", 2, 2)
    monkeypatch.undo()
    assert entry.runtime(chosen) == "torch"


def test_of_two_processes_that_measure_the_first_one_holds(tmp_path: Path) -> None:
    assert remember(tmp_path, TORCH).runtime == "torch"  # type: ignore[arg-type]
    assert remember(tmp_path, ONNX).runtime == "torch"  # type: ignore[arg-type]
    found = remembered(tmp_path)
    assert found is not None
    assert found.seconds == TORCH
    assert [each.suffix for each in tmp_path.iterdir()] == [".json"]


def test_a_file_system_without_links_keeps_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(quicker_runtime.os, "link", refuse)
    assert remember(tmp_path, TORCH).runtime == "torch"  # type: ignore[arg-type]
    assert [each.suffix for each in tmp_path.iterdir()] == [".json"]


def test_nothing_is_measured_that_cannot_be_kept(
    entry: ModelEntry, chosen: InferenceOptions, stopwatch: Stopwatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs.os, "access", lambda *_: False)
    entry.prepare(chosen)
    assert (entry.runtime(chosen), stopwatch.calls) == ("onnx", 0)


def test_a_choice_that_cannot_be_written_leaves_onnxruntime(
    entry: ModelEntry, chosen: InferenceOptions, stopwatch: Stopwatch, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(quicker_runtime.tempfile, "mkstemp", full)
    entry.prepare(chosen)
    assert entry.runtime(chosen) == "onnx"
    assert "what is quicker for the model 'tiny' cannot be kept" in caplog.text


@pytest.mark.slow
def test_both_runtimes_are_measured_on_the_model(
    made: Path, entry: ModelEntry, chosen: InferenceOptions, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        entry.prepare(chosen)
    (path,) = made.glob("*/runtime-*.json")
    found = json.loads(path.read_text("utf-8"))
    assert set(found["seconds"]) == {"onnx", "torch"}
    assert all(0 < each < 60 for each in found["seconds"].values())
    assert (
        f"the model 'tiny' runs on {found['runtime']}: of processor time for 5 s of audio on " in caplog.text
    )
