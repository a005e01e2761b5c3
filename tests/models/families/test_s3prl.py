"""S3PRL's head agrees with S3PRL's own answers, alone and in any batch, and refuses what it does not compute."""

import argparse
import json
import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

from emolake.errors import ConfigurationError
from emolake.models.families.s3prl import S3prlOptions
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import Batching, EmotionModel
from emolake.models.registry import ModelEntry
from emolake.settings import Settings
from emolake.tasks.classify import classify
from emolake.tasks.segment import Segment

GOLDENS = Path(__file__).parents[4] / "shared" / "goldens" / "s3prl"
TOLERANCE = 1e-4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not GOLDENS.is_dir(), reason="../shared/goldens is not on this machine"),
]


def entry(folder: Path, **options: Any) -> ModelEntry:
    keys = {
        "family": "s3prl",
        "upstream": str(folder / "hf"),
        "checkpoint": str(folder / "dev-best.ckpt"),
        **options,
    }
    return Settings(models={"golden": keys}).registry.entry("golden")


def expected(folder: Path) -> dict[str, Any]:
    answers: dict[str, Any] = json.loads((folder / "expected.json").read_text())
    return answers


def waves(folder: Path) -> list[np.ndarray]:
    return [sf.read(folder / each["file"], dtype="float32")[0] for each in expected(folder)["utterances"]]


def logits(model: EmotionModel, clips: list[np.ndarray], batch_seconds: float) -> np.ndarray:
    segments = [((), Segment(0, 0, 0, len(clip), 0.0, len(clip) / 16_000, clip, 1.0)) for clip in clips]
    scored = classify(segments, model, batch_seconds=batch_seconds)
    return np.stack([scores.logits for _, _, scores in scored if scores is not None])


