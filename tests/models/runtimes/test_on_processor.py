"""What a processor computes in bf16 and int8: every row by itself, near fp32, for every kind of encoder."""

import copy
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models.families.test_transformers_audio import KINDS
from torch import nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperAttention

from emolake.errors import ConfigurationError
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import Batching
from emolake.models.registry import ModelEntry
from emolake.models.runtimes import arithmetic, on_processor
from emolake.models.runtimes.row_wise import RowWiseLinear, quantised_rows
from emolake.settings import Settings
from emolake.tasks.classify import Engine

HAS = torch.cpu.get_capabilities()
pytestmark = pytest.mark.skipif(
    not (HAS.get("avx512_bf16") and HAS.get("avx512_vnni")), reason="this processor has neither precision"
)
CORPORA = Path(__file__).parents[4] / "shared" / "data"
PRECISIONS = ("bf16", "int8")
ROWS = st.tuples(st.integers(1, 9), st.integers(1, 70), st.integers(0, 2**32 - 1), st.floats(-3, 3))


def some_rows(many: int, wide: int, seed: int, exponent: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    loudness = 10 ** (exponent * torch.rand(many, 1, generator=generator))
    return (
        torch.randn(many, wide, generator=generator) + torch.randn(many, 1, generator=generator)
    ) * loudness


@given(ROWS)
@settings(max_examples=150, deadline=None)
def test_a_row_is_off_by_half_a_step_at_most_and_depends_on_no_other(
    drawn: tuple[int, int, int, float],
) -> None:
    rows = some_rows(*drawn)
    quantised, scales, offsets = quantised_rows(rows)
    again = quantised * scales[:, None] + offsets[:, None]
    steps = (rows.amax(dim=1) - rows.amin(dim=1)) / 255
    assert ((again - rows).abs() <= 0.502 * steps[:, None] + 1e-6 * rows.abs().amax()).all()
    for place, row in enumerate(rows):
        alone = quantised_rows(row[None])
        assert torch.equal(alone[0][0], quantised[place])
        assert (float(alone[1]), float(alone[2])) == (float(scales[place]), float(offsets[place]))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_layer_in_int8_is_near_fp32_and_its_rows_are_the_same_in_any_company(
    bias: bool, threads: int
) -> None:
    torch.manual_seed(2)
    linear = nn.Linear(96, 40, bias=bias)
    layer, inputs = RowWiseLinear(linear), some_rows(700, 96, 4, 2).reshape(7, 100, 96)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            exact, found = linear(inputs), layer(inputs)
            assert torch.equal(layer(inputs[3:4]), found[3:4])
            assert torch.equal(layer(inputs[2, :1]), found[2, :1])
    finally:
        torch.set_num_threads(before)
    assert found.dtype is torch.float32
    error = (found - exact).norm(dim=2) / exact.norm(dim=2)
    assert float(error.max()) < 0.03


def test_a_quiet_frame_beside_a_loud_one_keeps_its_precision() -> None:
    """One scale for all rows would leave nothing of the quiet one."""
    torch.manual_seed(2)
    linear = nn.Linear(64, 64, bias=False)
    rows = torch.randn(2, 64) * torch.tensor([[1e-4], [1e3]])
    found, exact = RowWiseLinear(linear)(rows), linear(rows)
    assert ((found - exact).norm(dim=1) / exact.norm(dim=1) < 0.03).all()


def test_what_is_not_finite_stays_in_its_row_and_nothing_gives_the_bias() -> None:
    linear = nn.Linear(16, 8)
    rows = torch.randn(4, 16)
    rows[1, 3], rows[2] = torch.nan, 0
    with torch.inference_mode():
        found = RowWiseLinear(linear)(rows)
    assert found[1].isnan().all()
    assert found[[0, 2, 3]].isfinite().all()
    assert torch.allclose(found[2], linear.bias)


@pytest.mark.parametrize("frames", [1, 7, 1100])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_that_of_torch(frames: int, masked: bool) -> None:
    """1,100 frames go head by head, the few all at once."""
    torch.manual_seed(frames)
    query, key, value = (torch.randn(2, 4, frames, 16) for _ in range(3))
    mask = torch.zeros(2, 1, 1, frames).expand(-1, -1, frames, -1).clone()
    mask[1, :, :, max(1, frames - 2) :] = torch.finfo(torch.float32).min
    given_mask = mask if masked else None
    found, _ = on_processor._attention(nn.Identity(), query, key, value, given_mask, scaling=0.25)
    exact = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=given_mask, scale=0.25)
    assert float((found.transpose(1, 2) - exact).abs().max()) < 0.03
    alone, _ = on_processor._attention(
        nn.Identity(), query[1:], key[1:], value[1:], mask[1:] if masked else None, scaling=0.25
    )
    assert torch.equal(alone[0], found[1])


