"""scikit-learn pipelines agree with scikit-learn's own answer on librosa's and openSMILE's own features."""

import importlib.util
import json
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import skops.io
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from emolake.errors import ConfigurationError
from emolake.models.families import classical, classical_features
from emolake.models.families.classical_features import FeatureError, LibrosaFeatures, extractor, feature_names
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import Batching
from emolake.models.registry import ModelEntry
from emolake.schemas.labels import UnknownLabelError
from emolake.settings import Settings
from emolake.tasks.classify import Engine

pytestmark = pytest.mark.slow

TOLERANCE = 1e-4
LABELS = ("neutral", "joy", "anger")  # not in the order of the classifier, which sorts
LIBROSA = {"kind": "librosa"}
EGEMAPS = {"kind": "egemaps"}
needs_opensmile = pytest.mark.skipif(
    importlib.util.find_spec("opensmile") is None, reason='pip install "emolake[opensmile]"'
)
KINDS = [pytest.param(LIBROSA, id="librosa"), pytest.param(EGEMAPS, id="egemaps", marks=needs_opensmile)]
CLASSIFIERS = {
    "logistic regression": lambda: LogisticRegression(max_iter=1000),
    "random forest": lambda: RandomForestClassifier(20, random_state=1, n_jobs=2),
    "calibrated svc": lambda: CalibratedClassifierCV(SVC(), ensemble=False, cv=3),
    "ensemble of calibrated forests": lambda: CalibratedClassifierCV(
        RandomForestClassifier(5, random_state=1), cv=3
    ),
}


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """Noise and tones of mixed lengths, the shortest, silence, clipped, quiet, with an offset, 12 s, three voices."""
    generator = np.random.default_rng(3)
    made = [
        generator.normal(0, 0.1, length)
        for length in (400, 16_000, 9_001, 33_333, 192_000, 800, 8_000, 7_999)
    ]
    made += [np.zeros(12_000), np.sign(generator.normal(0, 1, 8_000)), generator.normal(0, 0.002, 20_000)]
    made += [0.3 * np.sin(np.arange(24_000) / 10), 0.3 + generator.normal(0, 0.05, 24_000)]
    return [clip.astype(np.float32) for clip in made] + training_clips(seed=1)[0][::8]


def training_clips(seed: int = 0) -> tuple[list[np.ndarray], list[str]]:
    """Six seconds of each label, in clips of 0.75 s, that differ in pitch, in loudness and in noise."""
    generator = np.random.default_rng(seed)
    time = np.arange(12_000) / 16_000
    waves, labels = [], []
    for label, hertz, level in (("neutral", 120, 0.05), ("joy", 260, 0.2), ("anger", 180, 0.5)):
        for _ in range(8):
            pitch = hertz * generator.uniform(0.8, 1.25) * (1 + 0.05 * np.sin(2 * np.pi * 4 * time))
            voice = np.sin(2 * np.pi * np.cumsum(pitch) / 16_000) + generator.normal(0, 0.3, len(time))
            waves.append((level * generator.uniform(0.5, 2) * voice).clip(-1, 1).astype(np.float32))
            labels.append(label)
    return waves, labels


@pytest.fixture(scope="module")
def training() -> Any:
    """Features of the training clips by kind, each computed once."""
    waves, labels = training_clips()
    computed: dict[str, np.ndarray] = {}

    def of(features: dict[str, Any]) -> tuple[np.ndarray, list[str]]:
        if features["kind"] not in computed:
            computed[features["kind"]] = np.stack([reference(wave, features["kind"]) for wave in waves])
        return computed[features["kind"]], labels

    return of


def reference(clip: np.ndarray, kind: str) -> np.ndarray:
    """The libraries' own answer: openSMILE's table, or librosa called by hand."""
    return _reference(clip.tobytes(), kind)


