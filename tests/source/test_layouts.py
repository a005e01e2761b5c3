"""The ready patterns of docs/layouts.md, as the page has them: each reads its key, and plans it for one day."""

import os
import re
import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from emolake.schemas.records import SourceObject
from emolake.source.access import SourceOptions
from emolake.source.directives import DIRECTIVES
from emolake.source.enrichment import enrichment
from emolake.source.opening import open_source
from emolake.tasks.plan import list_day

PAGE = Path(__file__).parents[2] / "docs" / "layouts.md"
PLATFORMS = {"Amazon Connect", "Genesys Cloud", "Twilio", "Zoom", "FreePBX", "Asterisk", "Five9"}


def ready() -> list[list[str]]:
    section = PAGE.read_text("utf-8").partition("## Ready patterns")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in section.splitlines()
        if line.startswith("| ")
    ]
    filled, pattern = [], ""
    for platform, written, *rest in rows[1:]:
        pattern = pattern if written == "as above" else written.strip("`")
        filled.append([platform, pattern, *rest])
    return filled


READY = ready()


def test_the_page_has_the_platforms():
    assert {name for name in PLATFORMS if any(row[0].startswith(name) for row in READY)} == PLATFORMS
    assert len(READY) >= 18


@pytest.mark.parametrize("row", READY, ids=[row[0] for row in READY])
def test_a_ready_pattern_reads_its_key(row, tmp_path):
    _, pattern, settings, key, day, recorded_at, dimensions = row
    key, uploaded = key.strip("`"), date(2026, 11, 20) if day == "of the upload" else None
    path = tmp_path / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt ")
    if uploaded:
        now = datetime(2026, 11, 19, 23, 30, tzinfo=UTC).timestamp()
        os.utime(path, (now, now))
    expected = uploaded or date.fromisoformat(day)
    more = tomllib.loads("\n".join(re.findall("`(.+?)`", settings)))
    options = SourceOptions(
        uri=str(tmp_path), timezone="Europe/Berlin",
        pattern=tomllib.loads(f"p = {pattern}")["p"] if pattern.startswith("[") else pattern, **more,
    )  # fmt: skip
    source = open_source(options.uri, options.s3)
    beyond = enrichment(source, options)
    found = [
        each
        for distance in range(-3, 4)
        for each in list_day(source, options.key_pattern(), expected + timedelta(days=distance), beyond)
        if isinstance(each, SourceObject)
    ]
    (item,) = found
    assert (item.key, item.date) == (key, expected)
    moment = datetime.fromisoformat(recorded_at).replace(tzinfo=UTC) if recorded_at else None
    assert item.recorded_at == moment
    assert " ".join(f"{name}={value}" for name, value in item.dimensions.items()) == dimensions


def test_the_page_names_every_directive():
    section = PAGE.read_text("utf-8").partition("## What a pattern can say")[2].partition("\n## ")[0]
    assert set(re.findall(r"%([-^]?\w)", section)) == set(DIRECTIVES)
