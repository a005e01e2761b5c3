"""Relocation: the catalog follows files that were moved or copied, and changes nothing while one of them is missing."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.lake.unopened import OtherDataError
from emolake.lake.warehouse import WarehouseOptions
from emolake.schemas.tables import RUNS, SEGMENTS
from emolake.settings import Settings
from emolake.tasks.commit import commit_shard
from emolake.upkeep.relocate import RelocationError, plan_relocation, relocate
from emolake.upkeep.verify import verify_files

from made_lake import KEY, Call, run_row, shard_rows, sqlite_warehouse

pytestmark = pytest.mark.slow


def fill(warehouse: WarehouseOptions) -> None:
    with open_lake(warehouse) as lake:
        for version in ("v1", "v2"):  # files that only older snapshots need
            rows = shard_rows([Call("a.wav", version=version), Call("b.wav", version=version)])
            commit_shard(lake, rows, key=KEY, run_id="run-1", message="made")


def moved(warehouse: WarehouseOptions, data: Path) -> Settings:
    """The configuration with its data elsewhere."""
    return Settings(warehouse=warehouse.model_copy(update={"data": str(data)}))


def segments(settings: Settings) -> int:
    with open_lake(settings.warehouse, read_only=True) as lake:
        ((now,),) = lake.rows("SELECT count(DISTINCT recording_id) FROM segments")
        newest = lake.latest_snapshot()
        for version in range(3, newest):  # older snapshots are read too
            lake.rows(f"SELECT sum(end_s) FROM segments AT (VERSION => {version})")
        return int(now)


def refused(settings: Settings, match: str) -> None:
    for attempt in (plan_relocation, relocate):
        with pytest.raises(RelocationError, match=match):
            attempt(settings)


def test_a_lake_whose_files_were_moved_is_opened_again(warehouse: WarehouseOptions, tmp_path: Path) -> None:
    """As after warehouse.data was mistyped once, and corrected."""
    fill(warehouse)
    old, new = Path(warehouse.data), tmp_path / "it's the right place"
    settings = moved(warehouse, new)
    for read_only in (True, False):
        with (
            pytest.raises(OtherDataError, match=rf"its files are at {old}; .*`emolake relocate --dry-run`"),
            open_lake(settings.warehouse, read_only=read_only),
        ):
            pass
    refused(settings, r"are not at .*is not there; copy all below")
    shutil.copytree(old, new)
    lost = sorted(new.rglob("segments/**/*.parquet"))[0]
    content = lost.read_bytes()
    lost.unlink()
    refused(settings, f"^1 of .*{lost.name}.*is not there")
    lost.write_bytes(content[:-1])
    refused(settings, rf"^1 of .*has {len(content) - 1} bytes there")
    lost.write_bytes(content)
    (new / "mine.parquet").write_bytes(content)
    refused(settings, "Parquet files that are not this lake's, such as mine.parquet")
    (new / "mine.parquet").unlink()
    assert segments(Settings(warehouse=warehouse)) == 2  # all this changed nothing

    (new / "main" / "segments" / "left-by-a-kill.parquet").write_bytes(b"")
    planned = plan_relocation(settings)
    assert (planned.old, planned.new, planned.is_needed) == (str(old), str(new), True)
    assert planned.orphans == ["main/segments/left-by-a-kill.parquet"]
    assert planned.files == len(list(old.rglob("*.parquet")))
    assert segments(Settings(warehouse=warehouse)) == 2  # and neither did the plan
    assert relocate(settings) == planned
    shutil.rmtree(old)
    assert segments(settings) == 2
    assert not relocate(settings).is_needed
    with open_lake(settings.warehouse) as lake:
        append(lake.connection, SEGMENTS, shard_rows([Call("new.wav")]).segments)
        assert verify_files(lake, settings).breaches == []
    assert not old.exists()  # what is written now goes to the new place
    assert segments(settings) == 3


def test_a_copy_of_a_whole_lake_is_a_lake_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    original = sqlite_warehouse(tmp_path / "one")
    fill(original)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    copy = Settings(warehouse=sqlite_warehouse(tmp_path / "two"))
    relocate(copy)
    with open_lake(copy.warehouse) as lake:
        append(lake.connection, SEGMENTS, shard_rows([Call("new.wav")]).segments)
    assert segments(copy) == 3
    assert segments(Settings(warehouse=original)) == 2


@pytest.mark.parametrize("alive", [True, False])
def test_a_run_at_work_is_waited_for(embedded: WarehouseOptions, tmp_path: Path, alive: bool) -> None:
    fill(embedded)
    seen = datetime.now(UTC) - timedelta(hours=0 if alive else 9)
    with open_lake(embedded) as lake:
        append(lake.connection, RUNS, run_row(outcome="running", heartbeat_at=seen, finished_at=None))
    shutil.copytree(embedded.data, tmp_path / "new")
    settings = moved(embedded, tmp_path / "new")
    if alive:
        refused(settings, "a run is at work")
    else:
        assert relocate(settings).is_needed


def test_data_on_s3(s3: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = s3
    fill(sqlite_warehouse(tmp_path))
    on_s3 = sqlite_warehouse(tmp_path).model_copy(update={"data": "s3://calls/lake", "endpoint_url": url})
    settings = Settings(warehouse=on_s3)
    refused(settings, "is not there; copy all below")
    shutil.copytree(tmp_path / "data", folder / "calls" / "lake")
    assert relocate(settings).new == "s3://calls/lake"
    assert segments(settings) == 2
