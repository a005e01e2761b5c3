"""Features and networks on a device: nothing waits for it, and numbers are those of the processor.

`meta` stands for the device: it computes shapes alone, so that whatever would read a value of it raises.
"""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.gpu import models
from bench.gpu.parts import FEATURES
from emolake.models.families.mfcc_mlp import MfccMlp, MfccMlpConfig
from emolake.models.families.mfcc_mlp_network import MfccMlpNetwork
from emolake.models.protocol import Staged
from emolake.tasks.featurize import padded

LENGTHS = (16_000, 7_000, 16_000, 401)
WAVES = [np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32) for length in LENGTHS]


@pytest.mark.parametrize("name", FEATURES)
def test_no_feature_waits_for_the_device(name: str) -> None:
    batch, lengths = padded(WAVES)
    exact = FEATURES[name](batch, lengths)
    there = FEATURES[name](batch.to("meta"), lengths)
    assert (there.device.type, there.shape, there.dtype) == ("meta", exact.shape, exact.dtype)


@pytest.mark.parametrize("name", FEATURES)
def test_lengths_may_lie_beside_the_waves(name: str) -> None:
    batch, lengths = padded(WAVES)
    assert torch.equal(FEATURES[name](batch, lengths), FEATURES[name](batch.clone(), lengths.clone()))


@pytest.mark.slow
@pytest.mark.parametrize("family", [each for each in models.FAMILIES if each != "small"])
def test_no_encoder_waits_for_the_device(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which knows no meta
    model = models.load(models.entry(family, tmp_path, "tiny"), "cpu", "fp32")
    assert isinstance(model, Staged)
    network: torch.nn.Module = vars(model)["_network"]
    network.to("meta")
    # transformers asks of a HuBERT's mask whether it hides anything, which waits, where there is padding.
    padding = (9_000,) if family in {"encoder_head", "default"} else ()
    with torch.inference_mode():
        for other in (16_000, *padding):
            found = model.outputs(torch.zeros(2, 16_000, device="meta"), torch.tensor([16_000, other]))
            assert found.device.type == "meta"


@pytest.mark.slow
def test_the_mean_cepstrum_is_handed_over_without_a_wait(tmp_path: Path) -> None:
    config = MfccMlpConfig.model_validate(
        {"family": "mfcc_mlp", "labels": ["calm", "joy"], "mfcc": {"coefficients": 13},
         "mean": [0.0] * 13, "scale": [1.0] * 13, "hidden": [8]}
    )  # fmt: skip
    network = MfccMlpNetwork((13, 8, 2), activation="relu")
    model = MfccMlp(config, network, device="cpu")
    batch, lengths = padded(WAVES)
    with torch.inference_mode():
        exact = model.prediction(model.outputs(batch, lengths)).logits
        assert torch.equal(exact, model.predict(batch, lengths).logits)
        network.to("meta")
        model._mean, model._scale = model._mean.to("meta"), model._scale.to("meta")
        assert model.outputs(batch.to("meta"), lengths).shape == exact.shape
