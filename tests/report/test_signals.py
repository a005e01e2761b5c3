"""What signals are like: from the files through a shard into the table, the report and `doctor`."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from made_plan import work_of
from report_page import Page

from emolake.lake.connect import open_lake
from emolake.pipeline.identity import analysis_key
from emolake.pipeline.shard import run_shard
from emolake.report.build import write_report
from emolake.report.signals import odd_signals
from emolake.settings import Settings, load_settings
from emolake.source.opening import open_source
from emolake.source.policy import Policy
from emolake.tasks.plan import plan_day
from emolake.upkeep.doctor import _signals

from made_model import write_tiny_model
from made_voices import utterance

DAY = date(2026, 11, 20)
COLUMNS = ("level_dbfs", "clipped_share", "dc_offset", "bandwidth_hz", "channel_correlation", "signal_notes")
VOICE = np.concatenate([utterance(k, "angry", k) for k in range(6)])
OTHER = np.concatenate([utterance(9 - k, "sad", k) for k in range(9)])[: len(VOICE)]
CALLS = {
    "plain": (VOICE, "PCM_16"),
    "antiphase": (np.stack([VOICE, -VOICE], axis=1), "PCM_16"),
    "two": (np.stack([VOICE, OTHER], axis=1), "PCM_16"),
    "unscaled": (30_000 * VOICE, "FLOAT"),
    "offset": (VOICE + 0.01, "PCM_16"),
    "nothing": (0 * VOICE, "PCM_16"),
}


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake of one day with the calls above, and one that cannot be decoded."""
    folder = tmp_path_factory.mktemp("signals")
    calls = folder / "calls" / f"{DAY:%Y/%m/%d}" / "oslo"
    calls.mkdir(parents=True)
    for name, (samples, subtype) in CALLS.items():
        sf.write(calls / f"{name}.wav", samples, 16_000, subtype=subtype)
    (calls / "broken.wav").write_bytes(b"RIFF")
    (calls / "._plain.wav").write_bytes(b"\x00\x05\x16\x07" + bytes(100))
    tiny = write_tiny_model(folder / "tiny")
    (folder / "emolake.toml").write_text(
        f'[source]\nuri = "calls"\n[inference]\nmodel = "tiny"\n[models.tiny]\npath = "{tiny}"\n'
        "[segmentation]\nmin_speech_ratio = 0.0\n"
    )
    settings = load_settings(folder / "emolake.toml")
    entry = settings.registry.entry()
    key = analysis_key(settings, entry)
    source = open_source(settings.source.uri, settings.source.s3)
    objects = work_of(plan_day(source, settings.source.key_pattern(), None, DAY, key=key, policy=Policy()))
    run_shard(objects, settings=settings, entry=entry, key=key, run_id="run-1", message="a shard")
    return settings


def test_the_table_holds_what_each_signal_is_like(analysed: Settings) -> None:
    with open_lake(analysed.warehouse, read_only=True) as lake:
        rows = lake.rows(f"SELECT uri, {', '.join(COLUMNS)} FROM recordings")
    found = {Path(uri).stem: dict(zip(COLUMNS, values, strict=True)) for uri, *values in rows}
    assert set(found) == {*CALLS, "broken"}
    assert {name: each["signal_notes"] for name, each in found.items()} == {
        "plain": None,
        "two": None,
        "antiphase": ["antiphase"],
        "unscaled": ["unscaled"],
        "offset": ["dc_offset"],
        "nothing": ["no_signal"],
        "broken": None,
    }
    assert set(found["broken"].values()) == {None}
    assert found["plain"]["level_dbfs"] == pytest.approx(10 * np.log10(VOICE.var()), abs=0.01)
    assert found["offset"]["level_dbfs"] == pytest.approx(found["plain"]["level_dbfs"], abs=0.01)
    assert found["offset"]["dc_offset"] == pytest.approx(VOICE.mean() + 0.01, abs=1e-4)
    assert found["antiphase"]["channel_correlation"] == pytest.approx(-1)
    assert found["two"]["channel_correlation"] == pytest.approx(np.corrcoef(VOICE, OTHER)[0, 1], abs=1e-3)
    assert found["nothing"]["level_dbfs"] is found["nothing"]["bandwidth_hz"] is None


def test_an_antiphase_recording_has_the_answers_of_its_channel(analysed: Settings) -> None:
    """In the plain mean of the channels there would be nothing at all."""
    with open_lake(analysed.warehouse, read_only=True) as lake:
        rows = lake.rows(
            "SELECT uri, speech_ratio, label, round(confidence, 3) FROM segments JOIN recordings USING (recording_id) "
            "ORDER BY uri, segment_index"
        )
    answers: dict[str, list[tuple[object, ...]]] = {}
    for uri, *answer in rows:
        answers.setdefault(Path(uri).stem, []).append(tuple(answer))
    assert answers["antiphase"] == answers["plain"]
    assert answers["antiphase"][0][1] is not None


def test_the_report_says_where_signals_are_odd(analysed: Settings, tmp_path: Path) -> None:
    with open_lake(analysed.warehouse, read_only=True) as lake:
        write_report(lake, first=DAY, last=DAY, out=tmp_path / "r.html")
        notes = {
            each.note: (each.recordings, Path(each.example).stem)
            for each in odd_signals(lake, first=DAY, last=DAY)
        }
    assert notes == {
        "antiphase": (1, "antiphase"),
        "dc_offset": (1, "offset"),
        "no_signal": (1, "nothing"),
        "unscaled": (1, "unscaled"),
    }
    page = Page(tmp_path / "r.html")
    assert "Of 6 recordings whose signal was measured" in page.seen
    assert {row["Oddity"] for row in page.named("signals")} == set(notes)


def test_doctor_says_where_signals_are_odd(analysed: Settings) -> None:
    said = _signals(analysed)
    assert "antiphase in 1 recording (" in said
    assert "unscaled.wav" in said


@pytest.fixture
def older_lake(analysed: Settings) -> Iterator[Settings]:
    """The lake as a version before these columns left it."""
    with open_lake(analysed.warehouse) as lake:
        before = lake.rows("FROM recordings ORDER BY uri")
        for column in COLUMNS:
            lake.connection.execute(f"ALTER TABLE lake.recordings DROP COLUMN {column}")
    yield analysed
    with open_lake(analysed.warehouse) as lake:
        assert len(lake.rows("FROM recordings WHERE signal_notes IS NULL")) == len(before)


def test_an_older_lake_is_read_and_gets_the_columns_with_the_next_run(
    older_lake: Settings, tmp_path: Path
) -> None:
    assert "the next run does it" in _signals(older_lake)
    with open_lake(older_lake.warehouse, read_only=True) as lake:
        write_report(lake, first=DAY, last=DAY, out=tmp_path / "r.html")
    assert "Signal quality" not in Page(tmp_path / "r.html").seen
