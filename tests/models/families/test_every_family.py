"""What holds for every family: the batch changes no answer, odd input behaves the same, nothing needs a network."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from zoo import BUILDERS

from emolake.errors import ConfigurationError
from emolake.models.inference import InferenceOptions
from emolake.models.known_families import FAMILIES
from emolake.models.protocol import EmotionModel
from emolake.models.registry import ModelEntry
from emolake.models.runtimes import choice
from emolake.pipeline.shard import analyse
from emolake.pipeline.timings import Timings
from emolake.prediction.files import source_object
from emolake.settings import Settings
from emolake.source.folder import FolderSource
from emolake.tasks.classify import Engine, classify, softmax
from emolake.tasks.segment import Segment, SegmentOptions

pytestmark = pytest.mark.slow

# Run code of their own and live in an environment of their own: tests/extras.
ELSEWHERE = {"speechbrain"}
CPU = InferenceOptions(device="cpu")


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelEntry]:
    """Every family's tiny model; one whose extra is missing is left out."""
    models: dict[str, Any] = {}
    for family, build in BUILDERS.items():
        try:
            models[family] = build(tmp_path_factory.mktemp(family))
        except pytest.skip.Exception:
            continue
    settings = Settings(models=models)
    return {family: settings.registry.entry(family) for family in models}


@pytest.fixture(scope="module", params=BUILDERS)
def model(request: pytest.FixtureRequest, entries: dict[str, ModelEntry]) -> EmotionModel:
    if request.param not in entries:
        pytest.skip(f"the extra of {request.param} is not installed here")
    return entries[request.param].load(CPU)


def clip(samples: int, seed: int, level: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, samples).astype(np.float32)


def answers(model: EmotionModel, waves: list[np.ndarray], batch_seconds: float) -> np.ndarray:
    """Return probabilities, or affect where there are no labels, [clips, values]."""
    scores = Engine(model, max(1, int(batch_seconds * 16_000))).scores(waves)
    found = [each.probabilities if model.labels else each.affect for each in scores]
    given = [each for each in found if each is not None]
    assert len(given) == len(waves)
    return np.stack(given)


def test_no_family_is_left_out() -> None:
    assert set(BUILDERS) | ELSEWHERE == set(FAMILIES)


def test_the_batch_does_not_change_the_answer(model: EmotionModel) -> None:
    lengths = [16_000, 8_000, 8_000, 23_456, 16_000, 40_000, 12_345]
    waves = [clip(max(length, model.min_samples), seed) for seed, length in enumerate(lengths)]
    alone = answers(model, waves, 0)
    assert np.abs(answers(model, waves, 1000.0) - alone).max() < 1e-4
    order = [3, 0, 6, 2, 5, 1, 4]
    shuffled = answers(model, [waves[position] for position in order], 5.0)
    assert np.abs(shuffled - alone[order]).max() < 1e-4


def test_a_model_of_some_classes_is_the_whole_one_without_the_other_logits(
    entries: dict[str, ModelEntry], model: EmotionModel
) -> None:
    every = entries[model.family]
    labels = every.labels
    if not labels:
        with pytest.raises(ConfigurationError, match="gives no categories; take classes out"):
            replace(every, classes=("anger", "neutral")).load(CPU)
        return
    entry = replace(every, classes=tuple(reversed(labels[::2])))
    graphs = set(CPU.graph_folder.rglob("*"))
    assert graphs or "onnx" not in every.precisions
    some = entry.load(CPU)
    assert set(CPU.graph_folder.rglob("*")) == graphs  # the whole model's is used
    assert some.labels == entry.labels == labels[::2]
    assert entry.fingerprint != every.fingerprint
    waves = [clip(max(length, model.min_samples), length) for length in (16_000, 8_000, 8_000, 23_456)]
    before, after = (Engine(each, 1).scores(waves) for each in (model, some))
    for whole, found in zip(before, after, strict=True):
        assert np.array_equal(found.logits, whole.logits[::2])
        assert np.array_equal(found.probabilities, softmax(whole.logits[::2]))
        assert (found.labelled, found.transcript) == (whole.labelled, whole.transcript)
        assert np.array_equal(found.affect, whole.affect)  # type: ignore[arg-type]  # or both None
    alone = np.stack([each.probabilities for each in after])
    assert np.abs(answers(some, waves, 1000.0) - alone).max() < 1e-4


