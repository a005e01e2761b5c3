"""An ensemble is the weighted mean of its members' own answers, in any batch that suits all of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from emolake.errors import ConfigurationError
from emolake.models.families.ensemble import Ensemble, EnsembleOptions
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import Batching, Prediction
from emolake.models.registry import ModelEntry
from emolake.models.runtimes import choice
from emolake.schemas.labels import UnknownLabelError, canonical
from emolake.settings import Settings
from emolake.tasks.classify import Engine, Scores

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4
RAVDESS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
TESS = ("neutral", "happy", "pleasant_surprise", "ps", "sad")


def write(folder: Path, norm: str, labels: tuple[str, ...]) -> Path:
    """Write a tiny random transformers checkpoint with these labels."""
    torch.manual_seed(len(labels))
    config = transformers.HubertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64, conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, classifier_proj_size=24,
        feat_extract_norm=norm, do_stable_layer_norm=norm == "layer", id2label=dict(enumerate(labels)),
    )  # fmt: skip
    model = transformers.HubertForSequenceClassification(config)
    with torch.no_grad():  # an untrained head answers the same to everything, and would hide an error
        model.classifier.weight.mul_(100)
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints; one may share a batch with other lengths, the other may not."""
    folder = tmp_path_factory.mktemp("ensemble")
    write(folder / "ravdess", "layer", RAVDESS)
    write(folder / "tess", "group", TESS)
    return folder


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """Noise and tones of mixed lengths, one frame, 12 s, silence, clipped, quiet, two of one length."""
    generator = np.random.default_rng(3)
    made = [generator.normal(0, 0.1, length) for length in (400, 16_000, 9_000, 33_333, 16_000, 192_000)]
    made += [np.zeros(12_000), np.sign(generator.normal(0, 1, 8_000)), generator.normal(0, 0.002, 20_000)]
    return [clip.astype(np.float32) for clip in made]


def settings(folder: Path, **models: Any) -> Settings:
    named = {
        "ravdess": {"family": "transformers", "model": str(folder / "ravdess")},
        "tess": {"family": "transformers", "model": str(folder / "tess")},
        "both": {"family": "ensemble", "members": ["ravdess", "tess"], "weights": [3, 1]},
    }
    return Settings(models=named | models)


def scores(model: Any, clips: list[np.ndarray], batch_seconds: float) -> list[Scores]:
    return Engine(model, int(batch_seconds * 16_000)).scores(clips)


def probabilities(model: Any, clips: list[np.ndarray], batch_seconds: float) -> np.ndarray:
    return np.stack([each.probabilities for each in scores(model, clips, batch_seconds)])


def reference(given: Settings, emotions: tuple[str, ...], clips: list[np.ndarray]) -> np.ndarray:
    """What the members say of each clip alone, added up by hand."""
    total = np.zeros((len(clips), len(emotions)))
    for name, weight in (("ravdess", 0.75), ("tess", 0.25)):
        member = given.registry.entry(name).load(InferenceOptions(device="cpu"))
        for label, column in zip(member.labels, probabilities(member, clips, 0.001).T, strict=True):
            total[:, emotions.index(canonical(label))] += weight * column
    return total


@pytest.mark.parametrize("batch_seconds", [0.001, 5.0, 1000.0], ids=["alone", "small batches", "one batch"])
def test_probabilities_are_the_members_weighted_mean(
    made: Path, clips: list[np.ndarray], batch_seconds: float
) -> None:
    given = settings(made)
    model = given.registry.entry("both").load(InferenceOptions(device="cpu"))
    assert model.labels == (
        "anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise",
    )  # fmt: skip
    wanted = reference(given, model.labels, clips)
    assert wanted.std(axis=0).max() > 100 * TOLERANCE
    assert np.abs(probabilities(model, clips, batch_seconds) - wanted).max() < TOLERANCE


def test_it_batches_as_its_strictest_member(made: Path, clips: list[np.ndarray]) -> None:
    given = settings(made)
    model = given.registry.entry("both").load(InferenceOptions(device="cpu"))
    assert model.batching is Batching.EQUAL_LENGTH
    model.batching = Batching.MASKED
    wanted = reference(given, model.labels, clips)
    assert np.abs(probabilities(model, clips, 1000.0) - wanted).max() > 10 * TOLERANCE


def test_one_entry_describes_all_members(made: Path) -> None:
    entry = settings(made).registry.entry("both")
    assert "surprise" in entry.labels
    assert entry.emotions()["surprise"] == "surprise"
    assert {name.split("/")[0] for name in entry.description.files} == {"member0", "member1"}
    assert entry.licence == "not stated"