@cache
def _reference(samples: bytes, kind: str) -> np.ndarray:
    clip = np.frombuffer(samples, dtype=np.float32)
    if kind == "egemaps":
        import opensmile

        smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
        table: np.ndarray = smile.process_signal(clip, 16_000).to_numpy()[0]
        return table
    mfcc = librosa.feature.mfcc(y=clip, sr=16_000, n_mfcc=13, n_fft=1024, hop_length=256)
    energy = librosa.feature.rms(y=clip, frame_length=1024, hop_length=256)
    pitch = librosa.yin(clip, fmin=65, fmax=500, sr=16_000, frame_length=1024, hop_length=256)[None]
    voiced = energy[0] >= max(energy.max() * 10 ** (-25 / 20), 1e-30)
    frames = mfcc.shape[1]
    width = max(w for w in (1, 3, 5, 7, 9) if w <= frames)
    deltas = [
        librosa.feature.delta(mfcc, order=order, width=width) if width > 1 else np.zeros_like(mfcc)
        for order in (1, 2)
    ]
    onsets = librosa.onset.onset_strength(y=clip, sr=16_000, hop_length=256, n_fft=1024)
    tempo = librosa.feature.tempo(onset_envelope=onsets, sr=16_000, hop_length=256)
    values: list[float] = []
    for track in (pitch[:, voiced] if voiced.any() else np.zeros((1, 1)), energy, mfcc, *deltas):
        for row in track:
            values += [row.mean(), row.std(), row.min(), row.max(), float(np.median(row))]
    return np.array([*values[:5], voiced.mean(), *values[5:10], tempo[0], *values[10:]])


def write(folder: Path, pipeline: Any, features: dict[str, Any], **changes: Any) -> Path:
    skops.io.dump(pipeline, folder / "model.skops")
    config = {"family": "classical", "labels": LABELS, "features": features, "licence": "CC0-1.0", **changes}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def folder(tmp_path: Path, training: Any) -> Path:
    """A folder with a logistic regression on librosa's features."""
    return write(
        tmp_path, make_pipeline(StandardScaler(), LogisticRegression()).fit(*training(LIBROSA)), LIBROSA
    )


def entry(folder: Path, **options: Any) -> ModelEntry:
    return Settings(models={"mine": {"family": "classical", "path": str(folder), **options}}).registry.entry(
        "mine"
    )


def load(folder: Path, **options: Any) -> Any:
    return entry(folder, **options).load(InferenceOptions(device="cpu"))


@pytest.mark.parametrize("classifier", CLASSIFIERS)
@pytest.mark.parametrize("features", KINDS)
def test_probabilities_equal_scikit_learn(
    tmp_path: Path, training: Any, clips: list[np.ndarray], features: dict[str, Any], classifier: str
) -> None:
    pipeline = make_pipeline(StandardScaler(), CLASSIFIERS[classifier]()).fit(*training(features))
    model = load(write(tmp_path, pipeline, features))
    least = 400 if features == LIBROSA else 8_000
    found = Engine(model, 10**7).scores(clips)
    assert [scores.labelled for scores in found] == [len(clip) >= least for clip in clips]
    vectors = np.stack([reference(clip, features["kind"]) for clip in clips if len(clip) >= least])
    wanted = pipeline.predict_proba(vectors)[:, [list(pipeline.classes_).index(label) for label in LABELS]]
    assert wanted.std(axis=0).max() > 100 * TOLERANCE
    together = np.stack([scores.probabilities for scores in found if scores.labelled])
    assert np.abs(together - wanted).max() < TOLERANCE
    alone = np.stack([scores.probabilities for scores in Engine(model, 1).scores(clips) if scores.labelled])
    assert np.abs(together - alone).max() < 1e-6


@pytest.mark.parametrize("features", KINDS)
def test_the_padding_is_cut_off(
    tmp_path: Path, training: Any, clips: list[np.ndarray], features: Any
) -> None:
    model = load(
        write(
            tmp_path, make_pipeline(StandardScaler(), LogisticRegression()).fit(*training(features)), features
        )
    )
    assert (model.batching, model.min_samples, model.max_samples) == (Batching.MASKED, 400, None)
    padded = torch.zeros(1, 32_000)
    padded[0, :16_000] = torch.from_numpy(clips[1])
    own = model.predict(padded, torch.tensor([16_000])).logits
    assert torch.equal(own, model.predict(padded[:, :16_000], torch.tensor([16_000])).logits)
    assert (own - model.predict(padded, torch.tensor([32_000])).logits).abs().max() > 100 * TOLERANCE


