"""`emolake init --from`: a look at a bucket gives a pattern, a zone and channels, and a file that reads them."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emolake.cli.config_file import commented_toml
from emolake.errors import EmolakeError
from emolake.settings import load_settings
from emolake.source.access import SourceOptions
from emolake.upkeep.bucket_survey import survey

from chaos.servers import ACCESS_KEY, SECRET_KEY

BEGIN = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


def fill(folder: Path, channels: int, zone_h: int = 0, later_min: int = 5) -> None:
    """Thirty calls of two sites, in keys of a zone that is so many hours ahead of UTC."""
    for number in range(30):
        moment = BEGIN + timedelta(hours=7 * number)
        wall = moment + timedelta(hours=zone_h)
        path = folder / f"{wall:%Y/%m/%d}/{('oslo', 'bonn')[number % 2]}/{wall:%H%M%S}_call{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros((800, channels)), 8000)
        seconds = (moment + timedelta(minutes=later_min)).timestamp()
        os.utime(path, (seconds, seconds))
    (folder / "readme.txt").write_text("no audio")


@pytest.mark.parametrize(
    ("zone_h", "timezone", "expected"),
    [(0, "Europe/Berlin", "UTC"), (1, "Europe/Berlin", "Europe/Berlin"), (0, "UTC", "UTC"),
     (-5, "America/New_York", "America/New_York"),
     (0, "America/New_York", "UTC")],
)  # fmt: skip
def test_the_zone_is_told_from_when_objects_were_written(tmp_path, zone_h, timezone, expected):
    fill(tmp_path, 1, zone_h)
    found = survey(SourceOptions(uri=str(tmp_path), timezone=timezone))
    assert found.values == {
        ("source", "pattern"): "{date:%Y/%m/%d}/{site}/{time:%H%M%S}_{call_id}.{ext}",
        ("source", "key_timezone"): expected,
    }
    assert found.notes["source", "pattern"] == [
        "Seen: 30 of 30 keys that were looked at match. Give the names their meaning."
    ]
    assert found.notes["source", "key_timezone"] == [
        f"Seen: with the keys taken as {expected}, objects were written 5 min after their times."
    ]
    assert found.notes["segmentation", "channels"] == [
        "Seen: of 6 recordings 6 with 1 channel at 8000 Hz (pcm_16)."
    ]


def test_a_bucket_that_was_copied_later_shows_no_zone(tmp_path):
    fill(tmp_path, 2, later_min=60 * 24 * 30)
    found = survey(SourceOptions(uri=str(tmp_path), timezone="Europe/Berlin"))
    assert ("source", "key_timezone") not in found.values
    assert "720.0 h after their times: the zone cannot be told" in found.notes["source", "key_timezone"][0]
    assert found.values["segmentation", "channels"] == "split"


def test_the_written_file_reads_the_bucket(tmp_path):
    fill(tmp_path / "calls", 2)
    (tmp_path / "calls/2026/11/02/bonn/160000_call1.wav").write_bytes(b"junk")
    found = survey(SourceOptions(uri=str(tmp_path / "calls"), timezone="Europe/Berlin"))
    config = tmp_path / "emolake.toml"
    config.write_text(commented_toml(found, uri=str(tmp_path / "calls"), timezone="Europe/Berlin"), "utf-8")
    settings = load_settings(config)
    assert settings.source.pattern == "{date:%Y/%m/%d}/{site}/{time:%H%M%S}_{call_id}.{ext}"
    assert (settings.source.key_timezone, settings.segmentation.channels) == ("UTC", "split")
    text = config.read_text("utf-8")
    assert "# Seen: 30 of 30 keys that were looked at match." in text
    assert "# Seen: 1 recording could not be opened." in text


def test_an_empty_source_is_no_proposal(tmp_path):
    with pytest.raises(EmolakeError, match="holds no object; there is nothing to propose"):
        survey(SourceOptions(uri=str(tmp_path)))


def test_keys_without_endings_and_dates(tmp_path):
    for number in range(20):
        (tmp_path / f"RE{number:032x}").write_bytes(b"RIFF")
    found = survey(SourceOptions(uri=str(tmp_path)))
    assert found.values == {
        ("source", "sniff"): True, ("source", "pattern"): "{call_id}", ("source", "date_from"): "last_modified",
        ("aggregate", "by"): [],
    }  # fmt: skip
    (tmp_path / "emolake.toml").write_text(commented_toml(found, uri="."))
    settings = load_settings(tmp_path / "emolake.toml")
    assert (settings.source.date_from, settings.source.sniff, settings.aggregate.by) == (
        "last_modified",
        True,
        (),
    )


def test_the_command_looks_at_a_bucket_of_a_real_server(s3, tmp_path):
    url, folder = s3
    fill(folder / "calls", 2)
    done = subprocess.run(
        [Path(sys.executable).with_name("emolake"), "init", "--config", "made.toml", "--from", "s3://calls",
         "--endpoint-url", url, "--timezone", "Europe/Berlin"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    assert "source.pattern: Seen: 30 of 30 keys that were looked at match." in done.stderr
    settings = load_settings(tmp_path / "made.toml")
    assert (settings.source.uri, settings.source.endpoint_url) == ("s3://calls", url)
    assert (settings.source.key_timezone, settings.segmentation.channels) == ("UTC", "split")