@pytest.mark.parametrize("family", BUILDERS)
@pytest.mark.parametrize("precision", ["bf16", "fp16", "int8"])
def test_a_precision_that_the_family_lacks_is_refused_not_ignored(
    entries: dict[str, ModelEntry], family: str, precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if family not in entries:
        pytest.skip(f"the extra of {family} is not installed here")
    monkeypatch.setattr(choice, "_INSTRUCTIONS", dict.fromkeys(("bf16", "fp16", "int8"), ("avx2",)))
    if any(precision in each for each in entries[family].precisions.values()) and family != "ensemble":
        pytest.skip(f"{family} has {precision}")
    with pytest.raises(ConfigurationError, match=f"inference.precision is {precision}.*supports fp32"):
        entries[family].load(InferenceOptions(device="cpu", precision=precision))


@pytest.mark.parametrize(
    "wave",
    [
        np.zeros(16_000, np.float32),
        np.sign(clip(16_000, 1)),
        clip(16_000, 2, level=0.002),
        clip(16_000, 3) + np.float32(0.5),
        3.0 * clip(16_000, 4, level=1.0),
    ],
    ids=["silent", "clipped", "quiet", "offset", "beyond full scale"],
)
def test_odd_input_has_a_finite_answer(model: EmotionModel, wave: np.ndarray) -> None:
    found = answers(model, [wave], 1.0)
    assert np.isfinite(found).all()
    if model.labels:
        assert found.sum() == pytest.approx(1.0, abs=1e-4)


@pytest.fixture(scope="module")
def odd_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that are hard to analyse, and one sound one."""
    folder = tmp_path_factory.mktemp("odd")
    sound = clip(32_000, 6)
    broken = sound.copy()
    broken[20_000] = np.nan
    (folder / "0 bytes.wav").write_bytes(b"")
    for name, wave in {
        "0 samples": sound[:0],
        "10 ms": sound[:160],
        "clipped": np.sign(sound),
        "nan": broken,
        "silent": np.zeros_like(sound),
        "sound": sound,
    }.items():
        soundfile.write(folder / f"{name}.wav", wave, 16_000, subtype="FLOAT")
    return folder


def test_odd_files_end_the_same_way_in_every_family(model: EmotionModel, odd_files: Path) -> None:
    settings = Settings(segmentation=SegmentOptions(min_speech_ratio=0.0))
    objects = [source_object(path) for path in sorted(odd_files.iterdir())]
    found = analyse(
        objects, source=FolderSource(Path("/")), model=model, settings=settings, timings=Timings()
    )
    ends = {
        Path(each.item.key).stem: (
            each.status,
            each.error.reason if each.error else None,
            [row.scores is not None for row in each.rows],
        )
        for each in found
    }
    assert ends == {
        "0 bytes": ("quarantined", "empty", []),
        "0 samples": ("quarantined", "no_samples", []),
        "10 ms": ("quarantined", "too_short", []),
        "clipped": ("ok", None, [True]),
        "nan": ("quarantined", "non_finite", []),
        "silent": ("ok", None, [True]),
        "sound": ("ok", None, [True]),
    }


@pytest.fixture(scope="module")
def half_an_hour() -> list[Segment]:
    """The windows of 30 minutes of silence with noise in three of them, as voice activity would mark it."""
    made = []
    for index in range(180):
        wave = clip(160_000, index) if index in (0, 90, 179) else np.empty(0, np.float32)
        start = index * 160_000
        made.append(
            Segment(
                0,
                index,
                start,
                start + 160_000,
                index * 10.0,
                index * 10.0 + 10.0,
                wave,
                float(len(wave) > 0),
            )
        )
    return made


def test_half_an_hour_has_a_row_for_every_window(model: EmotionModel, half_an_hour: list[Segment]) -> None:
    found = list(classify(((None, each) for each in half_an_hour), model, batch_seconds=40.0))
    assert [piece.index for _, piece, _ in found] == list(range(180))
    assert [piece.index for _, piece, scores in found if scores is not None] == [0, 90, 179]


def test_the_shortest_segment_is_answered(model: EmotionModel) -> None:
    assert 1 <= model.min_samples <= 8_000
    assert np.isfinite(answers(model, [clip(model.min_samples, 5)], 1.0)).all()


def test_answers_are_the_same_twice(model: EmotionModel) -> None:
    waves = [clip(16_000, seed) for seed in range(3)]
    assert np.array_equal(answers(model, waves, 100.0), answers(model, waves, 100.0))


def test_loading_opens_no_connection(
    model: EmotionModel, entries: dict[str, ModelEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a model on disk was looked for in the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    again = entries[model.family].load(CPU)
    assert again.labels == model.labels


def test_the_description_is_the_models_own(model: EmotionModel, entries: dict[str, ModelEntry]) -> None:
    entry = entries[model.family]
    assert entry.labels == model.labels
    assert set(entry.emotions()) == set(model.labels)
    assert all(path.is_file() for path in entry.description.files.values())
    assert len(entry.fingerprint) == 32


def test_fingerprints_differ(entries: dict[str, ModelEntry]) -> None:
    assert len({entry.fingerprint for entry in entries.values()}) == len(entries)


def test_nothing_is_written_into_a_models_folder(entries: dict[str, ModelEntry], tmp_path: Path) -> None:
    before = {family: entry.fingerprint for family, entry in entries.items()}
    for entry in entries.values():
        entry.load(CPU)
    assert {
        family: ModelEntry(e.name, e.family, e.options).fingerprint for family, e in entries.items()
    } == before
    assert not list(tmp_path.iterdir())
