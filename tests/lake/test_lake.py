"""The lake: made once, written in whole transactions, tagged, and on both kinds of catalog alike."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from threading import Timer

import duckdb
import pyarrow as pa
import pytest
from prefect.exceptions import TerminationSignal
from prefect.utilities.engine import capture_sigterm

from emolake.lake import turns
from emolake.lake.connect import open_lake
from emolake.lake.schema import SchemaError, append, check_rows
from emolake.lake.transact import Lake, LakeError, take_guards
from emolake.lake.warehouse import WarehouseOptions
from emolake.schemas.tables import AGGREGATIONS, RECORDINGS, RUNS, SEGMENTS, TABLES
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, run_row, shard_rows, sqlite_warehouse

WRITER = Path(__file__).parents[1] / "lake_writer.py"


@pytest.fixture
def no_turns(monkeypatch):
    """Let transactions overlap, as those of a writer that takes no turns do."""
    monkeypatch.setattr(turns, "LONGEST_WAIT_S", 0.01)


def start_writer(warehouse: WarehouseOptions, run_id: str, mode: str) -> "subprocess.Popen[str]":
    """Start a writer process and wait until it has made its rows."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(WRITER.parent), *sys.path])}
    command = [sys.executable, str(WRITER), warehouse.model_dump_json(), run_id, mode]
    writer = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert writer.stdout
    assert writer.stdout.readline() == "ready\n"
    return writer


def go(writer: "subprocess.Popen[str]") -> None:
    assert writer.stdin
    writer.stdin.write("\n")
    writer.stdin.flush()


def append_run(lake: Lake, run_id: str) -> None:
    lake.transact(
        lambda connection: append(connection, RUNS, run_row(run_id)), author=run_id, message="made", extra={}
    )


def count(lake: Lake, table: str) -> int:
    return int(lake.rows(f"SELECT count(*) FROM {table}")[0][0])


def test_it_is_made_once_and_then_only_opened(warehouse):
    with open_lake(warehouse) as lake:
        assert lake.exists()
        tables = {name for (name,) in lake.rows("SELECT table_name FROM information_schema.tables")}
        assert tables >= {table.name for table in TABLES}
        made = lake.latest_snapshot()
        assert lake.rows("SELECT current_setting('TimeZone')") == [("UTC",)]
    with open_lake(warehouse) as lake:
        assert lake.latest_snapshot() == made
        assert count(lake, "guards") == 16


def test_a_commit_is_tagged_with_what_made_it(warehouse):
    with open_lake(warehouse) as lake:
        lake.transact(
            lambda connection: append(connection, RUNS, run_row()),
            author="run-1",
            message="2026-11-20, shard 1",
            extra={"model": "m", "config_id": "c"},
        )
        (tag,) = lake.rows(
            "SELECT author, commit_message, commit_extra_info FROM lake.snapshots() ORDER BY snapshot_id DESC LIMIT 1"
        )
    assert tag[:2] == ("run-1", "2026-11-20, shard 1")
    extra = json.loads(tag[2])
    assert (extra["model"], extra["config_id"]) == ("m", "c")
    assert set(extra) == {"model", "config_id", "based_on", "based_at"}


def test_an_error_in_the_work_leaves_nothing(warehouse):
    def work(connection: duckdb.DuckDBPyConnection) -> None:
        append(connection, RUNS, run_row())
        raise ZeroDivisionError

    with open_lake(warehouse) as lake:
        before = lake.latest_snapshot()
        with pytest.raises(ZeroDivisionError):
            lake.transact(work, author="a", message="m", extra={})
        assert count(lake, "runs") == 0
        assert lake.latest_snapshot() == before
        append_run(lake, "run-2")  # the connection is fit for the next one
        assert count(lake, "runs") == 1


@pytest.mark.parametrize("what", ["a transaction", "a query"])
@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, TerminationSignal)]
)
def test_a_signal_within_a_query_ends_it_as_what_it_raises(warehouse, number, raised, what):
    """DuckDB raises a RuntimeError, which would pass for a bug of ours, and lets its threads go on with the query."""
    endless = "SELECT sum(hash(a.range + b.range)) FROM range(10_000_000) AS a, range(10_000_000) AS b"

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        append(connection, RUNS, run_row())
        interrupt.start()
        connection.execute(endless)

    interrupt = Timer(1, os.kill, [os.getpid(), number])
    try:
        with capture_sigterm(), open_lake(warehouse) as lake:
            with pytest.raises(raised), lake.explained():
                if what == "a transaction":
                    lake.transact(work, author="a", message="m", extra={})
                else:
                    interrupt.start()
                    lake.rows(endless)
            assert count(lake, "runs") == 0
            append_run(lake, "run-2")  # the connection is fit for the next one
            assert count(lake, "runs") == 1
    finally:
        interrupt.cancel()