@pytest.fixture(params=["stable", "group"])
def golden(request: pytest.FixtureRequest) -> Path:
    return GOLDENS / str(request.param)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A golden that may be broken."""
    shutil.copytree(GOLDENS / "stable", tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def changed_checkpoint(copy: Path) -> Callable[[Callable[[dict[str, Any]], None]], ModelEntry]:
    """A golden whose checkpoint was changed by a function."""

    def change(edit: Callable[[dict[str, Any]], None]) -> ModelEntry:
        path = copy / "dev-best.ckpt"
        with torch.serialization.safe_globals([argparse.Namespace]):
            checkpoint = torch.load(path, weights_only=True)
        edit(checkpoint)
        torch.save(checkpoint, path)
        return entry(copy)

    return change


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
@pytest.mark.parametrize("batch_seconds", [0.01, 15.0, 1000.0], ids=["alone", "small batches", "one batch"])
def test_logits_equal_s3prl_in_any_batch(golden: Path, batch_seconds: float, runtime: Any) -> None:
    model = entry(golden).load(InferenceOptions(device="cpu", runtime=runtime))
    found = logits(model, waves(golden), batch_seconds)
    wanted = np.array([each["logits"] for each in expected(golden)["utterances"]])
    assert np.abs(found - wanted).max() < TOLERANCE


def test_order_of_a_batch_does_not_matter(golden: Path) -> None:
    model = entry(golden).load(InferenceOptions(device="cpu"))
    clips = waves(golden)
    assert np.abs(logits(model, clips, 1000)[::-1] - logits(model, clips[::-1], 1000)).max() < TOLERANCE


def test_eps_of_s3prls_own_expert(golden: Path) -> None:
    model = entry(golden, waveform_eps=1e-5).load(InferenceOptions(device="cpu"))
    wanted = np.array([each["logits_s3prl_hubert_expert"] for each in expected(golden)["utterances"]])
    assert np.abs(logits(model, waves(golden), 1000) - wanted).max() < TOLERANCE


def test_padding_a_group_norm_model_would_change_the_answer() -> None:
    folder = GOLDENS / "group"
    model = entry(folder).load(InferenceOptions(device="cpu"))
    assert model.batching is Batching.EQUAL_LENGTH
    clips = waves(folder)
    model.batching = Batching.MASKED
    wanted = np.array([each["logits"] for each in expected(folder)["utterances"]])
    assert np.abs(logits(model, clips, 1000) - wanted).max() > 100 * TOLERANCE


def test_labels_come_from_the_metadata_in_their_order(golden: Path) -> None:
    assert entry(golden).labels == tuple(expected(golden)["labels"]) == ("neu", "hap", "ang", "sad")
    assert entry(golden, labels=["neutral", "joy", "anger", "sadness"]).labels[1] == "joy"


def test_without_metadata_the_labels_must_be_given(copy: Path) -> None:
    (copy / "train_meta_data.json").unlink()
    with pytest.raises(ConfigurationError, match=r"train_meta_data\.json beside it.*set labels or metadata"):
        _ = entry(copy).labels


def test_folds_are_averaged(changed_checkpoint: Callable[..., ModelEntry]) -> None:
    def shift(checkpoint: dict[str, Any]) -> None:
        checkpoint["Downstream"]["model.post_net.linear.bias"] += torch.tensor([1.0, 0.0, -2.0, 4.0])

    shifted = changed_checkpoint(shift)
    assert isinstance(shifted.options, S3prlOptions)
    folds = [shifted.options.checkpoint[0], str(GOLDENS / "stable" / "dev-best.ckpt")]
    mean = entry(GOLDENS / "stable", checkpoint=folds).load(InferenceOptions(device="cpu"))
    clips = waves(GOLDENS / "stable")[:2]
    wanted = np.array([each["logits"] for each in expected(GOLDENS / "stable")["utterances"][:2]])
    assert np.abs(logits(mean, clips, 1000) - wanted - [0.5, 0.0, -1.0, 2.0]).max() < TOLERANCE


def _add_upstream(checkpoint: dict[str, Any]) -> None:
    checkpoint["Upstream"] = OrderedDict(a=torch.zeros(1))


def _normalise_features(checkpoint: dict[str, Any]) -> None:
    checkpoint["Args"].upstream_feature_normalize = True


def _select_layer(checkpoint: dict[str, Any]) -> None:
    checkpoint["Args"].upstream_layer_selection = 3


def _other_pooling(checkpoint: dict[str, Any]) -> None:
    checkpoint["Config"]["downstream_expert"]["modelrc"]["UtteranceLevel"]["pooling"] = "AttentivePooling"


def _deep_head(checkpoint: dict[str, Any]) -> None:
    checkpoint["Config"]["downstream_expert"]["modelrc"]["select"] = "DeepModel"


def _pre_net(checkpoint: dict[str, Any]) -> None:
    checkpoint["Downstream"]["model.pre_net.linear.weight"] = torch.zeros(256, 256)


def _too_few_states(checkpoint: dict[str, Any]) -> None:
    checkpoint["Featurizer"]["weights"] = checkpoint["Featurizer"]["weights"][:-1]


def _five_labels(checkpoint: dict[str, Any]) -> None:
    checkpoint["Downstream"]["model.post_net.linear.bias"] = torch.zeros(5)


def _no_projector(checkpoint: dict[str, Any]) -> None:
    del checkpoint["Downstream"]["projector.bias"]


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (_add_upstream, "Upstream.*fine-tuned"),
        (_normalise_features, "upstream_feature_normalize"),
        (_select_layer, "layer 3"),
        (_other_pooling, "AttentivePooling"),
        (_deep_head, "DeepModel"),
        (_pre_net, "pre_net"),
        (_too_few_states, "weighs 4 states, and the upstream has 5"),
        (_five_labels, "needs"),
        (_no_projector, r"projector\.bias"),
    ],
)
def test_what_it_does_not_compute_is_refused_by_name(
    changed_checkpoint: Callable[..., ModelEntry], edit: Callable[[dict[str, Any]], None], named: str
) -> None:
    broken = changed_checkpoint(edit)
    with pytest.raises(ConfigurationError, match=named):
        broken.load(InferenceOptions(device="cpu"))


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_that_runs_code_runs_nothing(copy: Path, tmp_path: Path) -> None:
    torch.save({"Args": _Bomb(tmp_path / "executed")}, copy / "dev-best.ckpt")
    with pytest.raises(ConfigurationError, match="without running code"):
        entry(copy).load(InferenceOptions(device="cpu"))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["dev-best.ckpt", "hf/model.safetensors"])
def test_a_truncated_file_is_an_error_that_names_it(copy: Path, name: str) -> None:
    path = copy / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ConfigurationError, match=str(copy)):
        entry(copy).load(InferenceOptions(device="cpu"))


@pytest.mark.parametrize("name", ["dev-best.ckpt", "hf/model.safetensors", "hf/config.json"])
def test_a_changed_byte_is_another_model(copy: Path, name: str) -> None:
    before = entry(copy).fingerprint
    path = copy / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert entry(copy).fingerprint != before


def test_the_fingerprint_does_not_depend_on_the_place(copy: Path) -> None:
    assert entry(copy).fingerprint == entry(GOLDENS / "stable").fingerprint
    assert entry(copy, waveform_eps=1e-5).fingerprint != entry(copy).fingerprint


def test_an_encoder_that_is_nowhere_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigurationError, match="there is no folder /nowhere"):
        _ = entry(GOLDENS / "stable", upstream="/nowhere").fingerprint