def attention() -> Any:
    """Return the attention of a layer of Whisper, with random weights."""
    config: Any = WhisperConfig(d_model=64, encoder_attention_heads=4)
    config._attn_implementation = "eager"
    return WhisperAttention(64, 4, config=config).eval()


def join(layer: Any) -> None:
    """Give a layer's attention the form for bf16."""
    on_processor._join_attention(layer)
    layer.out_proj = on_processor.HalfLinear(layer.out_proj)


@pytest.mark.parametrize("frames", [1, 7, 1100])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("scale", [1.0, 60.0, 2000.0])
def test_joined_attention_is_that_of_transformers(frames: int, masked: bool, scale: float) -> None:
    """At the larger scales powers of the products are beyond what floats hold, below zero and above."""
    torch.manual_seed(frames)
    plain = attention()
    with torch.no_grad():
        for layer in (plain.q_proj, plain.k_proj):
            layer.weight.copy_(layer.weight.bfloat16())
        plain.q_proj.weight.mul_(scale)
    states = torch.randn(2, frames, 64).bfloat16().float()
    mask = torch.zeros(2, 1, 1, frames).expand(-1, -1, frames, -1).clone()
    mask[1, :, :, max(1, frames - 2) :] = torch.finfo(torch.float32).min
    given = mask if masked else None
    with torch.inference_mode():
        exact, _ = plain(states, attention_mask=given)
        joined = copy.deepcopy(plain)
        join(joined)
        found, _ = joined(hidden_states=states, attention_mask=given)
        alone, _ = joined(hidden_states=states[1:], attention_mask=mask[1:] if masked else None)
    assert found.isfinite().all()
    # Of many logits that are far apart one decides, and two that are near each other may change places.
    assert float((found - exact).abs().median()) < 0.01
    assert torch.equal(alone[0], found[1])


def test_what_is_not_a_number_stays_in_its_segment() -> None:
    torch.manual_seed(1)
    joined = attention()
    join(joined)
    states = torch.randn(2, 5, 64)
    states[0, 3] = torch.nan
    with torch.inference_mode():
        found, _ = joined(hidden_states=states, attention_mask=None)
    assert found[0].isnan().all()
    assert found[1].isfinite().all()


@pytest.fixture(scope="module", params=KINDS)
def entry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp(str(request.param))
    model, extractor = KINDS[str(request.param)]()
    with torch.no_grad():
        model.classifier.weight.mul_(5)
    model.eval().save_pretrained(folder)
    extractor.save_pretrained(folder)
    named = {"tiny": {"family": "transformers", "model": str(folder)}}
    return Settings(models=named).registry.entry("tiny")


def load(entry: ModelEntry, precision: Any, runtime: Any = "auto") -> Any:
    return entry.load(InferenceOptions(device="cpu", precision=precision, runtime=runtime))


