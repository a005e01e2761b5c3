"""A lower precision: what stays in fp32 does, the change is measured, and batches of a fixed shape change no answer."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from zoo import BUILDERS

from emolake.errors import ConfigurationError
from emolake.models.encoders import encoder_input
from emolake.models.encoders.encoder_model import EncoderModel
from emolake.models.families.s3prl_network import Head
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import Batching, Staged
from emolake.models.registry import ModelEntry
from emolake.models.runtimes import arithmetic, choice, on_processor
from emolake.models.runtimes.arithmetic import (
    InHalf,
    encoders_of,
    fp32_products,
    measured_change,
)
from emolake.models.runtimes.choice import possible
from emolake.models.runtimes.precision_change import PrecisionChange, change_of
from emolake.pipeline.device_thread import DeviceThread
from emolake.pipeline.identity import analysis_key
from emolake.settings import Settings
from emolake.tasks.classify import Engine

ENCODERS = ("s3prl", "transformers", "dimensional", "encoder_head")


@pytest.fixture(scope="module", params=ENCODERS)
def entry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    folder = tmp_path_factory.mktemp(request.param)
    return Settings(models={"tiny": BUILDERS[request.param](folder)}).registry.entry("tiny")


@pytest.fixture(autouse=True)
def any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU computes in half precision is tested on processors that do so slowly."""
    monkeypatch.setattr(on_processor, "PRECISIONS", ())
    monkeypatch.setattr(choice, "_INSTRUCTIONS", dict.fromkeys(("bf16", "fp16", "int8"), ("avx2",)))


def load(entry: ModelEntry, precision: Any) -> Any:
    return entry.load(InferenceOptions(device="cpu", precision=precision, runtime="torch"))


def clips() -> list[np.ndarray]:
    generator = np.random.default_rng(3)
    lengths = (16_000, 8_000, 16_000, 23_456, 16_000, 12_345, 16_000)
    return [generator.normal(0, 0.1, length).astype(np.float32) for length in lengths]


def answers(scores: Any) -> np.ndarray:
    return np.stack([each.affect if each.affect is not None else each.probabilities for each in scores])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_encoders_are_in_half_and_all_behind_them_in_fp32(entry: ModelEntry, precision: str) -> None:
    exact, model = load(entry, "fp32"), load(entry, precision)
    network = model._network
    assert isinstance(network, InHalf)
    (encoder,) = encoders_of(network)
    dtype = arithmetic.HALVES[precision]
    within = {id(part) for part in encoder.modules()}
    for part in network.modules():
        if isinstance(part, nn.Linear | nn.Conv1d):
            assert part.weight.dtype is (dtype if id(part) in within else torch.float32)
        elif isinstance(part, nn.LayerNorm | nn.GroupNorm):
            assert part.weight.dtype is torch.float32
    change = model.precision_change
    found, right = (answers(Engine(each, 1).scores(clips())) for each in (model, exact))
    assert change.clips == 6
    assert 0 < change.largest < 0.1
    assert 0 < np.abs(found - right).max() < 0.1
    assert found.dtype == np.float32


def test_a_head_is_exact_under_an_encoder_in_half(entry: ModelEntry) -> None:
    """What a head is given in fp32 it answers to as ever: its own rounding would be a hundred times the bound."""
    model, seen = load(entry, "bf16"), []
    heads = [
        part
        for name, part in model._network.named_modules()
        if isinstance(part, nn.Linear)
        and not any(part in set(e.modules()) for e in encoders_of(model._network))
    ]
    for each in heads:
        each.register_forward_hook(lambda part, given, out: seen.append((part, given[0], out)))
    Engine(model, 1).scores(clips()[:1])
    for part, given, out in seen:
        assert out.dtype is torch.float32
        with torch.inference_mode():
            right = nn.functional.linear(given.float(), part.weight, part.bias)
        assert torch.allclose(out, right, atol=1e-6)
    assert len(seen) == len(heads)


def test_the_weighted_sum_of_states_is_exact_too() -> None:
    torch.manual_seed(1)
    shapes = {"projector.weight": (16, 32), "projector.bias": (16,), "model.post_net.linear.weight": (4, 16),
              "model.post_net.linear.bias": (4,)}  # fmt: skip
    head = Head(torch.randn(3), {name: torch.randn(shape) for name, shape in shapes.items()})
    pooled = [torch.randn(2, 32) for _ in range(3)]
    with torch.autocast("cpu", torch.bfloat16):
        found = head(pooled)
    assert torch.equal(found, head(pooled))


@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_the_device_thread_gives_the_answers_of_each_segment_alone(entry: ModelEntry, precision: str) -> None:
    """In fp32 within the promise; in half precision because the shape of a batch is its length's own."""
    model = load(entry, precision)
    is_staged = isinstance(model, Staged)
    assert is_staged
    model.batching = load(entry, "fp32").batching  # as on a GPU
    thread = DeviceThread(model, batch_seconds=4.0, in_flight=3, whole_s=1.0)

    def scored(waves: list[np.ndarray]) -> np.ndarray:
        with thread.client() as client:
            tickets = [client.submit(wave, "a") for wave in waves]
            client.end()
            return answers([client.scores(ticket) for ticket in tickets])

    together = scored(clips())
    alone = np.concatenate([scored([wave]) for wave in clips()])
    backwards = scored(clips()[::-1])[::-1]
    assert np.abs(together - alone).max() < 1e-4
    assert np.abs(together - backwards).max() < 1e-4
    if precision == "fp32":
        assert np.abs(together - answers(Engine(model, 1).scores(clips()))).max() < 1e-4