def test_the_fingerprint_is_of_weights_and_members(tmp_path: Path) -> None:
    write(tmp_path / "ravdess", "layer", RAVDESS)
    write(tmp_path / "tess", "group", TESS)

    def fingerprint(**models: Any) -> str:
        return settings(tmp_path, **models).registry.entry("both").fingerprint

    def both(*weights: float) -> dict[str, Any]:
        return {"family": "ensemble", "members": ["ravdess", "tess"], "weights": weights}

    before = fingerprint()
    assert fingerprint(both=both(6, 2)) == before
    assert fingerprint(both=both(1, 3)) != before
    other = {"family": "transformers", "model": str(tmp_path / "tess"), "labels": [*TESS[:-1], "angry"]}
    assert fingerprint(tess=other) != before
    weights = tmp_path / "tess" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert fingerprint() != before


def ensemble(*members: str, **more: Any) -> dict[str, Any]:
    return {"family": "ensemble", "members": list(members), **more}


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"both": ensemble("ravdess", "both")}, r"'both' would be a member of itself, through both -> both;"),
        (
            {"both": ensemble("ravdess", "outer"), "outer": ensemble("tess", "both")},
            r"'both' would be a member of itself, through both -> outer -> both; correct members in \[models\.outer\]",
        ),
        ({"both": ensemble("ravdess", "nobody")}, "no model is called 'nobody'"),
        ({"both": ensemble("ravdess")}, r"members: .* at least 2 items"),
        ({"both": ensemble("ravdess", "ravdess")}, "members are ravdess, ravdess; name each once"),
        ({"both": ensemble("ravdess", "tess", weights=[1])}, "1 weights for 2 members"),
        ({"both": ensemble("ravdess", "tess", weights=[1, 0])}, r"weights\.1: .*greater than 0"),
        ({"both": ensemble("ravdess", "tess", weights=[1, float("inf")])}, r"weights\.1: .*finite"),
        ({"both": ensemble("ravdess", "tess", colour="red")}, "colour"),
        (
            {"both": ensemble("ravdess", "tess"), "tess": {"family": "transformers"}},
            r"\[models\.tess\] is wrong",
        ),
    ],
)
def test_a_wrong_entry_is_refused(made: Path, models: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        settings(made, **models).registry.entry("both")


def test_an_ensemble_may_have_an_ensemble_as_a_member(made: Path, clips: list[np.ndarray]) -> None:
    given = settings(made, outer=ensemble("both", "ravdess", weights=[2, 1]))
    outer = given.registry.entry("outer").load(InferenceOptions(device="cpu"))
    both = given.registry.entry("both").load(InferenceOptions(device="cpu"))
    alone = given.registry.entry("ravdess").load(InferenceOptions(device="cpu"))
    order = [[canonical(label) for label in alone.labels].index(emotion) for emotion in outer.labels]
    wanted = (2 * probabilities(both, clips[:3], 5.0) + probabilities(alone, clips[:3], 5.0)[:, order]) / 3
    assert np.abs(probabilities(outer, clips[:3], 5.0) - wanted).max() < TOLERANCE


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_broken_member_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path / "ravdess", "layer", RAVDESS)
    write(tmp_path / "tess", "group", TESS)
    path = tmp_path / "tess" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ConfigurationError, match=str(tmp_path / "tess")):
        settings(tmp_path).registry.entry("both").load(InferenceOptions(device="cpu"))
    path.unlink()
    with pytest.raises(ConfigurationError, match=str(tmp_path / "tess")):
        settings(tmp_path).registry.entry("both").load(InferenceOptions(device="cpu"))


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_members_pickle_runs_nothing(tmp_path: Path) -> None:
    write(tmp_path / "ravdess", "layer", RAVDESS)
    write(tmp_path / "tess", "group", TESS)
    torch.save({"a": _Bomb(tmp_path / "executed")}, tmp_path / "tess" / "model.safetensors")
    with pytest.raises(ConfigurationError):
        settings(tmp_path).registry.entry("both").load(InferenceOptions(device="cpu"))
    assert not (tmp_path / "executed").exists()


def test_a_members_unknown_label_is_an_error_at_load(tmp_path: Path) -> None:
    write(tmp_path / "ravdess", "layer", RAVDESS)
    write(tmp_path / "tess", "group", ("neutral", "perplexed"))
    with pytest.raises(UnknownLabelError, match="'perplexed' is not in the taxonomy"):
        settings(tmp_path).registry.entry("both").load(InferenceOptions(device="cpu"))