def test_every_feature_of_every_clip_equals_librosas(clips: list[np.ndarray]) -> None:
    options = LibrosaFeatures(kind="librosa")
    extract = extractor(options)
    for clip in clips:
        found, wanted = extract(clip), reference(clip, "librosa")
        assert len(found) == len(wanted) == len(feature_names(options)) == 207
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_named_features_are_what_they_say() -> None:
    options = LibrosaFeatures(kind="librosa")
    time = np.arange(32_000) / 16_000
    tone = (0.5 * np.sin(2 * np.pi * 200 * time) * (time < 1)).astype(np.float32)
    found = dict(zip(feature_names(options), extractor(options)(tone).tolist(), strict=True))
    assert found["pitch_median"] == pytest.approx(200, abs=1)
    assert found["voiced_share"] == pytest.approx(0.5, abs=0.03)
    assert found["energy_max"] == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert found["energy_min"] == 0
    silent = dict(zip(feature_names(options), extractor(options)(0 * tone).tolist(), strict=True))
    assert (silent["pitch_max"], silent["voiced_share"], silent["energy_max"]) == (0, 0, 0)
    assert abs(silent["delta0_min"]) < 1e-4


def test_a_feature_that_is_not_finite_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(librosa.feature, "tempo", lambda **_: np.array([np.nan]))
    with pytest.raises(FeatureError, match="1 of 207 librosa features are not finite, tempo first"):
        extractor(LibrosaFeatures(kind="librosa"))(np.ones(16_000, dtype=np.float32))


def test_the_cache_spares_the_second_run(
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    clips: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = tmp_path_factory.mktemp("cache")
    plain = np.stack([scores.probabilities for scores in Engine(load(folder), 1).scores(clips)])
    first = np.stack(
        [scores.probabilities for scores in Engine(load(folder, cache=str(kept)), 1).scores(clips)]
    )
    assert len(list(kept.glob("*/*.npy"))) == len(clips)
    assert entry(folder, cache=str(kept)).fingerprint == entry(folder).fingerprint

    def never(*_: Any) -> np.ndarray:
        raise AssertionError("computed again")

    monkeypatch.setattr(classical_features, "_librosa_features", never)
    second = np.stack(
        [scores.probabilities for scores in Engine(load(folder, cache=str(kept)), 1).scores(clips)]
    )
    assert np.array_equal(plain, first)
    assert np.array_equal(plain, second)


def test_without_the_option_nothing_is_kept(folder: Path, clips: list[np.ndarray]) -> None:
    Engine(load(folder), 1).scores(clips[:2])
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.skops"]
    with pytest.raises(ConfigurationError, match="create it, or leave cache out"):
        load(folder, cache=str(folder / "nowhere"))


@needs_opensmile
def test_opensmiles_licence_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    classical_features._smile.cache_clear()
    for _ in range(2):
        extractor(classical_features.EgemapsFeatures(kind="egemaps"))
    assert [record.message for record in caplog.records if "research licence" in record.message] == [
        "openSMILE is used under audEERING's research licence: research, teaching and personal use only; "
        "a product needs a commercial licence"
    ]


def test_without_opensmile_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    classical_features._smile.cache_clear()
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(ConfigurationError, match=r'pip install "emolake\[opensmile\]"'):
        extractor(classical_features.EgemapsFeatures(kind="egemaps"))


class _Bomb:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)


def detonate(values: np.ndarray) -> np.ndarray:
    raise AssertionError(f"ran on {values.shape}")


@pytest.mark.parametrize("kind", ["object", "function"])
def test_foreign_types_are_refused_and_nothing_runs(tmp_path: Path, training: Any, kind: str) -> None:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(*training(LIBROSA))
    if kind == "object":
        pipeline.bomb = _Bomb(str(tmp_path / "executed"))
    else:
        pipeline.steps.insert(0, ("function", FunctionTransformer(detonate)))
    with pytest.raises(ConfigurationError, match="types that this family does not build"):
        load(write(tmp_path, pipeline, LIBROSA))
    assert not (tmp_path / "executed").exists()


