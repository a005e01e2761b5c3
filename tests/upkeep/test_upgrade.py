"""An upgrade is rehearsed: on a copy, with every table compared, and nothing of the original touched."""

import json
import sqlite3
import sys
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import duckdb
import pytest

from emolake.cli.app import main
from emolake.lake.connect import connected, open_lake
from emolake.lake.schema import append
from emolake.lake.transact import LakeError
from emolake.lake.warehouse import WarehouseOptions
from emolake.schemas.tables import RUNS
from emolake.settings import Settings
from emolake.tasks.commit import commit_shard
from emolake.upkeep import upgrade
from emolake.upkeep.upgrade import rehearse_upgrade

from made_lake import DAY, KEY, Call, run_row, shard_rows, sqlite_warehouse, tiled

pytestmark = pytest.mark.slow

# Made with DuckDB 1.4.4 and its DuckLake of format 0.3: tables of emolake with replaced and deleted rows; its data path
# was then made relative.
OLD_LAKE = Path(__file__).with_name("lake_of_format_0_3.zip")
SCHEMAS = (
    "FROM postgres_query('server', 'SELECT count(*)::INT FROM pg_namespace WHERE nspname LIKE ''emolake%''')"
)


def fill(warehouse: WarehouseOptions) -> None:
    """A lake with replaced rows, deleted rows, and a table of somebody else's with an odd name."""
    with open_lake(warehouse) as lake:
        for version in ("v1", "v2"):
            rows = shard_rows(
                [Call(f"{n}.wav", DAY, tiled(["anger", None]), version=version) for n in range(3)]
            )
            commit_shard(lake, rows, key=KEY, run_id=version, message="made")
        lake.connection.execute("DELETE FROM lake.segments WHERE segment_index = 1 AND recording_id < '8'")
        append(lake.connection, RUNS, run_row())
        lake.connection.execute(
            'CREATE TABLE lake."an analyst\'s ""own"" table" AS SELECT 1 AS "a b", NULL AS c'
        )


def state(warehouse: WarehouseOptions) -> tuple[object, ...]:
    """What must not change: bytes of the data and of a catalog's file, and the newest snapshot."""
    files = {path: sha256(path.read_bytes()).hexdigest() for path in Path(warehouse.data).rglob("*.parquet")}
    catalog = warehouse.parsed_catalog
    content = catalog.file.read_bytes() if catalog.file else b""
    with open_lake(warehouse, read_only=True) as lake:
        return files, content, lake.latest_snapshot(), lake.rows("SELECT count(*) FROM segments")