def test_a_precision_that_a_member_lacks_is_refused(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_INSTRUCTIONS", {"fp16": ("avx2",)})  # else this processor is what lacks it
    with pytest.raises(ConfigurationError, match="precision is fp16, and .* supports"):
        mixed = {"family": "ensemble", "members": ["ravdess", "small"]}
        settings(made, mixed=mixed).registry.entry("mixed").load(
            InferenceOptions(device="cpu", precision="fp16")
        )


def test_members_need_a_configuration() -> None:
    with pytest.raises(ValidationError, match="there is no configuration"):
        EnsembleOptions.model_validate({"members": ["a", "b"]})


class Constant:
    """A model that says the same of every segment; only what an ensemble reads of a member is chosen."""

    family, device, precision = "constant", "cpu", "fp32"

    def __init__(self, labels: tuple[str, ...], probabilities: tuple[float, ...], **more: Any) -> None:
        self.labels, self.probabilities = labels, probabilities
        self.sampling_rate = more.get("sampling_rate", 16_000)
        self.min_samples = more.get("min_samples", 400)
        self.max_samples = more.get("max_samples")
        self.batching = more.get("batching", Batching.MASKED)
        self.affect = more.get("affect")
        self.labelled = more.get("labelled")

    def predict(self, waves: torch.Tensor, lengths: torch.Tensor) -> Prediction:
        rows = len(waves)
        return Prediction(
            torch.tensor(self.probabilities).log().expand(rows, -1) if self.labels else torch.zeros(rows, 0),
            affect=None if self.affect is None else torch.tensor(self.affect).expand(rows, -1),
            labelled=None if self.labelled is None else torch.tensor(self.labelled),
        )


CLIP = [np.zeros(1000, dtype=np.float32)]


def test_labels_of_one_emotion_are_added_up_and_missing_ones_count_as_zero() -> None:
    first = Constant(("joy", "happy", "angry"), (0.2, 0.3, 0.5))
    second = Constant(("sad", "angry"), (0.9, 0.1))
    model = Ensemble([first, second], [1, 4])
    assert model.labels == ("anger", "happiness", "sadness")
    [found] = scores(model, CLIP, 1.0)
    assert found.probabilities == pytest.approx([(0.5 + 0.4) / 5, 0.5 / 5, 3.6 / 5], abs=1e-6)


def test_a_member_that_gives_no_label_has_no_vote() -> None:
    certain = Constant(("angry", "sad"), (0.25, 0.75))
    sometimes = Constant(("angry", "sad"), (1.0, 1e-30), labelled=[False, True])
    waves, lengths = torch.zeros(2, 1000), torch.tensor([1000, 1000])
    found = Ensemble([certain, sometimes], [1, 1]).predict(waves, lengths)
    assert found.labelled is not None
    assert found.labelled.tolist() == [True, True]
    assert found.logits.softmax(dim=1).tolist() == [
        pytest.approx([0.25, 0.75]),
        pytest.approx([0.625, 0.375]),
    ]
    nobody = Ensemble([sometimes, sometimes], [1, 1]).predict(waves, lengths)
    assert nobody.labelled is not None
    assert nobody.labelled.tolist() == [False, True]
    assert nobody.logits.isfinite().all()


def test_affect_is_averaged_over_the_members_that_give_it() -> None:
    categories = Constant(("angry", "sad"), (0.25, 0.75))
    first = Constant((), (), affect=[0.2, 0.4, 0.6])
    second = Constant((), (), affect=[0.6, 0.4, 0.2])
    [found] = scores(Ensemble([categories, first, second], [5, 1, 3]), CLIP, 1.0)
    assert found.affect == pytest.approx([0.5, 0.4, 0.3])
    assert found.probabilities == pytest.approx([0.25, 0.75])
    [no_categories] = scores(Ensemble([first, second], [1, 1]), CLIP, 1.0)
    assert (no_categories.best, no_categories.logits.size) == (None, 0)
    assert no_categories.affect == pytest.approx([0.4, 0.4, 0.4])
    [no_affect] = scores(Ensemble([categories, categories], [1, 1]), CLIP, 1.0)
    assert no_affect.affect is None


def test_limits_are_those_that_suit_all() -> None:
    short = Constant(("sad",), (1.0,), max_samples=480_000, batching=Batching.SINGLE)
    long = Constant(("sad",), (1.0,), min_samples=15_600, batching=Batching.EQUAL_LENGTH)
    model = Ensemble([short, long], [1, 1])
    assert (model.min_samples, model.max_samples, model.batching) == (15_600, 480_000, Batching.SINGLE)
    with pytest.raises(ConfigurationError, match="takes at most 480000 samples, and another at least 500000"):
        Ensemble([short, Constant(("sad",), (1.0,), min_samples=500_000)], [1, 1])


def test_members_of_different_rates_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="take 16000 and 22050 Hz"):
        Ensemble([Constant(("sad",), (1.0,)), Constant(("sad",), (1.0,), sampling_rate=22_050)], [1, 1])


def test_options_take_entries_as_they_are(made: Path) -> None:
    members = [settings(made).registry.entry(name) for name in ("ravdess", "tess")]
    options = EnsembleOptions(members=tuple(members))
    whole = settings(made, both=ensemble("ravdess", "tess"))
    assert ModelEntry("x", "ensemble", options).fingerprint == whole.registry.entry("both").fingerprint
    assert options.members[0].labels == RAVDESS