def clips() -> list[np.ndarray]:
    generator = np.random.default_rng(3)
    lengths = (16_000, 8_000, 16_000, 400, 23_456, 16_000, 400, 12_345, 16_000)
    return [generator.normal(0, 0.1, length).astype(np.float32) for length in lengths]


def answers(model: Any, waves: list[np.ndarray], batch_s: float) -> np.ndarray:
    return np.stack([each.probabilities for each in Engine(model, round(batch_s * 16_000)).scores(waves)])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_kind_of_encoder_is_near_fp32_and_the_same_in_any_batch(
    entry: ModelEntry, precision: str
) -> None:
    exact, model = load(entry, "fp32", "torch"), load(entry, precision)
    assert model.batching is Batching.EQUAL_LENGTH
    alone = answers(model, clips(), 0.0001)
    assert 0 < np.abs(alone - answers(exact, clips(), 20)).max() < 0.1
    for batch_s in (2.0, 1000.0):
        assert np.abs(answers(model, clips(), batch_s) - alone).max() < 1e-4
    assert np.abs(answers(model, clips()[::-1], 1000.0)[::-1] - alone).max() < 1e-4


@pytest.mark.parametrize("precision", PRECISIONS)
def test_all_products_of_an_encoder_are_in_the_precision_and_nothing_behind_it(
    entry: ModelEntry, precision: str
) -> None:
    model = load(entry, precision)
    (encoder,) = arithmetic.encoders_of(model._network)
    inside = set(encoder.modules())
    layers = (on_processor.HalfLinear, RowWiseLinear)
    plain = [name for name, part in encoder.named_modules() if isinstance(part, nn.Linear)]
    assert all(name.endswith("gru_rel_pos_linear") for name in plain)
    integers = [name for name, part in encoder.named_modules() if isinstance(part, RowWiseLinear)]
    assert len(integers) >= 6 * (
        precision == "int8"
    )  # of two layers: behind attention, and two of feed-forward
    assert not any(name.endswith(("q_proj", "k_proj", "v_proj", "joined")) for name in integers)
    # of two layers: what attention takes, as one product but for WavLM, what it gives, and two of feed-forward
    assert sum(isinstance(part, layers) for part in inside) >= 8
    assert not any(isinstance(part, layers) for part in set(model._network.modules()) - inside)
    assert all(part.weight.dtype is torch.bfloat16 for part in inside if isinstance(part, nn.Conv1d))
    assert all(part.weight.dtype is torch.float32 for part in inside if isinstance(part, nn.LayerNorm))


def test_where_a_processors_batches_change_answers_a_segment_goes_alone(
    entry: ModelEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def noisy(outputs: torch.Tensor, is_batch: bool) -> torch.Tensor:
        return outputs + torch.randn_like(outputs) if is_batch else outputs

    plain = on_processor.HalfLinear.forward
    monkeypatch.setattr(
        on_processor.HalfLinear, "forward", lambda self, given: noisy(plain(self, given), len(given) > 1)
    )
    assert load(entry, "bf16").batching is Batching.SINGLE


def test_int8_is_said_to_be_a_processors() -> None:
    entry = Settings().registry.entry("default")
    with pytest.raises(ConfigurationError, match="int8.*and.*supports fp32"):
        entry.load(InferenceOptions(device="cpu", precision="int8", runtime="onnx"))


@pytest.mark.slow
@pytest.mark.skipif(not CORPORA.is_dir(), reason="the corpora are not beside this checkout")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_default_keeps_its_answers_to_real_speech(precision: str) -> None:
    with (CORPORA / "manifest_all.csv").open(newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)][7::70]
    waves = [soundfile.read(CORPORA / path, dtype="float32")[0] for path in paths]
    entry = Settings().registry.entry("default")
    exact, found = (answers(load(entry, each), waves, 20) for each in ("fp32", precision))
    assert np.abs(found - exact).max() <= 0.02
    assert (found.argmax(1) != exact.argmax(1)).mean() <= 0.01
