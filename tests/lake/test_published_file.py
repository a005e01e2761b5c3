"""The published file: the lake's rows without what is personal, swapped in whole, and read by DuckDB since 1.0."""

import errno
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import duckdb
import pyarrow as pa
import pytest

from emolake.lake.connect import open_lake
from emolake.lake.disclosure import Disclosure
from emolake.lake.published_file import PublishError, publish
from emolake.lake.schema import append
from emolake.lake.stored_columns import create_filled
from emolake.lake.warehouse import WarehouseOptions
from emolake.schemas.days import DayRange
from emolake.schemas.tables import MODEL_HEALTH, RUNS, TABLES, Grain
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, run_row, shard_rows, sqlite_warehouse, tiled

MARK = "Rumpelstilzchen"
CALLS = [
    Call(f"{MARK}-{index}.wav", pieces=tiled(["anger", "neutral", None]), duration_s=30.0, talk_s=20.0,
         status="truncated", error=f"truncated: {MARK}")
    for index in range(3)
]  # fmt: skip


def fill(warehouse: WarehouseOptions, calls=CALLS) -> None:
    with open_lake(warehouse) as lake:
        commit_shard(lake, shard_rows(calls), key=KEY, run_id="run-1", message="made")
        list(aggregate_days(lake, DayRange(DAY, DAY), dimensions=("site",), run_id="run-1"))
        marked = run_row(named_keys=[MARK], warnings=[MARK], options=MARK, error=MARK)
        append(lake.connection, RUNS, marked)


def disclosed(*include: Grain, personal: bool = False) -> Disclosure:
    return Disclosure(frozenset({"site"}), frozenset({"site", "agent"}), frozenset(include), personal)


def published(warehouse: WarehouseOptions, path: Path, **options) -> None:
    disclosure = options.pop("disclosure", disclosed())
    with open_lake(warehouse, read_only=True) as lake:
        publish(lake, path, disclosure, memory_mb=512, **options)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory) -> WarehouseOptions:
    made = sqlite_warehouse(tmp_path_factory.mktemp("lake"))
    fill(made)
    return made


@pytest.fixture(scope="module")
def made(warehouse, tmp_path_factory) -> Path:
    """A file that was published; tests work on copies of it."""
    path = tmp_path_factory.mktemp("made") / "a.duckdb"
    published(warehouse, path)
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / "a.duckdb"))


