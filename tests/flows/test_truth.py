"""The nightly on a real S3 server against a bucket whose truth is known: nothing lost, nothing twice, all named."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from emolake.demo.s3_server import serve_s3
from emolake.flows.backfill import backfill
from emolake.flows.nightly import nightly
from emolake.lake.connect import open_lake
from emolake.settings import Settings, load_settings

from chaos.servers import ACCESS_KEY, SECRET_KEY
from corpus import PATTERN, Truth, make_corpus
from made_model import write_tiny_model

DAYS = (date(2026, 3, 28), date(2026, 3, 29), date(2026, 3, 30))  # over the change to summer time
LOSSY_PADDING_S = {
    "m4a": 0.07,
    "amr": 0.04,
    "mp3": 0.06,
    "ogg-opus": 0.03,
    "webm-opus": 0.03,
    "ogg-vorbis": 0.005,
}


@dataclass(frozen=True)
class Night:
    """A bucket, its truth, and the configuration of a lake that the nightly filled from it."""

    truth: Truth
    config: Path
    settings: Settings
    summary: dict[str, object]

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with open_lake(self.settings.warehouse, read_only=True) as lake:
            return lake.connection.execute(sql).to_arrow_table().to_pylist()

    def key(self, uri: str) -> str:
        return uri.removeprefix(f"{self.settings.source.uri}/")


@pytest.fixture(scope="module")
def night(shared_data: Path, tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("truth")
    truth = make_corpus(folder / "s3" / "calls", shared_data, days=DAYS, seed=11)
    write_tiny_model(folder / "tiny")
    config = folder / "emolake.toml"
    with serve_s3(folder / "s3", access_key=ACCESS_KEY, secret_key=SECRET_KEY) as url:
        config.write_text(
            f'[source]\nuri = "s3://calls"\npattern = "{PATTERN}"\ntimezone = "Europe/Berlin"\nendpoint_url = "{url}"\n'
            '[inference]\nmodel = "tiny"\n[models.tiny]\npath = "tiny"\n[run]\nshard_seconds = 600.0\n'
        )
        summary = nightly(config=config, date=DAYS[-1])
        yield Night(truth, config, load_settings(config), summary)


def test_every_object_ends_as_the_truth_says(night: Night) -> None:
    found = {
        night.key(row["uri"]): row for row in night.rows("SELECT uri, status, date, error FROM recordings")
    }
    expected = {laid.key: laid for laid in night.truth.objects if laid.expected != "not_audio"}
    assert found.keys() == expected.keys()
    wrong = {key: (row["status"], expected[key].expected, expected[key].fault, row["error"])
             for key, row in found.items() if row["status"] != expected[key].expected}  # fmt: skip
    assert wrong == {}
    assert all(row["date"] == expected[key].day for key, row in found.items())
    assert all(row["error"] for row in found.values() if row["status"] in ("quarantined", "truncated"))


def test_what_is_no_audio_is_counted_and_named(night: Night) -> None:
    (run,) = night.rows("SELECT not_audio, named_keys, outcome, done, quarantined FROM runs")
    expected = [laid.key for laid in night.truth.of("not_audio")]
    assert run["not_audio"] == len(expected)
    assert all(any(key in named for named in run["named_keys"]) for key in expected)
    assert run["outcome"] == "completed"
    assert run["done"] == len(night.truth.objects) - len(expected)
    assert run["quarantined"] == len(night.truth.of("quarantined"))


def test_segments_tile_every_recording_to_its_true_end(night: Night) -> None:
    laid = {each.key: each for each in night.truth.objects}
    rows = night.rows(
        "SELECT uri, duration_s, channel, list(start_s ORDER BY segment_index) AS starts, "
        "list(end_s ORDER BY segment_index) AS ends FROM segments JOIN recordings USING (recording_id) "
        "GROUP BY uri, duration_s, channel"
    )
    assert {night.key(row["uri"]) for row in rows} == {
        each.key for each in night.truth.of("ok", "truncated", "silent")
    }
    for row in rows:
        truth = laid[night.key(row["uri"])]
        starts, ends = row["starts"], row["ends"]
        assert starts[0] == 0.0, truth
        assert starts[1:] == ends[:-1], truth
        assert ends[-1] == row["duration_s"], truth
        if truth.samples is not None:
            assert row["duration_s"] == pytest.approx(truth.samples / truth.sampling_rate, abs=1e-9), truth
        elif truth.duration_s is not None:
            assert row["duration_s"] == pytest.approx(truth.duration_s, abs=LOSSY_PADDING_S[truth.codec]), (
                truth
            )


def test_speech_is_found_where_it_was_laid(night: Night) -> None:
    laid = {each.key: each for each in night.truth.of("ok")}
    rows = night.rows(
        "SELECT uri, start_s, end_s, speech_ratio FROM segments JOIN recordings USING (recording_id)"
    )
    full = empty = 0
    for row in rows:
        truth = laid.get(night.key(row["uri"]))
        if truth is None:
            continue
        spoken = sum(
            max(0.0, min(clip.end_s, row["end_s"]) - max(clip.start_s, row["start_s"]))
            for clip in truth.clips
        )
        if spoken > 0.5 * (row["end_s"] - row["start_s"]) and truth.channels == 1:
            full += 1
            assert row["speech_ratio"] > 0.1, (truth.key, row)
        elif spoken == 0:
            empty += 1
            assert row["speech_ratio"] < 0.1, (truth.key, row)
    assert full > 20
    assert empty > 0


def test_windows_without_speech_have_no_label_and_the_others_have_one(night: Night) -> None:
    (row,) = night.rows(
        "SELECT count(*) FILTER (speech_ratio < 0.1::FLOAT AND label IS NOT NULL) AS labelled_silence, "
        "count(*) FILTER (speech_ratio >= 0.1::FLOAT AND label IS NULL) AS unlabelled_speech, "
        "count(*) FILTER (label IS NULL) AS unlabelled, count(*) AS segments FROM segments"
    )
    assert row["labelled_silence"] == 0
    assert row["unlabelled_speech"] == 0
    assert 0 < row["unlabelled"] < row["segments"]


def test_daily_figures_add_up_to_the_segments(night: Night) -> None:
    by_day = night.rows(
        "SELECT date, dimensions['site'] AS site, sum(segments)::BIGINT AS segments, sum(speech_seconds) AS seconds, "
        "sum(share) AS shares, max(recordings) AS recordings FROM daily_emotions GROUP BY ALL ORDER BY ALL"
    )
    segments = night.rows(
        "SELECT segments.date, dimensions['site'] AS site, count(*) AS segments, "
        "sum(speech_ratio::DOUBLE * (end_s - start_s)) AS seconds FROM segments JOIN recordings USING (recording_id) "
        "GROUP BY ALL ORDER BY ALL"
    )
    assert [(row["date"], row["site"], row["segments"]) for row in by_day] == [
        (row["date"], row["site"], row["segments"]) for row in segments
    ]
    for day, raw in zip(by_day, segments, strict=True):
        assert day["seconds"] == pytest.approx(raw["seconds"], abs=1e-6)
        assert day["shares"] == pytest.approx(1.0)
    assert {row["date"] for row in by_day} == set(DAYS)
    (ledger,) = night.rows(
        "SELECT sum(speech_seconds) AS seconds, sum(segments)::BIGINT AS segments FROM analyses"
    )
    assert ledger["seconds"] == pytest.approx(sum(row["seconds"] for row in segments), abs=1e-6)
    assert ledger["segments"] == sum(row["segments"] for row in segments)


def test_the_same_night_again_does_nothing(night: Night) -> None:
    snapshot = night.rows("SELECT max(snapshot_id) AS id FROM lake.snapshots()")
    summary = nightly(config=night.config, date=DAYS[-1])
    assert summary["done"] == summary["segments"] == 0
    assert summary["skipped"] == summary["found"] == night.summary["found"]
    assert night.rows("SELECT max(snapshot_id) AS id FROM lake.snapshots()") == snapshot


def test_a_forced_backfill_gives_the_same_rows(night: Night) -> None:
    content = (
        "SELECT recording_id, channel, segment_index, start_s, end_s, speech_ratio, label, "
        "round(confidence, 4) AS confidence FROM segments ORDER BY ALL"
    )
    before = night.rows(content)
    summary = backfill(first=DAYS[0], last=DAYS[0], config=night.config, force=True)
    assert summary["done"] == sum(
        laid.day == DAYS[0] for laid in night.truth.objects if laid.expected != "not_audio"
    )
    assert night.rows(content) == before
    assert len(night.rows("SELECT 1 FROM analyses GROUP BY recording_id, model HAVING count(*) > 1")) == 0