def test_whispers_input_is_the_extractors_own_on_whatever_device(tmp_path: Path) -> None:
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=80)
    lengths = torch.tensor([16_000, 9_999, 48_000, 480])
    waves = torch.zeros(4, 48_000)
    for wave, length in zip(waves, lengths.tolist(), strict=True):
        wave[:length] = torch.from_numpy(
            np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
        )
    for own_frames in (False, True):
        expected = encoder_input.prepared(waves, lengths, extractor, own_frames=own_frames)
        found = encoder_input.log_mel_beside(waves, lengths, extractor, own_frames=own_frames)
        assert found.shape == expected.shape
        assert float((found - expected).abs().max()) < 1e-4


def test_a_change_is_of_probabilities_and_labels() -> None:
    before = [torch.tensor([0.0, 0.1]), torch.tensor([3.0, 0.0])]
    after = [torch.tensor([0.2, 0.1]), torch.tensor([3.0, 0.0])]
    change = measured_change(before, after, are_logits=True)
    assert (change.clips, change.labels) == (2, 0.5)
    assert change.largest == pytest.approx(1 / (1 + math.exp(-0.1)) - 0.475021, abs=1e-5)
    plain = measured_change(before, after, are_logits=False)
    assert plain == PrecisionChange(2, plain.largest, 0.0)
    assert plain.largest == pytest.approx(0.2)
    broken = measured_change(before, [torch.tensor([math.nan, 0]), after[1]], are_logits=True)
    assert math.isnan(broken.largest)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (PrecisionChange(96, 0.0042, 0.0), "on 96 clips of made speech by up to 4.2e-03, with another label for 0.0%"),
        (PrecisionChange(96, 0.3, 0.02), "another label for 2.0%, more than 1 %; compare it with fp32"),
        (PrecisionChange(96, math.nan, 0.0), "some are not finite any more; compare it"),
    ],
)  # fmt: skip
def test_the_change_is_said_at_load(change: PrecisionChange, words: str) -> None:
    class Model:
        precision_change = change

    model: Any = Model()
    assert words in change_of(model)
    assert ("evaluate" in change_of(model)) == (change.labels > 0.01 or math.isnan(change.largest))


def test_fp32_is_exact_on_a_gpu_unless_tf32_is_asked_for() -> None:
    """torch rounds convolutions to TF32 by itself."""
    products: Any = torch.backends
    parts = (products.cuda.matmul, products.cudnn.conv, products.cudnn.rnn)
    before = [part.fp32_precision for part in parts]
    try:
        with fp32_products(tf32=True):
            assert {part.fp32_precision for part in parts} == {"tf32"}
            with fp32_products(tf32=False):
                assert {part.fp32_precision for part in parts} == {"ieee"}
            assert {part.fp32_precision for part in parts} == {"tf32"}
        arithmetic.exact_fp32()
        assert {part.fp32_precision for part in parts} == {"ieee"}
    finally:
        for part, precision in zip(parts, before, strict=True):
            part.fp32_precision = precision


ABLE: Any = {"torch": ("fp32", "tf32", "bf16", "fp16", "int8"), "onnx": ("fp32",)}


@pytest.mark.parametrize(
    ("precision", "capability", "refused"),
    [("bf16", (9, 0), False), ("tf32", (8, 0), False), ("fp16", (7, 5), False), ("bf16", (7, 5), True),
     ("tf32", (7, 0), True), ("fp32", (7, 0), False)],
)  # fmt: skip
def test_a_gpu_takes_what_it_can_compute(
    precision: Any, capability: tuple[int, int], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    asked = InferenceOptions(precision=precision)
    if not refused:
        assert possible(asked, ABLE, device=lambda: "cuda", model="m") == ("torch",)
        return
    with pytest.raises(ConfigurationError, match=r"cuda \(Tesla T4\) is older than Ampere and lacks it"):
        possible(asked, ABLE, device=lambda: "cuda", model="m")


def test_a_gpus_half_precision_is_batched_and_a_processors_by_one_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(on_processor, "PRECISIONS", ("bf16", "int8"))
    from emolake.models.runtimes.networks import exact_batching

    for precision in ("tf32", "bf16", "fp16"):
        assert exact_batching(Batching.MASKED, precision, "cuda:1") is Batching.MASKED
        assert exact_batching(Batching.EQUAL_LENGTH, precision, "cuda") is Batching.EQUAL_LENGTH
    for precision in ("bf16", "int8"):
        assert exact_batching(Batching.MASKED, precision, "cpu") is Batching.EQUAL_LENGTH
        assert exact_batching(Batching.SINGLE, precision, "cpu") is Batching.SINGLE
    assert exact_batching(Batching.MASKED, "fp16", "cpu") is Batching.SINGLE
    assert exact_batching(Batching.MASKED, "fp32", "cpu") is Batching.MASKED


def test_ids_of_rows_in_fp32_stay_and_each_precision_has_its_own(entry: ModelEntry) -> None:
    ids = {
        precision: analysis_key(
            Settings(inference={"precision": precision, "runtime": "torch"}), entry
        ).config_id
        for precision in ("fp32", "bf16", "fp16")
    }
    assert len(set(ids.values())) == 3


def test_every_encoder_family_has_every_precision() -> None:
    assert all(
        set(family.precisions["torch"]) == {"fp32", "tf32", "bf16", "fp16", "int8"}
        for family in (EncoderModel,)
    )