def tables(path: Path) -> dict[str, list[tuple]]:
    with duckdb.connect(str(path), read_only=True) as file:
        names = [name for (name,) in file.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {name: file.execute(f'FROM "{name}" ORDER BY ALL').fetchall() for name in names}


def test_the_summaries_are_those_of_the_lake(warehouse, made):
    found = tables(made)
    assert {"daily_emotions", "runs", "model_health", "published"} <= set(found)
    assert not {"recordings", "segments", "analyses", "guards", "erasures"} & set(found)
    with open_lake(warehouse, read_only=True) as lake:
        assert found["daily_emotions"] == lake.answered_rows("FROM daily_emotions ORDER BY ALL")
    ((_, version, snapshot, names, personal),) = found["published"]
    assert (version, personal) == ("0.1.0", False)
    assert snapshot > 0
    assert sorted(names) == sorted(found.keys() - {"published"})


def test_nothing_personal_is_in_it_unless_it_is_asked_for(warehouse, made, everything, tmp_path):
    assert MARK not in repr(tables(made))
    published(warehouse, tmp_path / "a.duckdb", disclosure=disclosed(*Grain))
    assert MARK not in repr(tables(tmp_path / "a.duckdb"))
    assert MARK in repr(tables(everything))


def test_dimensions_that_may_name_somebody_are_left_out(tmp_path):
    made = sqlite_warehouse(tmp_path)
    rows = shard_rows(CALLS)
    dimensions = [[("site", "oslo"), ("agent", MARK)]] * len(CALLS)
    at = rows.recordings.schema.get_field_index("dimensions")
    field = rows.recordings.schema.field(at)
    recordings = rows.recordings.set_column(at, field, pa.array(dimensions, field.type))
    with open_lake(made) as lake:
        append(lake.connection, TABLES[0], recordings)
    for open_, said in ((frozenset({"site"}), False), (frozenset({"site", "agent"}), True)):
        path = tmp_path / "a.duckdb"
        disclosure = Disclosure(open_, frozenset({"site", "agent"}), frozenset({Grain.recordings}))
        published(made, path, disclosure=disclosure)
        found = repr(tables(path)["recordings"])
        assert (f"'agent': '{MARK}'" in found) is said
        assert "'site': 'oslo'" in found


@pytest.fixture(scope="module")
def everything(warehouse, tmp_path_factory) -> Path:
    """A file with all that may be in one."""
    path = tmp_path_factory.mktemp("everything") / "a.duckdb"
    published(warehouse, path, disclosure=disclosed(*Grain, personal=True))
    return path


def test_types_and_sentences_are_those_of_the_dictionary(everything):
    path = everything
    with duckdb.connect(str(path), read_only=True) as file:
        asked = "SELECT column_name, data_type, comment FROM duckdb_columns() WHERE table_name = $name"
        for table in TABLES:
            if table.name not in tables(path):
                continue
            found = {
                name: (kind, said)
                for name, kind, said in file.execute(asked, {"name": table.name}).fetchall()
            }
            assert list(found) == table.schema.names
            for column in table.columns:
                kind, said = found[column.name]
                assert kind.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ") == column.sql_type
                assert said.startswith(column.description)


def stored_without_elements(path: Path) -> list[tuple]:
    """List and map columns with a row group that has no element stored: DuckDB 1.0 cannot read these."""
    with duckdb.connect(str(path), read_only=True) as file:
        groups: dict[tuple, list[str]] = {}
        for (name,) in file.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            asked = (
                "SELECT row_group_id, column_name, column_path, segment_type FROM pragma_storage_info($name)"
            )
            for group, column, place, kind in file.execute(asked, {"name": name}).fetchall():
                if len(place.split(",")) == 1 and kind.startswith("MAP") | kind.endswith("[]"):
                    groups.setdefault((name, column, group), [])
                elif (name, column, group) in groups:
                    groups[name, column, group].append(place)
    return [key for key, places in groups.items() if not any(", 1" in place for place in places)]


def test_duckdb_1_0_can_read_every_column(everything):
    """Checked by hand with the wheels of 1.0.0 and 1.1.3; what 1.0 fails at shows in the file."""
    path = everything
    assert stored_without_elements(path) == []
    with duckdb.connect() as file:
        (tags,) = file.execute(
            f"ATTACH '{path}' AS a (READ_ONLY); SELECT tags FROM duckdb_databases() WHERE database_name = 'a'"
        ).fetchall()
    assert "v1.0.0" in repr(tags)


@pytest.mark.parametrize(
    ("value", "begin"),
    [
        ("NULL", 0),
        ("NULL", 130_000),
        ("MAP {}", 130_000),
        ("MAP {}", 300_000),
        ("CASE WHEN i % 2 = 0 THEN MAP {} END", 300_000),
    ],
)
def test_columns_come_back_wherever_their_elements_begin(tmp_path, value, begin):
    rows, path = tmp_path / "rows.parquet", tmp_path / "a.duckdb"
    with duckdb.connect() as file:
        file.execute(
            f"COPY (SELECT i, CASE WHEN i < {begin} THEN {value} ELSE MAP {{'é\"': i::FLOAT}} END AS m "
            f"FROM range(250000) t(i)) TO '{rows}'"
        )
        file.execute(f"ATTACH '{path}' AS a (STORAGE_VERSION 'v1.0.0'); USE a; SET threads = 1")
        assert create_filled(file, "t", f"'{rows}'") == 250_000
        # What is without an element everywhere is all NULL or all empty.
        same = "x.m IS NOT DISTINCT FROM y.m" if begin < 250_000 else "coalesce(cardinality(x.m), 0) = 0"
        asked = f"SELECT count(*) FROM t AS x JOIN read_parquet('{rows}') AS y USING (i) WHERE {same}"
        assert file.execute(asked).fetchall() == [(250_000,)]
        file.execute("USE memory; CHECKPOINT a; DETACH a")
    assert stored_without_elements(path) == []


def test_readers_keep_the_file_that_they_have_open(warehouse, path):
    script = (
        "import duckdb, sys\n"
        "file = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == 'reader')\n"
        "print(file.execute('SELECT snapshot FROM published').fetchall(), flush=True)\n"
        "sys.stdin.readline()\n"
        "print(file.execute('SELECT snapshot FROM published').fetchall(), flush=True)\n"
    )
    published(warehouse, path)  # which leaves a mark beside it
    for kind in ("reader", "writer"):
        with subprocess.Popen(
            [sys.executable, "-c", script, path, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:  # fmt: skip
            assert other.stdout is not None
            before = other.stdout.readline()
            published(warehouse, path)
            after, _ = other.communicate("\n", timeout=30)
            assert other.returncode == 0
            assert after == before
    assert tables(path)["published"]


def test_what_somebody_wrote_into_the_file_before_is_not_taken_for_a_part_of_it(warehouse, path):
    script = (
        "import duckdb, os, sys\n"
        "file = duckdb.connect(sys.argv[1])\n"
        "file.execute('CREATE TABLE mine AS FROM range(10)')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, path], check=False)
    assert path.with_name("a.duckdb.wal").exists()
    published(warehouse, path)
    assert "mine" not in tables(path)
    assert not path.with_name("a.duckdb.wal").exists()


def test_killed_in_the_middle_the_old_file_stays_and_the_next_removes_what_is_left(warehouse, path, tmp_path):
    before = path.read_bytes()
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from emolake.lake import published_file\n"
        "from emolake.lake.connect import open_lake\n"
        "from emolake.lake.disclosure import Disclosure\n"
        "from emolake.lake.warehouse import WarehouseOptions\n"
        "published_file.move_whole = lambda *_: os.kill(os.getpid(), 9)\n"
        "with open_lake(WarehouseOptions(catalog=sys.argv[1], data=sys.argv[2]), read_only=True) as lake:\n"
        "    disclosure = Disclosure(frozenset(), frozenset())\n"
        "    published_file.publish(lake, Path(sys.argv[3]), disclosure, memory_mb=512)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, warehouse.catalog, warehouse.data, path], check=False, capture_output=True
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert path.read_bytes() == before
    left = [each for each in tmp_path.iterdir() if each.name.endswith(".partial")]
    assert left
    published(warehouse, path)
    assert not any(each.exists() for each in left)
    assert tables(path)["published"]


def test_two_at_once_are_written_one_after_the_other(warehouse, path):
    failed = []

    def work() -> None:
        try:
            published(warehouse, path)
        except Exception as error:  # noqa: BLE001 - it is shown below
            failed.append(error)

    threads = [Thread(target=work) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed
    assert tables(path)["published"]


@pytest.mark.parametrize("content", [b"", b"notes", b"x" * 8 + b"DUCK" + b"x" * 100])
def test_another_file_is_not_replaced_unless_that_is_asked_for(warehouse, tmp_path, content):
    path = tmp_path / "a.duckdb"
    path.write_bytes(content)
    if b"DUCK" in content:
        path.unlink()
        duckdb.connect(str(path)).execute("CREATE TABLE mine AS SELECT 1").close()
    before = path.read_bytes()
    with pytest.raises(PublishError, match="--force"):
        published(warehouse, path)
    assert path.read_bytes() == before


SOMEBODY_ELSE = (
    "import duckdb, sys\n"
    "file = duckdb.connect(sys.argv[1])\n"
    "file.execute('CREATE TABLE IF NOT EXISTS mine AS FROM range(10)')\n"
    "print('open', flush=True)\n"
    "sys.stdin.readline()\n"
)


@pytest.mark.parametrize("was_published", [False, True])
def test_a_database_that_another_program_holds_open_is_not_replaced(warehouse, tmp_path, was_published):
    path, wal = tmp_path / "a.duckdb", tmp_path / "a.duckdb.wal"
    if was_published:  # one that was there before somebody put another in its place
        published(warehouse, path)
        path.unlink()
    with subprocess.Popen(
        [sys.executable, "-c", SOMEBODY_ELSE, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        before = path.read_bytes(), wal.read_bytes()
        with pytest.raises(PublishError, match="cannot be seen: another program has it open.*--force"):
            published(warehouse, path)
        assert (path.read_bytes(), wal.read_bytes()) == before
        other.communicate("\n", timeout=30)
    assert len(tables(path)["mine"]) == 10


@pytest.mark.parametrize("kind", ["encrypted", "later", "broken"])
def test_a_database_that_cannot_be_read_is_replaced_only_where_that_is_asked_for(warehouse, tmp_path, kind):
    path, wal = tmp_path / "a.duckdb", tmp_path / "a.duckdb.wal"
    with duckdb.connect() as file:
        option = "(ENCRYPTION_KEY 'key')" if kind == "encrypted" else ""
        file.execute(f"ATTACH '{path}' AS mine {option}")
        file.execute("CREATE TABLE mine.mine AS FROM range(10)")
    content = bytearray(path.read_bytes())
    if kind == "later":
        content[12] = 0xFF
    if kind == "broken":
        del content[5000:]
    path.write_bytes(content)
    wal.write_text("mine")
    with pytest.raises(PublishError, match="cannot be seen: .*--force"):
        published(warehouse, path)
    assert path.read_bytes() == content
    assert wal.read_text() == "mine"
    published(warehouse, path, force=True)
    assert tables(path)["published"]


def test_a_published_file_is_known_without_its_mark_where_it_can_be_read(warehouse, path):
    assert not list(path.parent.glob(".*.published"))
    published(warehouse, path)
    (mark,) = path.parent.glob(".*.published")
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(PublishError, match="cannot be seen"):
        published(warehouse, path)
    mark.write_text("0 0")
    with pytest.raises(PublishError, match="cannot be seen"):
        published(warehouse, path)


def test_a_folder_and_a_place_that_cannot_be_written_are_named(warehouse, tmp_path):
    with pytest.raises(PublishError, match="is a folder"):
        published(warehouse, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(PublishError, match="with -o or publish.file$"):  # there was no file before
        published(warehouse, tmp_path / "file" / "a.duckdb")


def test_the_file_before_is_as_it_was_where_there_was_one(warehouse, tmp_path, monkeypatch):
    path = tmp_path / "b.duckdb"
    published(warehouse, path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr("emolake.lake.published_file.move_whole", full)
    with pytest.raises(PublishError, match="No space left on device; .*; the file before is as it was$"):
        published(warehouse, path)
    assert path.read_bytes() == before


def test_a_link_and_its_permissions_stay(warehouse, path, tmp_path):
    link = tmp_path / "b.duckdb"
    path.chmod(0o640)
    link.symlink_to(path)
    inode = path.stat().st_ino
    published(warehouse, link)
    assert link.is_symlink()
    assert path.stat().st_ino != inode
    assert path.stat().st_mode & 0o777 == 0o640


def test_an_empty_lake_gives_a_file_with_empty_tables(tmp_path):
    made = sqlite_warehouse(tmp_path)
    with open_lake(made):
        pass
    published(made, tmp_path / "a.duckdb", disclosure=disclosed(*Grain))
    found = tables(tmp_path / "a.duckdb")
    assert found["daily_emotions"] == []
    assert MODEL_HEALTH.name in found