@pytest.mark.usefixtures("no_turns")
def test_a_transaction_that_lost_is_done_again_as_a_whole(warehouse):
    with open_lake(warehouse) as lake, open_lake(warehouse) as other:
        seen: list[int] = []

        def first(connection: duckdb.DuckDBPyConnection) -> None:
            take_guards(connection, [DAY])
            append(connection, RUNS, run_row("other"))

        def work(connection: duckdb.DuckDBPyConnection) -> None:
            seen.append(count(lake, "runs"))
            take_guards(connection, [DAY])
            if len(seen) == 1:
                other.transact(first, author="other", message="first", extra={})
            append(connection, RUNS, run_row("ours"))

        lake.transact(work, author="ours", message="second", extra={})
        assert seen == [0, 1]
        assert lake.rows("SELECT run_id FROM runs ORDER BY ALL") == [("other",), ("ours",)]
        assert lake.rows("SELECT sum(commits) FROM guards") == [(2,)]


def test_writers_of_neighbouring_days_do_not_meet(embedded):
    days = [DAY + timedelta(days=offset) for offset in range(16)]
    with open_lake(embedded) as lake:
        lake.transact(lambda connection: take_guards(connection, days), author="a", message="m", extra={})
        assert lake.rows("SELECT min(commits), max(commits), count(*) FROM guards") == [(1, 1, 16)]


@pytest.mark.usefixtures("no_turns")
def test_losing_every_time_is_told_with_the_remedy(embedded):
    with open_lake(embedded.model_copy(update={"commit_attempts": 2})) as lake, open_lake(embedded) as other:
        tries = []

        def work(connection: duckdb.DuckDBPyConnection) -> None:
            tries.append(1)
            take_guards(connection, [DAY])
            other.transact(lambda theirs: take_guards(theirs, [DAY]), author="o", message="m", extra={})

        with pytest.raises(LakeError, match=r"'mine' lost against other writers 2 times.*commit_attempts"):
            lake.transact(work, author="a", message="mine", extra={})
    assert len(tries) == 2


def test_what_disks_and_servers_cause_is_told_with_a_remedy(embedded):
    with open_lake(embedded):
        pass
    shutil.rmtree(embedded.data)
    Path(embedded.data).write_bytes(b"")  # no folder: nothing can be written below it
    with (
        pytest.raises(
            LakeError, match=r"^the lake cannot be read or written: .*; check .*what was committed stays$"
        ),
        open_lake(embedded) as lake,
    ):
        commit_shard(lake, shard_rows([Call("a.wav")]), key=KEY, run_id="run-1", message="made")


def test_a_bug_is_told_as_it_is(embedded):
    with pytest.raises(duckdb.BinderException), open_lake(embedded) as lake:
        lake.rows("SELECT no_such_column FROM recordings")


def test_a_process_killed_in_mid_transaction_leaves_nothing(warehouse):
    with open_lake(warehouse) as lake:
        before = lake.latest_snapshot()
    writer = start_writer(warehouse, "run-killed", "hang")
    go(writer)
    assert writer.stdout
    assert writer.stdout.readline() == "in mid-transaction\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait(10)
    with open_lake(warehouse) as lake:
        assert lake.latest_snapshot() == before
        assert [count(lake, table) for table in ("recordings", "segments", "analyses")] == [0, 0, 0]
        append_run(lake, "next")  # nothing is left locked
        assert count(lake, "runs") == 1


def test_two_processes_leave_one_set_of_rows(warehouse):
    with open_lake(warehouse):
        pass
    with ExitStack() as stack:
        writers = [stack.enter_context(start_writer(warehouse, f"run-{n}", "commit")) for n in range(2)]
        for writer in writers:
            go(writer)
        said = [writer.communicate(timeout=120)[0].split() for writer in writers]
    assert sorted(said) == [["0", "8"], ["8", "0"]]
    with open_lake(warehouse) as lake:
        assert [count(lake, table) for table in ("recordings", "analyses", "segments")] == [8, 8, 24]
        assert lake.rows("SELECT count(DISTINCT run_id) FROM segments") == [(1,)]
        assert lake.rows("SELECT sum(segments)::INTEGER, count(*) FROM daily_emotions") == [(24, 3)]
        assert count(lake, "aggregations") == 1


def test_readers_see_whole_commits_only(warehouse):
    with open_lake(warehouse) as lake, open_lake(warehouse, read_only=True) as reader:
        rows = shard_rows([Call("a.wav")])

        def work(connection: duckdb.DuckDBPyConnection) -> None:
            append(connection, SEGMENTS, rows.segments)
            assert count(reader, "segments") == 0
            append(connection, RECORDINGS, rows.recordings)

        lake.transact(work, author="a", message="m", extra={})
        assert (count(reader, "segments"), count(reader, "recordings")) == (1, 1)


def test_a_reader_cannot_write(warehouse):
    with open_lake(warehouse):
        pass
    with open_lake(warehouse, read_only=True) as lake, pytest.raises(duckdb.Error, match="read-only"):
        append(lake.connection, RUNS, run_row())