def ended(monkeypatch: pytest.MonkeyPatch, *command: str) -> object:
    """Run a command and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["emolake", *command])
    with pytest.raises(SystemExit) as ending:
        main()
    return ending.value.code or 0


def old_lake(folder: Path) -> WarehouseOptions:
    """Unpack the lake of an older format."""
    with zipfile.ZipFile(OLD_LAKE) as packed:
        packed.extractall(folder)
    warehouse = sqlite_warehouse(folder)
    with sqlite3.connect(folder / "catalog.sqlite") as catalog:
        value = f"{warehouse.data}/"
        catalog.execute("UPDATE ducklake_metadata SET value = ? WHERE key = 'data_path'", [value])
    catalog.close()
    return warehouse


def test_a_lake_of_today_opens_as_it_is(warehouse: WarehouseOptions) -> None:
    fill(warehouse)
    before = state(warehouse)
    found = rehearse_upgrade(Settings(warehouse=warehouse))
    assert (found.must_migrate, found.format_before, found.format_after) == (False, "1.0", "1.0")
    assert (found.new_tables, found.new_columns, found.new_views, found.different) == ([], [], [], [])
    rows = {each.table: each.rows_after for each in found.tables}
    assert (rows["recordings"], rows["guards"], rows["runs"]) == (3, 16, 1)
    assert 3 <= rows["segments"] < 6
    assert rows['an analyst\'s "own" table'] == 1
    assert state(warehouse) == before
    if warehouse.catalog.startswith("postgres:"):
        with connected(warehouse) as connection:
            target = warehouse.parsed_catalog.target
            connection.execute(f"ATTACH '{target}' AS server (TYPE postgres)")
            assert connection.execute(SCHEMAS).fetchall() == [(0,)]


def test_what_this_version_adds_is_named_and_added_to_the_copy_only(warehouse: WarehouseOptions) -> None:
    fill(warehouse)
    with open_lake(warehouse) as lake:  # as an earlier version of emolake left it
        lake.connection.execute("DROP TABLE lake.guards")
        lake.connection.execute("ALTER TABLE lake.recordings DROP COLUMN deleted_at")
        lake.connection.execute("DROP VIEW lake.calls")
    files = sorted(Path(warehouse.data).rglob("*"))
    found = rehearse_upgrade(Settings(warehouse=warehouse))
    assert (found.new_tables, found.new_columns) == (["guards"], ["recordings.deleted_at"])
    assert found.new_views == ["calls"]
    assert found.different == []
    assert sorted(Path(warehouse.data).rglob("*")) == files
    with open_lake(warehouse, read_only=True) as lake, pytest.raises(duckdb.Error, match="deleted_at"):
        lake.connection.execute("SELECT deleted_at FROM recordings")


def test_a_lake_of_an_older_format_has_to_be_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse = old_lake(tmp_path)
    config = tmp_path / "emolake.toml"
    config.write_text('[warehouse]\ncatalog = "sqlite:catalog.sqlite"\ndata = "data"\n')
    content = (tmp_path / "catalog.sqlite").read_bytes()
    command = ["upgrade", "--rehearse", "--config", str(config)]
    assert ended(monkeypatch, *command) == 0
    shown = capsys.readouterr()
    assert "segments       │           5 │          5 │ same" in shown.out
    assert "has to be migrated from format 0.3 to 1.0" in shown.err
    assert ended(monkeypatch, *command, "--format", "json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["must_migrate"], found["made_by"], len(found["tables"])) == (True, "DuckDB 6ddac802ff", 9)
    assert (tmp_path / "catalog.sqlite").read_bytes() == content
    with pytest.raises(LakeError), open_lake(warehouse):  # the original is still of the older format
        pass


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("DELETE FROM lake.segments WHERE segment_index = 0", "segments"),
        ("UPDATE lake.recordings SET uri = upper(uri)", "recordings"),
        ("INSERT INTO lake.analyses SELECT * FROM lake.analyses LIMIT 1", "analyses"),
    ],
    ids=["lost", "changed", "twice"],
)
def test_a_table_that_is_not_read_as_before_fails(
    embedded: WarehouseOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: str,
    table: str,
) -> None:
    """What an upgrade with a fault would do is done to the copy."""
    fill(embedded)
    added: Callable[[duckdb.DuckDBPyConnection], None] = upgrade.create_tables

    def faulty(connection: duckdb.DuckDBPyConnection) -> None:
        added(connection)
        connection.execute(change)

    monkeypatch.setattr(upgrade, "create_tables", faulty)
    config = tmp_path / "emolake.toml"
    config.write_text(f'[warehouse]\ncatalog = "{embedded.catalog}"\ndata = "{embedded.data}"\n')
    assert ended(monkeypatch, "upgrade", "--rehearse", "--config", str(config)) == 1
    shown = capsys.readouterr()
    assert shown.out.count("DIFFERENT") == 1
    assert f"{table} would not be read as before; stay with the versions" in shown.err
    with open_lake(embedded, read_only=True) as lake:
        assert lake.rows("SELECT count(*) FROM analyses") == [(3,)]


def test_what_cannot_be_rehearsed_is_said(
    embedded: WarehouseOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = Settings(warehouse=embedded)
    with pytest.raises(LakeError, match=r"catalog\.sqlite is not there yet; the first run makes it"):
        rehearse_upgrade(settings)
    config = tmp_path / "emolake.toml"
    config.write_text("")
    assert ended(monkeypatch, "upgrade", "--config", str(config)) == 2
    assert "emolake upgrade --rehearse" in capsys.readouterr().err
    fill(embedded)
    next(Path(embedded.data).rglob("segments/**/*.parquet")).unlink()
    with pytest.raises(LakeError, match=r"files of segments cannot be read .*emolake verify"):
        rehearse_upgrade(settings)
    Path(embedded.parsed_catalog.target).write_bytes(b"no database" * 1000)
    with pytest.raises(LakeError, match=r"could not be copied .*SQLite file"):
        rehearse_upgrade(settings)