def test_a_tree_that_leads_out_of_its_arrays_is_refused(
    tmp_path: Path, training: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(2, random_state=0)).fit(
        *training(LIBROSA)
    )
    tree = pipeline[-1].estimators_[1].tree_
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    for field, value in (("left_child", 10_000), ("left_child", 0), ("feature", 207)):
        good = state["nodes"][field][0]
        state["nodes"][field][0] = value
        tree.__setstate__(state)
        with pytest.raises(ConfigurationError, match="lead nowhere"):
            load(write(tmp_path, pipeline, LIBROSA))
        state["nodes"][field][0] = good
        tree.__setstate__(state)
    assert load(write(tmp_path, pipeline, LIBROSA)).labels == LABELS


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"labels": ["neutral", "joy"]}, "name each class once"),
        ({"labels": ["neutral", "joy", "fear"]}, "knows the classes anger, joy, neutral"),
        ({"features": {"kind": "librosa", "coefficients": 20}}, "fitted on 207 features, .* describes 312"),
        ({"features": {"kind": "wavelets"}}, "wavelets"),
        ({"features": {"kind": "librosa", "pitch_min_hz": 20}}, "above 31.25 Hz"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    tmp_path: Path, training: Any, changes: dict[str, Any], named: str
) -> None:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(*training(LIBROSA))
    features = changes.pop("features", LIBROSA)
    with pytest.raises(ConfigurationError, match=named):
        load(write(tmp_path, pipeline, features, **changes))


def test_what_gives_no_probabilities_is_refused(tmp_path: Path, training: Any) -> None:
    fitted = make_pipeline(StandardScaler(), SVC()).fit(*training(LIBROSA))
    with pytest.raises(ConfigurationError, match="SVC that gives no probabilities; calibrate it"):
        load(write(tmp_path, fitted, LIBROSA))
    with pytest.raises(ConfigurationError, match="never fitted"):
        load(write(tmp_path, make_pipeline(StandardScaler(), LogisticRegression()), LIBROSA))
    with pytest.raises(ConfigurationError, match="holds a DummyClassifier, expected a Pipeline"):
        load(write(tmp_path, DummyClassifier().fit(*training(LIBROSA)), LIBROSA))


@pytest.mark.parametrize("name", ["config.json", "model.skops"])
def test_a_missing_truncated_or_junk_file_is_named(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"junk", b""):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=str(path)):
            load(folder)
    path.unlink()
    with pytest.raises(ConfigurationError, match=str(path)):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.skops"])
def test_a_changed_byte_is_another_model(folder: Path, name: str) -> None:
    before = entry(folder)
    assert (before.labels, before.licence) == (LABELS, "CC0-1.0")
    kept = before.fingerprint
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(
        content + b" " if name == "config.json" else content[:-1] + bytes([content[-1] ^ 1])
    )
    assert entry(folder).fingerprint != kept


def test_a_label_that_the_taxonomy_lacks_stops_the_load(tmp_path: Path, training: Any) -> None:
    vectors, labels = training(LIBROSA)
    renamed = ["melancholy" if label == "joy" else label for label in labels]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(vectors, renamed)
    with pytest.raises(UnknownLabelError, match="'melancholy'"):
        load(write(tmp_path, pipeline, LIBROSA, labels=["neutral", "melancholy", "anger"]))


def test_a_zero_of_the_forest_stays_a_probability(tmp_path: Path, training: Any) -> None:
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=1)).fit(
        *training(LIBROSA)
    )
    [scores] = Engine(load(write(tmp_path, pipeline, LIBROSA)), 1).scores([training_clips()[0][0]])
    assert scores.probabilities.min() < 1e-6
    assert scores.logits.min() == pytest.approx(np.log(classical._FLOOR), abs=1e-5)


def test_numbers_come_without_warnings_of_the_libraries(folder: Path, clips: list[np.ndarray]) -> None:
    model = load(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(Engine(model, 1).scores(clips)) == len(clips)
