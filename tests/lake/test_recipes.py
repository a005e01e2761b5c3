"""The lines of `connect`: run by Python and by DuckDB's command line, and without a secret."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import boto3
import duckdb
import pytest

from emolake.cli.arguments import Tool
from emolake.lake.connect import open_lake
from emolake.lake.recipes import Recipes, recipe, tools
from emolake.lake.s3_secret import place_of_s3
from emolake.lake.schema import append
from emolake.lake.warehouse import Catalog, WarehouseOptions
from emolake.schemas.tables import RUNS

from chaos.servers import ACCESS_KEY, SECRET_KEY, new_database
from made_lake import run_row, sqlite_warehouse

SECRET = "hunter2"
ASKED = "FROM daily_emotions LIMIT 5"


def recipes(warehouse: WarehouseOptions) -> Recipes:
    place = place_of_s3(warehouse) if warehouse.data.startswith("s3://") else {}
    return Recipes(warehouse, "Asia/Seoul", "/where/it's/analytics.duckdb", place)


def fill(warehouse: WarehouseOptions) -> None:
    with open_lake(warehouse) as lake:
        append(lake.connection, RUNS, run_row("a run of ours"))


def by_python(lines: str) -> str:
    lines = lines.replace(ASKED, "SELECT run_id, started_at FROM runs")
    done = subprocess.run(
        [sys.executable, "-c", lines], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_command_line(lines: str, home: Path) -> str:
    """What DuckDB's own command line gives, with the extensions' wheels for what it would download."""
    program = shutil.which("duckdb", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("duckdb-cli is not installed")
    found = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    if not found.startswith(f"v{duckdb.__version__} "):
        pytest.skip(
            f"the extensions are for {duckdb.__version__}, the command line is {found or 'not there'}"
        )
    version = f"v{duckdb.__version__}"
    platform = duckdb.sql("PRAGMA platform").fetchall()[0][0]
    folder = home / ".duckdb" / "extensions" / version / platform
    folder.mkdir(parents=True)
    for name in ("ducklake", "sqlite_scanner", "postgres_scanner", "httpfs"):
        found_package = find_spec(f"duckdb_extension_{name}")
        assert found_package is not None
        (package,) = found_package.submodule_search_locations or [""]
        (folder / f"{name}.duckdb_extension").symlink_to(
            Path(package) / "extensions" / version / f"{name}.duckdb_extension"
        )
    lines = lines.replace(ASKED, "SELECT run_id, started_at FROM runs")
    done = subprocess.run(
        [program, "-csv"], input=lines, env=os.environ | {"HOME": str(home)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("program", ["python", "duckdb"])
def test_the_lines_open_an_embedded_lake(tmp_path: Path, program: str) -> None:
    folder = tmp_path / 'it\'s a "lake" {here}'
    folder.mkdir()
    warehouse = sqlite_warehouse(folder)
    fill(warehouse)
    lines = recipe(program, recipes(warehouse))
    shown = by_python(lines) if program == "python" else by_command_line(lines, tmp_path / "home")
    assert "a run of ours" in shown
    assert "2026-11-21 11:30:00" in shown  # 02:30 UTC in the configured zone


def test_what_is_opened_by_the_lines_cannot_be_written(tmp_path: Path) -> None:
    warehouse = sqlite_warehouse(tmp_path)
    fill(warehouse)
    lines = recipe("python", recipes(warehouse)).replace(
        'lake.sql("FROM daily', 'lake.sql("DELETE FROM runs -- '
    )
    done = subprocess.run(
        [sys.executable, "-c", lines], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "read-only" in done.stderr


@pytest.mark.server
def test_the_lines_open_a_lake_on_servers(s3, postgres: str, tmp_path: Path, monkeypatch) -> None:
    url, folder = s3
    (folder / "lake").mkdir()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    warehouse = WarehouseOptions(
        catalog=f"postgres:{new_database(postgres, tmp_path.name)}", data="s3://lake/data", endpoint_url=url
    )
    fill(warehouse)
    lines = {tool: recipe(tool, recipes(warehouse)) for tool in tools()}
    assert not any(SECRET_KEY in text or ACCESS_KEY in text for text in lines.values())
    assert "a run of ours" in by_python(lines["python"])
    assert "a run of ours" in by_command_line(lines["duckdb"], tmp_path / "home")


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("dbname=lake host=db password=hunter2", "dbname=lake host=db"),
        ("password=hunter2 dbname=lake", "dbname=lake"),
        ("dbname=lake password = 'hunter2 with \\' quotes' user=me", "dbname=lake user=me"),
        ("dbname=lake sslpassword=hunter2", "dbname=lake"),
        ("dbname=lake passfile=/home/me/.pgpass", "dbname=lake passfile=/home/me/.pgpass"),
        ("postgresql://me:hunter2@db:5432/lake", "postgresql://me@db:5432/lake"),
        ("postgres://me:hunter2@db/lake?sslmode=require", "postgres://me@db/lake?sslmode=require"),
        ("postgresql://db/lake?password=hunter2", "postgresql://db/lake"),
        (
            "postgresql://db/lake?user=me&password=hunter2&sslmode=require",
            "postgresql://db/lake?user=me&sslmode=require",
        ),
        ("postgresql://db/lake?password=hunter2&user=me", "postgresql://db/lake?user=me"),
    ],
)
def test_no_line_holds_a_password(target: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(Catalog("postgres", target).without_password()) == f"postgres:{shown}"
    monkeypatch.setattr(boto3, "Session", lambda: type("Session", (), {"region_name": "eu-central-1"})())
    warehouse = WarehouseOptions(catalog=f"postgres:{target}", data="s3://lake/data")
    for tool in tools():
        lines = recipe(tool, recipes(warehouse))
        assert SECRET not in lines
        assert "PGPASSWORD" in lines
        assert "AWS_SECRET_ACCESS_KEY" in lines
        assert "READ_ONLY" in lines


def test_the_command_knows_every_program() -> None:
    assert tools() == tuple(Tool)
