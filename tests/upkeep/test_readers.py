"""What is shown to somebody comes from one snapshot, though maintenance or an erasure takes it away in between."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from emolake.cli.app import main
from emolake.lake.connect import open_lake
from emolake.lake.transact import Lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.schemas.days import DayRange
from emolake.sql import statement
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, shard_rows, sqlite_warehouse, tiled

QUESTION = (
    "SELECT recording_id, count(*) AS n, sum(end_s - start_s) AS s FROM segments GROUP BY ALL ORDER BY ALL"
)
CALLS = [Call(f"{n}.wav", DAY, tiled(["anger", None]), duration_s=20.0) for n in range(3)]
COMMANDS = {
    "query as a table": ("query", QUESTION),
    "query as CSV": ("query", QUESTION, "--format", "csv"),
    "query as JSON": ("query", QUESTION, "--format", "json"),
    "query as Parquet": ("query", QUESTION, "--format", "parquet", "-o", "answer.parquet"),
    "report": ("report", "-o", "report.html"),
    "verify": ("verify", "--format", "json"),
    "gaps": ("gaps", "--format", "json"),
    "retry": ("retry", "--quarantined", "--dry-run"),
    "erase": ("erase", "--where", "true", "--dry-run"),
}


def commit(warehouse: WarehouseOptions, calls: list[Call], version: str) -> None:
    """Replace calls, and aggregate their day; but for ids and times the lake is then as before."""
    with open_lake(warehouse) as lake:
        commit_shard(lake, shard_rows(calls), key=KEY, run_id=version, message="made", force=True)
        list(aggregate_days(lake, DayRange(DAY, DAY), dimensions=["site"], run_id=version))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake and its configuration."""
    folder = tmp_path_factory.mktemp("lake")
    bad = Call("bad.wav", status="quarantined", error="undecodable: decode: no audio", pieces=())
    commit(sqlite_warehouse(folder), [*CALLS, bad], "v1")
    (folder / "emolake.toml").write_text('[warehouse]\ncatalog = "sqlite:catalog.sqlite"\ndata = "data"\n')
    return folder


@contextmanager
def struck(warehouse: WarehouseOptions, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let the first snapshot that is read expire as soon as it was taken; give the snapshots that expired."""
    taken = Lake._current_snapshot
    strikes: list[int] = []

    def take(lake: Lake) -> int:
        base = taken(lake)
        if not strikes:
            strikes.append(base)
            commit(warehouse, CALLS[:1], f"v{base}")
            with open_lake(warehouse) as other:
                expired = {"snapshots": list(range(base, other.latest_snapshot()))}
                other.rows(statement("expire_snapshots"), expired)
        return base

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "_current_snapshot", take)
        yield strikes


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_command_whose_snapshot_expires_shows_what_it_shows_in_peace(
    command: tuple[str, ...],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)

    def shown() -> tuple[object, ...]:
        monkeypatch.setattr(sys, "argv", ["emolake", *command])
        with pytest.raises(SystemExit) as ended:
            main()
        written = [path.read_bytes() for path in (Path("answer.parquet"),) if path.is_file()]
        pages = [figures(path.read_text("utf-8")) for path in (Path("report.html"),) if path.is_file()]
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err.partition("Time travel")[0], written, pages

    in_peace = shown()
    with struck(sqlite_warehouse(folder), monkeypatch) as strikes:
        assert shown() == in_peace
    assert len(strikes) == 1


def figures(page: str) -> str:
    """Return a report without the lines that name its snapshot and moments."""
    return "\n".join(line for line in page.splitlines() if "snapshot" not in line and "UTC" not in line)
