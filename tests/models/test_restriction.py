"""The key `classes`: which labels it keeps, what it refuses, and that what is kept of a model is as it was."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emolake.errors import ConfigurationError
from emolake.models.inference import SHIPPED, InferenceOptions
from emolake.models.protocol import Inspectable, Prediction, Transcribing
from emolake.models.registry import ModelEntry, Registry
from emolake.models.restriction import kept_labels, restricted
from emolake.pipeline.identity import analysis_key
from emolake.schemas.labels import EMOTIONS, canonical
from emolake.settings import Settings, load_settings
from emolake.tasks.classify import Engine, ModelOutputError, score_alone

from made_model import LABELS, write_tiny_model

CPU = InferenceOptions(device="cpu", runtime="torch")
WORDS = (
    "neu",
    "Neutral",
    "speech",
    "joy",
    "hap",
    "laughter",
    "anger",
    "wut",
    "sad",
    "trauer",
    "fear",
    "melancholy",
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny")


def entry_of(folder: Path, **keys: Any) -> ModelEntry:
    return Registry({"m": {"path": str(folder), **keys}}).entry("m")


def noise(seed: int = 0, samples: int = 16_000) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


@given(labels=st.lists(st.sampled_from(WORDS), min_size=2, unique=True), data=st.data())
def test_own_labels_keep_themselves_in_whatever_order_they_are_named(
    labels: list[str], data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.sampled_from(labels), min_size=2, unique=True))
    kept = kept_labels(labels, chosen, model="m")
    assert kept == tuple(label in chosen for label in labels)
    assert kept == kept_labels(labels, sorted(chosen), model="m")


@given(labels=st.lists(st.sampled_from(WORDS[:-1]), min_size=2, unique=True), data=st.data())
def test_an_emotion_keeps_all_labels_of_it_however_it_is_spelt(
    labels: list[str], data: st.DataObject
) -> None:
    emotions = sorted({canonical(label) for label in labels})
    chosen = data.draw(st.lists(st.sampled_from(emotions), min_size=1, unique=True))
    spelt = [
        data.draw(st.sampled_from([emotion, emotion.upper(), f" {emotion.title()}"])) for emotion in chosen
    ]
    own = [name for name in spelt if name in labels]  # the model's own word, which means that label alone
    expected = tuple(
        label in own or (canonical(label) in chosen and spelt[chosen.index(canonical(label))] not in own)
        for label in labels
    )
    if sum(expected) >= 2:
        assert kept_labels(labels, spelt, model="m") == expected
    else:
        with pytest.raises(ConfigurationError, match="name at least two of"):
            kept_labels(labels, spelt, model="m")


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        (["neu", "joy", "wut"], ["neu", "boredom"], r"'boredom', which the model does not give; it gives neu \("),
        (["neu", "joy", "wut"], ["neu", "Joyful!"], "'Joyful!', which the model does not give"),
        (["neu", "joy", "wut"], ["neu", ""], "'', which the model does not give"),
        (["neu", "joy", "wut"], ["neu", "neu"], "'neu' twice in classes, as 'neu' and as 'neu'; name it once"),
        (["neu", "joy", "wut"], ["joy", "happiness", "neu"], "'joy' twice in classes, as 'joy' and as 'happiness'"),
        (["neu", "joy", "wut"], ["anger", "Anger"], "'wut' twice in classes, as 'anger' and as 'Anger'"),
        (["neu", "joy", "laughter"], ["happiness", "laughter"], "'laughter' twice"),
        (["neu", "joy", "wut"], ["neu"], "leaves 1 of the model's labels; name at least two"),
        (["neu", "joy", "wut"], [], "has nothing as classes, which leaves 0"),
        ([], ["neutral", "anger"], "gives no categories; take classes out"),
    ],
)  # fmt: skip
def test_what_fits_no_labels_is_refused_by_name(labels: list[str], classes: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"\[models\.m\].*{said}"):
        kept_labels(labels, classes, model="m")


@pytest.mark.parametrize(
    "value", ["neutral", 3, {"neutral": 1}, ["neutral", 3], [["neutral", "anger"]], True]
)
def test_what_is_no_list_of_texts_is_refused(tiny: Path, value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"\[models\.m\] has classes = .*expected a list"):
        entry_of(tiny, classes=value)


def test_two_labels_of_one_emotion_are_two(tmp_path: Path) -> None:
    assert kept_labels(["joy", "laughter", "wut"], ["happiness"], model="m") == (True, True, False)


def test_a_label_that_the_taxonomy_lacks_may_be_left_out(tiny: Path, tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "odd")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(
        json.dumps(config | {"labels": ["anger", "melancholy", "neutral", "sadness"]})
    )
    model = entry_of(folder, classes=["anger", "neutral"]).load(CPU)
    assert model.labels == ("anger", "neutral")


class Given:
    """A model whose logits are given; it transcribes if it is asked to be a transcriber."""

    family, sampling_rate, min_samples, max_samples = "given", 16_000, 1, None
    batching, device, precision = "masked", "cpu", "fp32"

    def __init__(self, logits: np.ndarray) -> None:
        self.labels = tuple(f"label{place}" for place in range(logits.shape[1]))
        self._logits = torch.from_numpy(logits)
        self._affect = self._logits[:, :1].expand(-1, 3)

    def predict(self, waves: torch.Tensor, lengths: torch.Tensor) -> Prediction:
        labelled = self._logits[:, 0] > 0
        return Prediction(self._logits, self._affect, labelled, ("said",) * len(waves))


class GivenTranscriber(Given):
    def transcripts(self, waves: torch.Tensor, lengths: torch.Tensor) -> tuple[str, ...]:
        return ("said",) * len(waves)


@given(data=st.data())
def test_what_is_kept_is_as_it_was(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 5)), data.draw(st.integers(2, 9))
    numbers = st.floats(-(2.0**100), 2.0**100, width=32)
    logits = np.array(
        data.draw(
            st.lists(st.lists(numbers, min_size=columns, max_size=columns), min_size=rows, max_size=rows)
        ),
        np.float32,
    )
    kept = data.draw(st.lists(st.booleans(), min_size=columns, max_size=columns))
    whole: Any = (GivenTranscriber if data.draw(st.booleans()) else Given)(logits)
    model = restricted(whole, kept)
    waves, lengths = torch.zeros(rows, 8), torch.full((rows,), 8)
    before, after = whole.predict(waves, lengths), model.predict(waves, lengths)
    assert model.labels == tuple(label for label, own in zip(whole.labels, kept, strict=True) if own)
    assert np.array_equal(after.logits.numpy(), logits[:, np.array(kept)])
    assert (after.affect is before.affect, after.transcripts) == (True, before.transcripts)
    assert torch.equal(after.labelled, before.labelled)  # type: ignore[arg-type]
    assert isinstance(model, Transcribing) is isinstance(whole, Transcribing)
    assert isinstance(model, Inspectable)
    assert model.modules() == model.layer_weights() == {}


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_a_broken_output_is_found_also_where_it_is_dropped(broken: float, place: int) -> None:
    logits = np.zeros((1, 3), np.float32)
    logits[0, place] = broken
    whole: Any = Given(logits)
    with pytest.raises(ModelOutputError, match="not finite"):
        Engine(restricted(whole, [True, False, True]), 100).scores([noise()])


def test_a_model_of_another_number_of_outputs_than_labels_is_no_answer() -> None:
    whole: Any = Given(np.zeros((1, 3), np.float32))
    whole.labels = ("anger", "neutral")
    with pytest.raises(IndexError):
        Engine(restricted(whole, [True, True]), 100).scores([noise()])


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_is_restricted_without_a_path(name: str) -> None:
    registry = Registry({name: {"classes": ["happiness", "neutral", "ang", "sad"]}})
    entry, whole = registry.entry(name), Registry({}).entry(name)
    assert entry.labels == tuple(
        label for label in whole.labels if canonical(label) in ("anger", "happiness", "neutral", "sadness")
    )
    assert (entry.outputs, registry.names()) == (len(whole.labels), list(SHIPPED))
    assert (entry.folder, entry.licence) == (whole.folder, whole.licence)
    assert registry.cache_folders() == []
    assert Registry({name: {}}).entry(name) == whole


def test_the_default_may_still_be_another_model(tiny: Path) -> None:
    assert Registry({"default": {"path": str(tiny)}}).entry().labels == LABELS
    with pytest.raises(ConfigurationError, match="colour"):
        Registry({"default": {"colour": "red"}}).entry()


def test_other_classes_are_another_model_and_all_of_them_the_same(tiny: Path) -> None:
    ids = {}
    for classes in (
        None,
        ["anger", "sadness"],
        ["sad", "ang"],
        ["anger", "neutral"],
        [*LABELS],
        ["anger", "sad", "hap"],
    ):
        own = Settings(models={"m": {"path": str(tiny)} | ({"classes": classes} if classes else {})})
        key = analysis_key(own, own.registry.entry("m"))
        ids[str(classes)] = (key.model_fingerprint, key.config_id)
    of_all, of_pair, of_spelt, of_other, of_every, of_three = ids.values()
    assert of_all == of_every
    assert of_pair == of_spelt
    assert len({each for key in (of_all, of_pair, of_other, of_three) for each in key}) == 8


def test_a_changed_file_is_noticed_of_a_restricted_model_too(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "m")
    before = entry_of(folder, classes=["anger", "sadness"])
    assert before.fingerprint
    before.check_unchanged()
    write_tiny_model(folder, seed=1)
    with pytest.raises(Exception, match="were changed"):
        before.check_unchanged()


@settings(max_examples=25)
@given(chosen=st.lists(st.sampled_from(LABELS), min_size=2, unique=True), seed=st.integers(0, 99))
def test_probabilities_are_the_softmax_of_the_kept_logits(tiny: Path, chosen: list[str], seed: int) -> None:
    whole = entry_of(tiny).load(CPU)
    model = entry_of(tiny, classes=chosen).load(CPU)
    kept = np.array([label in chosen for label in LABELS])
    all_scores, scores = score_alone(whole, noise(seed)), score_alone(model, noise(seed))
    assert np.array_equal(scores.logits, all_scores.logits[kept])
    exact = np.exp(all_scores.logits[kept].astype(np.float64) - all_scores.logits[kept].max())
    assert np.array_equal(scores.probabilities, (exact / exact.sum()).astype(np.float32))


def test_members_of_an_ensemble_are_restricted_by_their_own_entries(tiny: Path) -> None:
    models: dict[str, Any] = {
        "one": {"path": str(tiny), "classes": ["anger", "neutral"]},
        "other": {"path": str(tiny)},
        "both": {"family": "ensemble", "members": ["one", "other"]},
        "narrow": {"family": "ensemble", "members": ["one", "other"], "classes": ["neutral", "sadness"]},
        "whole": {"family": "ensemble", "members": ["whole_one", "other"]},
        "whole_one": {"path": str(tiny)},
    }
    registry = Registry(models)
    wave = noise()
    one, other, both, narrow = (
        score_alone(registry.entry(name).load(CPU), wave) for name in ("one", "other", "both", "narrow")
    )
    spread = np.zeros(4)
    spread[[0, 2]] = one.probabilities
    mean = (spread + other.probabilities) / 2
    assert both.probabilities == pytest.approx(mean, abs=1e-6)
    assert narrow.probabilities == pytest.approx(mean[[2, 3]] / mean[[2, 3]].sum(), abs=1e-6)
    prints = {name: registry.entry(name).fingerprint for name in ("both", "narrow", "whole")}
    assert len(set(prints.values())) == 3


def test_a_folder_of_the_same_name_does_not_make_a_path_of_a_word(tiny: Path, tmp_path: Path) -> None:
    for word in ("anger", "neutral", "one", "other", "ensemble"):
        (tmp_path / word).mkdir()
    (tmp_path / "emolake.toml").write_text(
        f'[models.one]\npath = "{tiny}"\nclasses = ["anger", "neutral"]\n[models.other]\npath = "{tiny}"\n'
        '[models.both]\nfamily = "ensemble"\nmembers = ["one", "other"]\nclasses = ["anger", "neutral"]\n'
    )
    registry = load_settings(tmp_path / "emolake.toml").registry
    assert registry.entry("one").labels == registry.entry("both").labels == ("anger", "neutral")


def test_the_emotions_of_the_taxonomy_are_classes_of_their_own() -> None:
    assert kept_labels(EMOTIONS, EMOTIONS, model="m") == (True,) * len(EMOTIONS)


def test_a_replaced_entry_is_its_own(tiny: Path) -> None:
    entry = entry_of(tiny)
    assert entry.fingerprint != replace(entry, classes=("anger", "sadness")).fingerprint
