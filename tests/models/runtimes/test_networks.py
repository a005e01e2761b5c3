"""What executes a network: a graph is never silently another model, and no two runtimes or precisions share results."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from zoo import BUILDERS

from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder
from emolake.models.families.s3prl import S3prl
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import Batching, EmotionModel
from emolake.models.registry import ModelChangedError, ModelEntry
from emolake.models.runtimes import networks
from emolake.models.runtimes.choice import possible
from emolake.models.runtimes.graph_cache import GraphCache, GraphRefusedError
from emolake.models.runtimes.graph_form import WaveConvolution, graph_form
from emolake.models.runtimes.graphs import Graphs
from emolake.models.runtimes.networks import load_network
from emolake.pipeline.identity import analysis_key
from emolake.settings import Settings
from emolake.tasks.classify import Engine

pytestmark = pytest.mark.slow

ENCODERS = ("s3prl", "transformers", "dimensional", "encoder_head")
# Largest change of a probability, or of arousal, dominance and valence around 1, in tiny random networks.
CLOSE = {"bf16": 0.1, "int8": 0.1}


@pytest.fixture(scope="module", params=ENCODERS)
def entry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    return made(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def s3prl(tmp_path: Path) -> ModelEntry:
    return made("s3prl", tmp_path)


def made(family: str, folder: Path) -> ModelEntry:
    return Settings(models={"tiny": BUILDERS[family](folder)}).registry.entry("tiny")


def inference(**keys: Any) -> InferenceOptions:
    return InferenceOptions(device="cpu", **keys)


def clips() -> list[np.ndarray]:
    generator = np.random.default_rng(3)
    return [
        generator.normal(0, 0.1, length).astype(np.float32)
        for length in (16_000, 8_000, 23_456, 16_000, 400, 12_345, 16_000, 400)
    ]


def answers(model: EmotionModel, waves: list[np.ndarray], batch_seconds: float = 1000.0) -> np.ndarray:
    scores = Engine(model, max(1, int(batch_seconds * 16_000))).scores(waves)
    found = [each.probabilities if model.labels else each.affect for each in scores]
    given = [each for each in found if each is not None]
    assert len(given) == len(waves)
    return np.stack(given)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_lower_precision_is_close_and_the_batch_does_not_change_it(
    entry: ModelEntry, precision: Any, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        model = entry.load(inference(precision=precision))
    except ConfigurationError as error:
        pytest.skip(str(error))
    assert f"runs in {precision}, which changes its answers: " in caplog.text
    assert "on 6 clips of made speech by up to " in caplog.text
    assert model.batching is Batching.EQUAL_LENGTH
    exact = answers(entry.load(inference()), clips())
    found = answers(model, clips())
    assert model.precision == precision
    assert 0 < np.abs(found - exact).max() < CLOSE[precision]
    assert np.abs(answers(model, clips(), 0) - found).max() < 1e-4
    assert np.abs(answers(model, clips()[::-1])[::-1] - found).max() < 1e-4


def test_a_graph_that_is_there_is_run_without_the_weights(
    entry: ModelEntry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chosen = inference(runtime="onnx", graph_cache=str(tmp_path))
    before = answers(entry.load(chosen), clips())

    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("the weights were loaded")

    monkeypatch.setattr(speech_encoder, "load_exactly", loaded)
    assert np.array_equal(answers(entry.load(chosen), clips()), before)


class Stuck(nn.Module):
    """Scales by a number that tracing takes for a constant."""

    def forward(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return inputs.mean(dim=1, keepdim=True) + float(inputs.std()) * lengths[:, None]


class Unknown(nn.Module):
    """Holds what the exporter has no operator for."""

    def forward(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(inputs).mean(dim=1, keepdim=True) + lengths[:, None]


@pytest.mark.parametrize(
    ("module", "why"), [(Stuck, "differs from torch's by"), (Unknown, "torch cannot export it")]
)
def test_a_graph_that_is_another_network_is_refused(tmp_path: Path, module: Any, why: str) -> None:
    graphs = Graphs(GraphCache(tmp_path, max_bytes=10**9), "of a test", "fp32")
    with pytest.raises(GraphRefusedError, match=why):
        load_network(
            module, lambda waves, _: waves, batching=Batching.MASKED, device="cpu", graphs=graphs
        )  # fmt: skip
    assert why in (graphs.refusal or "")


class Mean(nn.Module):
    """What can be exported."""

    def forward(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return inputs.sum(dim=1, keepdim=True) / lengths[:, None]


def exported(graphs: Graphs) -> None:
    load_network(
        Mean, lambda waves, _: waves, batching=Batching.MASKED, device="cpu", graphs=graphs
    )  # fmt: skip


def test_a_graph_that_answers_nan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = networks.OnnxNetwork.__call__
    monkeypatch.setattr(networks.OnnxNetwork, "__call__", lambda *given: whole(*given) * float("nan"))
    with pytest.raises(GraphRefusedError, match="differs from torch's by nan"):
        exported(Graphs(GraphCache(tmp_path, max_bytes=10**9), "of a test", "fp32"))


def test_what_may_succeed_later_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = Graphs(GraphCache(tmp_path, max_bytes=10**9), "of a test", "fp32")

    def no_room(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte")

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="can't allocate memory"):
        patched.setattr(torch.onnx, "export", no_room)
        exported(graphs)
    assert graphs.refusal is None
    exported(graphs)
    assert graphs.is_made


def test_a_graph_of_files_that_were_changed_meanwhile_is_not_kept(tmp_path: Path) -> None:
    def changed() -> None:
        raise ModelChangedError("the files were changed")

    graphs = Graphs(GraphCache(tmp_path, max_bytes=10**9), "of a test", "fp32", changed)
    with pytest.raises(ModelChangedError):
        exported(graphs)
    assert not graphs.is_made
    assert graphs.refusal is None


@pytest.fixture
def refused(s3prl: ModelEntry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> InferenceOptions:
    """Settings under which the model was refused, as one whose graph differs by anything at all is."""
    monkeypatch.setattr(networks, "TOLERANCE", -1.0)
    chosen = inference(graph_cache=str(tmp_path / "graphs"))
    s3prl.prepare(chosen)
    monkeypatch.undo()
    return chosen


def test_a_refused_model_runs_on_torch_and_says_so(
    s3prl: ModelEntry, refused: InferenceOptions, caplog: pytest.LogCaptureFixture
) -> None:
    assert s3prl.runtime(refused) == "torch"
    with caplog.at_level(logging.WARNING):
        found = answers(s3prl.load(refused), clips())
    assert "the model 'tiny' runs on torch: the graph's answer differs" in caplog.text
    assert np.array_equal(found, answers(s3prl.load(inference(runtime="torch")), clips()))


def test_a_refused_model_is_an_error_where_onnx_was_asked_for(
    s3prl: ModelEntry, refused: InferenceOptions
) -> None:
    with pytest.raises(ConfigurationError, match="'tiny' cannot be run by onnxruntime in fp32: the graph's"):
        s3prl.load(refused.model_copy(update={"runtime": "onnx"}))


def test_a_cache_that_has_no_place_leaves_torch(s3prl: ModelEntry, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    chosen = inference(graph_cache=str(tmp_path / "file"))
    assert s3prl.runtime(chosen) == "torch"
    assert answers(s3prl.load(chosen), clips()).shape == (len(clips()), 4)


def test_results_of_two_runtimes_are_kept_apart(s3prl: ModelEntry, refused: InferenceOptions) -> None:
    def config_id(chosen: InferenceOptions) -> str:
        return analysis_key(Settings(inference=chosen), s3prl).config_id

    assert config_id(inference()) == config_id(inference(runtime="onnx"))
    assert config_id(inference()) != config_id(inference(runtime="torch"))
    assert config_id(refused) == config_id(inference(runtime="torch"))


def test_to_prepare_is_to_make_the_graph_once(s3prl: ModelEntry, tmp_path: Path) -> None:
    chosen = inference(graph_cache=str(tmp_path / "graphs"))
    s3prl.prepare(chosen)
    [graph] = (tmp_path / "graphs").glob("*/model.onnx")
    written = graph.stat().st_mtime_ns
    s3prl.prepare(chosen)
    assert graph.stat().st_mtime_ns == written


ABLE: Any = {"torch": ("fp32", "tf32", "bf16", "int8"), "onnx": ("fp32",)}


@pytest.mark.parametrize(
    ("keys", "device", "runtimes"),
    [
        ({}, "cpu", ("onnx", "torch")),
        ({}, "cuda", ("torch",)),
        ({"runtime": "torch"}, "cpu", ("torch",)),
        ({"runtime": "onnx"}, "cpu", ("onnx",)),
    ],
)
def test_auto_is_onnxruntime_on_a_processor_and_torch_elsewhere(
    keys: dict[str, Any], device: str, runtimes: tuple[str, ...]
) -> None:
    assert possible(InferenceOptions(**keys), ABLE, device=lambda: device, model="m") == runtimes


@pytest.mark.parametrize(
    ("keys", "device", "message"),
    [
        ({"runtime": "onnx"}, "cuda", "onnxruntime runs on the processor, and inference.device is cuda"),
        (
            {"precision": "int8"},
            "cuda",
            "int8, the arithmetic of processors, and inference.device is cuda here",
        ),
        (
            {"precision": "bf16"},
            "mps",
            "bf16 is made for processors and NVIDIA's GPUs, and inference.device is mps",
        ),
        ({"precision": "tf32"}, "cpu", "tf32, the arithmetic of NVIDIA's GPUs, and the processor is used"),
        (
            {"precision": "bf16", "runtime": "onnx"},
            "cpu",
            "supports fp32, tf32, bf16, int8 on torch and fp32 on onnx",
        ),
        ({"precision": "fp16"}, "cpu", "inference.precision is fp16, and m supports"),
    ],
)
def test_what_is_lacking_is_named(keys: dict[str, Any], device: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        possible(InferenceOptions(**keys), ABLE, device=lambda: device, model="m")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("samples", [10, 14, 15, 16_003])
def test_a_convolution_of_a_waveform_is_one_product(samples: int, bias: bool) -> None:
    torch.manual_seed(samples)
    convolution = nn.Conv1d(1, 8, kernel_size=10, stride=5, bias=bias)
    waves = torch.randn(3, 1, samples)
    assert torch.allclose(WaveConvolution(convolution)(waves), convolution(waves), atol=1e-5)


def test_a_module_is_itself_again_after_its_graph_was_made(s3prl: ModelEntry) -> None:
    model = s3prl.load(inference(runtime="torch"))
    assert isinstance(model, S3prl)
    encoder: Any = model.modules()["upstream"]
    first = encoder.feature_extractor.conv_layers[0]
    before, attention = first.conv, encoder.config._attn_implementation
    with pytest.raises(RuntimeError, match="by the test"), graph_form(encoder):
        assert isinstance(first.conv, WaveConvolution)
        assert encoder.config._attn_implementation == "eager" != attention
        raise RuntimeError("by the test")
    assert first.conv is before
    assert encoder.config._attn_implementation == attention
