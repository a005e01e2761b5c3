"""Upkeep of a lake whose data lies on S3: what is merged, removed and erased there is gone from the bucket."""

import time
from pathlib import Path

import pytest

from emolake.lake.connect import open_lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.schemas.days import DayRange
from emolake.settings import MaintainOptions, Settings, load_settings
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard
from emolake.upkeep.erase import erase, request_by_name
from emolake.upkeep.maintain import maintain
from emolake.upkeep.verify import verify

from made_lake import DAY, KEY, Call, shard_rows, tiled

CALLS = [Call(f"{number}.wav", pieces=tiled(["anger", None]), duration_s=20.0) for number in range(3)]


@pytest.fixture
def settings(s3: tuple[str, Path], warehouse: WarehouseOptions, tmp_path: Path) -> Settings:
    """A lake of three shards on one day; only the source names the server."""
    url, folder = s3
    (folder / "lake").mkdir()
    config = tmp_path / "emolake.toml"
    config.write_text(
        f'[source]\nuri = "s3://calls"\nendpoint_url = "{url}"\n'
        f'[warehouse]\ncatalog = "{warehouse.catalog}"\ndata = "s3://lake/data"\n'
    )
    settings = load_settings(config)
    with open_lake(settings.warehouse) as lake:
        for number, call in enumerate(CALLS):
            commit_shard(lake, shard_rows([call]), key=KEY, run_id=f"run-{number}", message="made")
        list(aggregate_days(lake, DayRange(DAY, DAY), dimensions=["site"], run_id="run-2"))
    return settings


def uris(settings: Settings) -> list[str]:
    with open_lake(settings.warehouse, read_only=True) as lake:
        return [uri for (uri,) in lake.rows("SELECT uri FROM recordings ORDER BY uri")]


def test_verify_maintain_and_erase(settings: Settings, s3: tuple[str, Path]) -> None:
    bucket = s3[1] / "lake" / "data" / "main"
    assert verify(settings).breaches == []
    assert maintain(settings).days_merged == 3
    orphan = bucket / "segments" / f"date={DAY}" / "orphan.parquet"
    orphan.write_bytes(b"of a run that was killed")
    (notice,) = verify(settings).notices
    assert "orphan.parquet" in notice.finding
    at_once = MaintainOptions(file_hours=1e-9, orphan_hours=1e-9).model_copy(update={"snapshot_days": 1e-9})
    time.sleep(0.1)
    done = maintain(settings.model_copy(update={"maintain": at_once}))
    assert done.snapshots_expired > 0
    assert done.orphans_removed == 1
    assert not orphan.exists()
    assert uris(settings) == [call.uri for call in CALLS]
    erased = erase(settings, [request_by_name(settings, CALLS[1].uri)])
    assert erased.removed_files > 0
    assert erased.scanned_files == len(list(bucket.rglob("*.parquet")))
    assert uris(settings) == [CALLS[0].uri, CALLS[2].uri]
    named = (CALLS[1].uri.encode(), CALLS[1].recording_id.encode())
    assert not [path for path in s3[1].rglob("*.parquet") if any(name in path.read_bytes() for name in named)]
    assert verify(settings).breaches == []
    lost = next(bucket.rglob("segments/**/*.parquet"))
    lost.unlink()
    assert [lost.name in breach.finding for breach in verify(settings).breaches] == [True]
