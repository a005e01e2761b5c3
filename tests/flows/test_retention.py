"""Retention: what is erased by age leaves the published file too, and a count changes nothing."""

from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from emolake.errors import EmolakeError
from emolake.flows.retention import retention
from emolake.lake.connect import open_lake
from emolake.pipeline.publishing import publish_lake
from emolake.settings import load_settings
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, shard_rows

pytestmark = pytest.mark.slow
AGO = timedelta(days=9000)  # erased whatever today is


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "emolake.toml"
    path.write_text('[publish]\ninclude = ["recordings"]\npersonal = true\n')
    with open_lake(load_settings(path).warehouse) as lake:
        commit_shard(
            lake, shard_rows([Call("old.wav", day=DAY - AGO)]), key=KEY, run_id="run-1", message="made"
        )
    return path


def published_recordings(config: Path) -> int:
    with duckdb.connect(load_settings(config).publish.file, read_only=True) as file:
        ((rows,),) = file.execute("SELECT count(*) FROM recordings").fetchall()
    return int(rows)


def test_what_is_erased_leaves_the_published_file_too(config: Path) -> None:
    publish_lake(load_settings(config))
    assert retention.fn(8000, config)["recordings"] == 1
    assert published_recordings(config) == 1  # only counted
    assert retention.fn(8000, config, dry_run=False)["recordings"] == 1
    assert published_recordings(config) == 0


def test_a_published_file_that_was_left_behind_is_written_by_the_next_run(config: Path) -> None:
    publish_lake(load_settings(config))
    path = Path(load_settings(config).publish.file)
    before = path.read_bytes()
    path.write_text("mine")
    with pytest.raises(EmolakeError, match=r"holds nothing of it any more, but .*analytics\.duckdb may"):
        retention.fn(8000, config, dry_run=False)
    path.write_bytes(before)
    assert retention.fn(8000, config, dry_run=False)["recordings"] == 0
    assert published_recordings(config) == 0
