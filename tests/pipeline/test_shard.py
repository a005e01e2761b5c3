"""A shard over real files: what becomes of good, late-broken and vanished recordings, and its seconds of speech."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_plan import work_of

from emolake.audio.cutting import window_bounds
from emolake.demo.encode import write_audio
from emolake.errors import BadRecordingError, ConfigurationError, Reason
from emolake.lake.connect import open_lake
from emolake.models.families.spectrogram_cnn import SpectrogramCnn
from emolake.models.protocol import Prediction
from emolake.models.registry import ModelChangedError
from emolake.pipeline.identity import analysis_key
from emolake.pipeline.loaded_models import loaded_model
from emolake.pipeline.rows import Analysis, SegmentRow, shard_rows, speech_seconds
from emolake.pipeline.shard import analyse, run_shard
from emolake.pipeline.timings import Timings
from emolake.schemas.records import Counts, SourceObject
from emolake.settings import Settings, load_settings
from emolake.source.opening import open_source
from emolake.source.policy import Policy
from emolake.tasks.classify import ModelMemoryError, ModelOutputError, Scores
from emolake.tasks.plan import plan_day

from made_model import LABELS, write_tiny_model

DAY = date(2026, 11, 20)

Configure = Callable[..., Settings]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def configure(tmp_path: Path, tiny: Path) -> Configure:
    """Settings of a folder with recordings and a lake of its own; arguments are lines of [segmentation]."""

    def settings(*segmentation: str) -> Settings:
        config = tmp_path / "emolake.toml"
        config.write_text(
            '[source]\nuri = "calls"\n[inference]\nmodel = "tiny"\n'
            f'[models.tiny]\npath = "{tiny}"\n[segmentation]\n' + "\n".join(segmentation)
        )
        return load_settings(config)

    return settings


def put(
    folder: Path, name: str, samples: np.ndarray, sampling_rate: int = 16_000, codec: str = "wav-float"
) -> Path:
    path = folder / "calls" / f"{DAY:%Y/%m/%d}" / "oslo" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, samples if samples.ndim == 2 else samples[:, None], sampling_rate, codec)
    return path


def noise(seconds: float, sampling_rate: int = 16_000) -> np.ndarray:
    return np.random.default_rng(5).normal(0, 0.1, round(seconds * sampling_rate)).astype(np.float32)


def planned(settings: Settings) -> list[SourceObject]:
    source = open_source(settings.source.uri, settings.source.s3)
    key = analysis_key(settings, settings.registry.entry())
    return work_of(plan_day(source, settings.source.key_pattern(), None, DAY, key=key, policy=Policy()))


def analysed(settings: Settings, objects: list[SourceObject]) -> dict[str, Analysis]:
    source = open_source(settings.source.uri, settings.source.s3)
    model = loaded_model(settings.registry.entry(), settings.inference)
    found = list(analyse(objects, source=source, model=model, settings=settings, timings=Timings()))
    assert [each.item.key for each in found] == [each.key for each in objects]
    return {each.item.key.rpartition("/")[2]: each for each in found}


def committed(settings: Settings, objects: list[SourceObject]) -> Counts:
    entry = settings.registry.entry()
    key = analysis_key(settings, entry)
    return run_shard(objects, settings=settings, entry=entry, key=key, run_id="run-1", message="a shard")


def row(channel: int, index: int, start_s: float, end_s: float, speech_ratio: float = 1.0) -> SegmentRow:
    return SegmentRow(channel, index, start_s, end_s, speech_ratio, None)


@given(
    samples=st.integers(1, 2000),
    window=st.integers(2, 300),
    hop_share=st.floats(0.05, 1.0),
    channels=st.integers(1, 3),
    speech_ratio=st.floats(0, 1),
)
def test_no_second_of_speech_counts_twice(
    samples: int, window: int, hop_share: float, channels: int, speech_ratio: float
) -> None:
    """Windows of one constant ratio, however they overlap, hold that share of each channel."""
    bounds = window_bounds(samples, window=window, hop=max(1, round(window * hop_share)), min_tail=1)
    rows = [
        row(channel, index, start / 100, end / 100, speech_ratio)
        for channel in range(channels)
        for index, (start, end) in enumerate(bounds)
    ]
    assert speech_seconds(rows) == pytest.approx(channels * speech_ratio * samples / 100)


def test_an_overlapping_window_owns_the_time_up_to_the_next() -> None:
    rows = [row(0, 0, 0.0, 10.0, 1.0), row(0, 1, 5.0, 15.0, 0.0), row(1, 0, 0.0, 10.0, 0.5)]
    assert speech_seconds(rows) == pytest.approx(5.0 + 0.0 + 5.0)
    assert speech_seconds([]) == 0.0


@pytest.mark.parametrize("sampling_rate", [8000, 11_025, 44_100])
def test_the_last_segment_ends_with_the_sources_own_last_sample(
    tmp_path: Path, configure: Configure, sampling_rate: int
) -> None:
    settings = configure("min_speech_ratio = 0.0", 'channels = "split"')
    samples = noise(23.4567, sampling_rate)
    put(tmp_path, "odd.wav", np.stack([samples, -samples], axis=1), sampling_rate)
    found = analysed(settings, planned(settings))["odd.wav"]
    assert (found.status, found.opened and (found.opened.sampling_rate, found.opened.channels)) == (
        "ok",
        (sampling_rate, 2),
    )
    assert found.duration_s == len(samples) / sampling_rate
    assert [(each.channel, each.index, each.start_s) for each in found.rows] == [
        (channel, index, index * 10.0) for channel in (0, 1) for index in (0, 1, 2)
    ]
    assert [each.end_s for each in found.rows] == [10.0, 20.0, len(samples) / sampling_rate] * 2
    assert all(each.scores is not None for each in found.rows)


def test_an_error_in_the_last_part_drops_every_row(tmp_path: Path, configure: Configure) -> None:
    settings = configure("min_speech_ratio = 0.0", "window_s = 2.0", "hop_s = 2.0")
    poisoned = noise(30.0)
    poisoned[-100] = np.nan
    put(tmp_path, "a good.wav", noise(4.0))
    put(tmp_path, "b poisoned.wav", poisoned)
    put(tmp_path, "c good.wav", noise(6.0))
    objects = planned(settings)
    found = analysed(settings, objects)
    assert {name: (each.status, len(each.rows)) for name, each in found.items()} == {
        "a good.wav": ("ok", 2),
        "b poisoned.wav": ("quarantined", 0),
        "c good.wav": ("ok", 3),
    }
    assert (found["b poisoned.wav"].reason or "").startswith("non_finite: decode: ")
    counts = committed(settings, objects)
    assert (counts.done, counts.quarantined, counts.segments, counts.audio_seconds) == (3, 1, 5, 10.0)


def test_the_number_of_decoders_changes_no_byte_of_the_rows(tmp_path: Path, configure: Configure) -> None:
    settings = configure("min_speech_ratio = 0.0", "window_s = 2.0", "hop_s = 2.0")
    for number, seconds in enumerate((1.0, 9.0, 0.01, 5.0, 30.0, 2.0, 7.0)):
        codec = ("wav", "mp3")[number % 2]
        put(tmp_path, f"{number}.{codec}", (number + 1) * 0.1 * noise(seconds), codec=codec)
    put(tmp_path, "2 broken.wav", np.full(40_000, np.nan, np.float32))
    put(tmp_path, "3 junk.mp3", noise(1.0), codec="mp3").write_bytes(b"no audio at all")
    objects = planned(settings)

    def found(processes: int) -> list[tuple[object, ...]]:
        decode = settings.decode.model_copy(update={"processes": processes})
        analyses = analysed(settings.model_copy(update={"decode": decode}), objects).values()
        return [
            (
                each.item,
                each.status,
                each.reason,
                each.opened,
                each.outcome,
                [row._bytes for row in each.rows],
            )
            for each in analyses
        ]

    assert found(1) == found(4)


def test_batches_that_all_shards_share_give_the_same_rows(tmp_path: Path, configure: Configure) -> None:
    """As on a GPU, several under way, from two shards at once."""
    settings = configure("min_speech_ratio = 0.0")
    for number in range(6):
        put(tmp_path, f"{number}.wav", noise(11.0 + 3.3 * number))
    objects = planned(settings)
    alone = analysed(settings, objects)
    shared = settings.model_copy(
        update={"inference": settings.inference.model_copy(update={"batches_in_flight": 3})}
    )
    with ThreadPoolExecutor(2) as pool:
        halves = list(pool.map(lambda half: analysed(shared, half), (objects[::2], objects[1::2])))
    together = halves[0] | halves[1]
    assert together.keys() == alone.keys()
    for name, analysis in alone.items():
        own = together[name].rows
        assert [(row.index, row.start_s, row.end_s) for row in own] == [
            (row.index, row.start_s, row.end_s) for row in analysis.rows
        ]
        for row, other in zip(own, analysis.rows, strict=True):
            assert row.scores is not None
            assert other.scores is not None
            assert np.abs(row.scores.probabilities - other.scores.probabilities).max() < 1e-4


def test_a_recording_too_short_for_the_model_is_quarantined(tmp_path: Path, configure: Configure) -> None:
    settings = configure()
    put(tmp_path, "short.wav", noise(399 / 16_000))
    put(tmp_path, "long enough.wav", noise(400 / 16_000))
    found = analysed(settings, planned(settings))
    assert (found["short.wav"].reason or "").startswith("too_short: segment: 399 samples")
    assert found["long enough.wav"].error is None


def test_silence_is_stored_without_a_label(tmp_path: Path, configure: Configure) -> None:
    settings = configure()
    put(tmp_path, "silent.wav", np.zeros(16_000 * 12, np.float32))
    objects = planned(settings)
    found = analysed(settings, objects)["silent.wav"]
    assert (found.status, found.reason) == ("silent", None)
    assert [(each.start_s, each.end_s, each.scores) for each in found.rows] == [(0, 10, None), (10, 12, None)]
    assert committed(settings, objects).labelled == 0
    with open_lake(settings.warehouse, read_only=True) as lake:
        assert (
            lake.rows("SELECT label, emotion, confidence, probabilities, entropy, logit_range FROM segments")
            == [(None,) * 6] * 2
        )


def test_what_vanished_has_a_row_and_none_in_the_ledger(tmp_path: Path, configure: Configure) -> None:
    settings = configure("min_speech_ratio = 0.0")
    put(tmp_path, "here.wav", noise(2.0))
    gone = put(tmp_path, "gone.wav", noise(2.0))
    objects = planned(settings)
    gone.unlink()
    counts = committed(settings, objects)
    assert (counts.done, counts.quarantined) == (2, 1)
    with open_lake(settings.warehouse, read_only=True) as lake:
        recordings = lake.rows("SELECT uri, status, split_part(error, ':', 1) FROM recordings ORDER BY uri")
        (ledger,) = lake.rows("SELECT uri FROM analyses JOIN recordings USING (recording_id)")
    assert [(uri.rpartition("/")[2], *rest) for uri, *rest in recordings] == [
        ("gone.wav", "quarantined", "vanished"),
        ("here.wav", "ok", None),
    ]
    assert ledger[0].endswith("here.wav")


def held(settings: Settings) -> list[tuple[object, ...]]:
    with open_lake(settings.warehouse) as lake:
        return lake.rows("SELECT recording_id FROM recordings UNION ALL SELECT recording_id FROM segments")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_commit_nothing_and_name_model_and_recordings(
    tmp_path: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    """As a precision that overflows does for loud recordings only."""
    settings = configure("min_speech_ratio = 0.0")
    in_one_batch = settings.inference.model_copy(update={"batch_seconds": 160.0})
    settings = settings.model_copy(update={"inference": in_one_batch})
    put(tmp_path, "quiet.wav", noise(12.0))
    put(tmp_path, "loud.wav", 5 * noise(12.0))
    predict = SpectrogramCnn.predict

    def overflowing(self: SpectrogramCnn, waves: torch.Tensor, lengths: torch.Tensor) -> Prediction:
        prediction = predict(self, waves, lengths)
        loud = waves.abs().amax(dim=1) > 1.0
        return replace(prediction, logits=torch.where(loud[:, None], value, prediction.logits))

    monkeypatch.setattr(SpectrogramCnn, "predict", overflowing)
    with pytest.raises(
        ModelOutputError, match="tiny: the model gave logits that are not finite for "
    ) as caught:
        committed(settings, planned(settings))
    assert f"{DAY:%Y/%m/%d}/oslo/loud.wav (channel 0, from 0 s)" in str(caught.value)
    assert f"{DAY:%Y/%m/%d}/oslo/loud.wav (channel 0, from 10 s)" in str(caught.value)
    assert "quiet.wav" not in str(caught.value)
    assert held(settings) == []


def test_a_segment_without_room_commits_nothing_and_names_its_recording(
    tmp_path: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = configure("min_speech_ratio = 0.0")
    put(tmp_path, "long.wav", noise(10.0))
    put(tmp_path, "short.wav", noise(4.0))
    predict = SpectrogramCnn.predict

    def full(self: SpectrogramCnn, waves: torch.Tensor, lengths: torch.Tensor) -> Prediction:
        if waves.numel() > 100_000:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return predict(self, waves, lengths)

    monkeypatch.setattr(SpectrogramCnn, "predict", full)
    with pytest.raises(
        ModelMemoryError, match=r"tiny: cpu has no room for .*/oslo/long\.wav .* by itself, 10 s of"
    ):
        committed(settings, planned(settings))
    assert held(settings) == []


def swap(folder: Path, seed: int) -> None:
    """Replace the weights in place by those of another training, of the same size and with the same time."""
    weights = folder / "model.safetensors"
    before = weights.stat()
    write_tiny_model(folder, seed=seed)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert weights.stat().st_size == before.st_size


@pytest.mark.parametrize("when", ["before the load", "while it runs"])
def test_weights_that_are_swapped_under_a_run_commit_nothing(
    tmp_path: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    settings = configure("min_speech_ratio = 0.0")
    folder = write_tiny_model(tmp_path / "own", seed=1)
    settings = settings.model_copy(update={"models": {"tiny": {"path": str(folder)}}})
    put(tmp_path, "call.wav", noise(12.0))
    entry, objects = settings.registry.entry(), planned(settings)
    key = analysis_key(settings, entry)
    arguments: dict[str, Any] = {"settings": settings, "key": key, "run_id": "run-1", "message": "a shard"}
    predict = SpectrogramCnn.predict

    def swapping(self: SpectrogramCnn, waves: torch.Tensor, lengths: torch.Tensor) -> Prediction:
        swap(folder, seed=2)
        return predict(self, waves, lengths)

    if when == "before the load":
        swap(folder, seed=2)
    else:
        monkeypatch.setattr(SpectrogramCnn, "predict", swapping)
    with pytest.raises(
        ModelChangedError, match="files of the model 'tiny' were changed while the run was under way"
    ):
        run_shard(objects, entry=entry, **arguments)
    assert held(settings) == []
    monkeypatch.undo()
    swap(
        folder, seed=1
    )  # the weights of the fingerprint are back: they answer, and not those that lay there meanwhile
    again = settings.registry.entry()
    assert again.fingerprint == key.model_fingerprint
    waves = torch.zeros(1, 16_000), torch.tensor([16_000])
    expected = again.load(settings.inference).predict(*waves).logits
    assert torch.equal(loaded_model(again, settings.inference).predict(*waves).logits, expected)
    assert run_shard(objects, entry=again, **arguments).done == 1


def test_a_model_that_was_only_touched_goes_on(tmp_path: Path, configure: Configure) -> None:
    folder = write_tiny_model(tmp_path / "own", seed=1)
    settings = configure().model_copy(update={"models": {"tiny": {"path": str(folder)}}})
    entry = settings.registry.entry()
    assert entry.fingerprint
    os.utime(folder / "model.safetensors")
    os.link(folder / "model.safetensors", tmp_path / "a backup's hard link")
    entry.check_unchanged()
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigurationError, match=r"has no .*model\.safetensors"):
        entry.check_unchanged()


@pytest.mark.parametrize("reason", Reason)
def test_only_what_may_pass_stays_out_of_the_ledger(
    tmp_path: Path, configure: Configure, reason: Reason
) -> None:
    settings = configure()
    put(tmp_path, "call.wav", noise(1.0))
    (item,) = planned(settings)
    key = analysis_key(settings, settings.registry.entry())
    analysis = Analysis(item, error=BadRecordingError(reason, "made up", stage="fetch"))
    rows = shard_rows([analysis], labels=LABELS, emotions={}, key=key, run_id="run-1", zone=ZoneInfo("UTC"))
    assert rows.recordings.column("error").to_pylist() == [f"{reason}: fetch: made up"]
    assert rows.analyses.num_rows == (0 if reason in ("vanished", "fetch_failed") else 1)


def test_a_scored_row_carries_what_the_model_said(tmp_path: Path, configure: Configure) -> None:
    settings = configure()
    put(tmp_path, "call.wav", noise(1.0))
    (item,) = planned(settings)
    key = analysis_key(settings, settings.registry.entry())
    logits = np.array([0.0, 3.0, -1.0, 1.0], np.float32)
    probabilities = (np.exp(logits) / np.exp(logits).sum()).astype(np.float32)
    analysis = Analysis(item, rows=[SegmentRow(0, 0, 0.0, 1.0, 1.0, Scores(logits, probabilities))])
    emotions = {"anger": "anger", "happiness": "happiness", "neutral": "neutral", "sadness": "sadness"}
    (made,) = shard_rows(
        [analysis], labels=LABELS, emotions=emotions, key=key, run_id="run-1", zone=ZoneInfo("UTC")
    ).segments.to_pylist()
    assert made["label"] == made["emotion"] == "happiness"
    assert made["confidence"] == pytest.approx(0.84, abs=0.01)
    assert dict(made["probabilities"]) == pytest.approx(dict(zip(LABELS, probabilities, strict=True)))
    assert made["logit_range"] == 4.0
    assert made["entropy"] == pytest.approx(-(probabilities * np.log(probabilities)).sum(), abs=1e-6)


@pytest.mark.parametrize("place", [0, 2, 4])
def test_what_is_below_is_marked_and_keeps_its_label(
    tmp_path: Path, configure: Configure, place: int
) -> None:
    settings = configure("min_speech_ratio = 0.0", "window_s = 2.0", "hop_s = 2.0")
    put(tmp_path, "call.wav", np.concatenate([noise(2.0) * level for level in (0.1, 0.3, 1.0, 2.0, 4.0)]))
    objects = planned(settings)
    columns = "start_s, label, emotion, confidence, probabilities, entropy"
    committed(settings, objects)
    with open_lake(settings.warehouse, read_only=True) as lake:
        whole = lake.rows(f"SELECT {columns} FROM segments ORDER BY start_s")
        assert lake.rows("SELECT DISTINCT uncertain FROM segments") == [(False,)]
    below = sorted(row[3] for row in whole)[place]
    inference = settings.inference.model_copy(update={"abstain_below": below})
    settings = settings.model_copy(update={"inference": inference})
    assert committed(settings, objects).done == 1  # of another config_id, and replaced
    with open_lake(settings.warehouse, read_only=True) as lake:
        assert lake.rows(f"SELECT {columns} FROM segments ORDER BY start_s") == whole
        marked = lake.rows("SELECT confidence, uncertain FROM segments ORDER BY start_s")
    assert marked == [(row[3], row[3] < below) for row in whole]
    assert sum(uncertain for _, uncertain in marked) <= place


def test_without_a_label_nothing_is_certain_or_uncertain(tmp_path: Path, configure: Configure) -> None:
    settings = configure("min_speech_ratio = 1.0")
    inference = settings.inference.model_copy(update={"abstain_below": 1.0})
    put(tmp_path, "call.wav", noise(2.0) * 0)
    settings = settings.model_copy(update={"inference": inference})
    committed(settings, planned(settings))
    with open_lake(settings.warehouse, read_only=True) as lake:
        assert lake.rows("SELECT label, uncertain FROM segments") == [(None, None)]


@given(
    probabilities=st.lists(st.floats(0, 1, width=32), max_size=5),
    labelled=st.booleans(),
    below=st.floats(0, 1),
)
def test_a_label_is_uncertain_when_its_probability_is_below(
    probabilities: list[float], labelled: bool, below: float
) -> None:
    numbers = np.array(probabilities, np.float32)
    found = Scores(numbers, numbers, None, labelled).is_uncertain(below)
    assert found is (max(probabilities) < below if labelled and probabilities else None)