def test_reading_makes_no_lake(tmp_path):
    with (
        pytest.raises(LakeError, match="is not there yet; the first run makes it: `emolake nightly`"),
        open_lake(sqlite_warehouse(tmp_path), read_only=True),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_catalog_of_other_data_is_refused(embedded, tmp_path):
    with open_lake(embedded):
        pass
    elsewhere = embedded.model_copy(update={"data": str(tmp_path / "elsewhere")})
    with pytest.raises(LakeError, match=r"belongs to other data than warehouse\.data"), open_lake(elsewhere):
        pass


def test_a_password_of_the_catalog_stays_out_of_the_message(tmp_path):
    warehouse = WarehouseOptions(
        catalog="postgres:dbname=lake host=127.0.0.1 port=1 user=u password=hunter2", data=str(tmp_path)
    )
    said = "the database lake of the PostgreSQL server cannot be reached"
    with pytest.raises(LakeError, match=said) as caught, open_lake(warehouse):
        pass
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_paths_may_hold_quotes_and_spaces(tmp_path):
    with open_lake(sqlite_warehouse(tmp_path / "it's a lake")) as lake:
        append_run(lake, "run-1")
        assert count(lake, "runs") == 1


def test_rows_are_parquet_by_day_in_the_data_path(warehouse):
    with open_lake(warehouse) as lake:
        append(lake.connection, RECORDINGS, shard_rows([Call("a.wav")]).recordings)
        (file,) = Path(warehouse.data).rglob("recordings/**/*.parquet")
        assert file.parent.name == f"date={DAY}"
        assert duckdb.connect().execute("SELECT uri FROM read_parquet(?)", [str(file)]).fetchall() == [
            ("s3://calls/a.wav",)
        ]


def test_data_may_lie_on_s3(tmp_path, s3):
    url, folder = s3
    warehouse = WarehouseOptions(
        catalog=f"sqlite:{tmp_path / 'catalog.sqlite'}", data="s3://calls/lake", endpoint_url=url
    )
    with open_lake(warehouse) as lake:
        append(lake.connection, SEGMENTS, shard_rows([Call("a.wav")]).segments)
    with open_lake(warehouse, read_only=True) as lake:
        assert count(lake, "segments") == 1
    assert len(list((folder / "calls" / "lake").rglob("segments/**/*.parquet"))) == 1


def _replaced(name: str, values: pa.Array, *, nullable: bool = False) -> pa.Table:
    rows = shard_rows([Call("a.wav")]).recordings
    field = RECORDINGS.schema.field(name)
    return rows.set_column(rows.schema.get_field_index(name), pa.field(name, values.type, field.nullable or nullable,
                           field.metadata), [values])  # fmt: skip


GOOD = shard_rows([Call("a.wav")]).recordings


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (GOOD.drop_columns(["uri"]), "uri is missing, expected string"),
        (GOOD.append_column("colour", pa.array(["red"])), "colour is not a column"),
        (_replaced("size_bytes", pa.array(["much"])), "size_bytes is string, expected int64"),
        (GOOD.select(GOOD.column_names[::-1]), "out of order"),
        (_replaced("uri", pa.array([None], pa.string())), "uri is NULL 1 times"),
        (_replaced("status", pa.array(["fine"])), "status holds fine, expected one of ok, truncated"),
    ],
    ids=["missing", "extra", "mistyped", "order", "null", "unknown value"],
)
def test_rows_that_do_not_fit_are_refused(rows, message):
    with pytest.raises(SchemaError, match=message):
        check_rows(RECORDINGS, rows)


def test_what_was_appended_comes_back(embedded):
    with open_lake(embedded) as lake:
        given = shard_rows([Call("Größe 1 + #2.wav")])
        append(lake.connection, RECORDINGS, given.recordings)
        append(lake.connection, SEGMENTS, given.segments)
        append(lake.connection, AGGREGATIONS, AGGREGATIONS.schema.empty_table())
        for table, rows in ((RECORDINGS, given.recordings), (SEGMENTS, given.segments)):
            back = lake.connection.execute(f"FROM {table.name}").to_arrow_table().cast(table.schema)
            assert back.to_pylist() == rows.to_pylist()


def test_an_open_lake_loads_no_other_extension(tmp_path: Path) -> None:
    """Signatures are checked once per process, on another connection; what is asked afterwards gets no way around."""
    warehouse = WarehouseOptions(catalog=f"sqlite:{tmp_path / 'catalog.sqlite'}", data=str(tmp_path / "data"))
    signed = Path(str(files("duckdb_extension_ducklake")))
    original = next(signed.rglob("ducklake.duckdb_extension"))
    forged = tmp_path / "forged.duckdb_extension"
    content = bytearray(original.read_bytes())
    content[-1] ^= 0xFF  # the end of its signature
    forged.write_bytes(content)
    for _ in range(2):  # the first connection of a process, and a later one
        with open_lake(warehouse) as lake:
            with pytest.raises(duckdb.Error, match="signature"):
                lake.connection.execute(f"LOAD '{forged}'")
            with pytest.raises(duckdb.Error, match="while database is running"):
                lake.connection.execute("SET allow_unsigned_extensions = true")
