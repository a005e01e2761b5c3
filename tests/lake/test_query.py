"""Questions: one SELECT and nothing else, and answers that other programs can read."""

import csv
import io
import json
from datetime import date

import pyarrow.parquet as pq
import pytest

from emolake.cli.app import main
from emolake.errors import EmolakeError
from emolake.lake.connect import open_lake
from emolake.lake.query import Format, write_answer
from emolake.lake.questions import QueryError, ask
from emolake.lake.schema import append
from emolake.output.table import print_table
from emolake.schemas.tables import RECORDINGS, RUNS, SEGMENTS

from made_lake import DAY, Call, Piece, run_row, shard_rows, sqlite_warehouse


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    warehouse = sqlite_warehouse(tmp_path_factory.mktemp("lake"))
    with open_lake(warehouse) as lake:
        rows = shard_rows(
            [Call('Größe, "1".wav', pieces=(Piece(emotion="anger"), Piece(emotion=None, index=1)))]
        )
        append(lake.connection, RECORDINGS, rows.recordings)
        append(lake.connection, SEGMENTS, rows.segments)
        append(lake.connection, RUNS, run_row())
    with open_lake(warehouse, read_only=True) as lake:
        yield lake


def answer(lake, sql: str, format: Format) -> str:
    stream = io.StringIO()
    write_answer(lake, sql, format, stream, None)
    return stream.getvalue()


def test_tables_and_snapshots_go_by_bare_name(lake):
    assert json.loads(answer(lake, "SELECT count(*) AS n FROM segments", "json")) == [{"n": 2}]
    assert json.loads(answer(lake, "SELECT count(*) > 0 AS some FROM snapshots()", "json")) == [
        {"some": True}
    ]


def test_json_is_an_array_of_objects(lake):
    sql = (
        "SELECT date, uri, dimensions, probabilities, label, started_at, 1.5::DECIMAL(4,2) AS d, 'nan'::FLOAT AS nan "
        "FROM segments JOIN recordings USING (recording_id, date), runs ORDER BY segment_index"
    )
    first, second = json.loads(answer(lake, sql, "json"))
    assert first == {
        "date": "2026-11-20",
        "uri": 's3://calls/Größe, "1".wav',
        "dimensions": {"site": "oslo"},
        "probabilities": {"anger": 0.75},
        "label": "anger",
        "started_at": "2026-11-21T02:30:00+00:00",
        "d": 1.5,
        "nan": None,
    }
    assert (second["label"], second["probabilities"]) == (None, None)


@pytest.mark.parametrize("rows", [0, 1, 2500])
def test_json_of_any_length_is_json(lake, rows):
    assert json.loads(answer(lake, f"SELECT range AS i FROM range({rows})", "json")) == [
        {"i": i} for i in range(rows)
    ]


def test_csv_comes_back(lake):
    text = answer(lake, "SELECT uri, dimensions, NULL AS nothing, date FROM recordings", "csv")
    assert list(csv.DictReader(io.StringIO(text))) == [
        {
            "uri": 's3://calls/Größe, "1".wav',
            "dimensions": '{"site": "oslo"}',
            "nothing": "",
            "date": "2026-11-20",
        }
    ]


def test_parquet_keeps_the_types(lake, tmp_path):
    write_answer(
        lake,
        "SELECT date, probabilities FROM segments ORDER BY segment_index",
        "parquet",
        io.StringIO(),
        tmp_path / "a",
    )
    table = pq.read_table(tmp_path / "a")
    assert table.column("date").to_pylist() == [DAY, DAY]
    assert table.column("probabilities").to_pylist() == [[("anger", 0.75)], None]


def test_a_file_holds_what_is_shown(lake, tmp_path):
    write_answer(lake, "SELECT 'Größe' AS a", "csv", io.StringIO(), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text("utf-8") == "a\nGröße\n"


def test_parquet_without_a_file_says_what_to_do(lake):
    with pytest.raises(QueryError, match="name a file with -o"):
        answer(lake, "SELECT 1", "parquet")


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("DELETE FROM segments", "DELETE"),
        ("INSERT INTO runs SELECT * FROM runs", "INSERT"),
        ("DROP TABLE runs", "DROP"),
        ("SELECT 1; SELECT 2", "SELECT, SELECT"),
        ("COPY runs TO 'x.csv'", "COPY"),
        ("ATTACH 'x.db'", "ATTACH"),
        ("SET memory_limit = '1GB'", "SET"),
        ("", "nothing"),
        ("-- only a comment", "nothing"),
    ],
)
def test_what_is_no_question_is_refused(lake, sql, found):
    with pytest.raises(QueryError, match=f"the query holds {found}; expected one SELECT"):
        ask(lake.connection, sql)


@pytest.mark.parametrize(
    "sql", ["SELEC 1", "SELECT nothing FROM segments", "SELECT * FROM nowhere", "SELECT 1/'a'"]
)
def test_a_wrong_question_is_one_error_of_ours(lake, sql):
    with pytest.raises(QueryError, match="the query failed: "):
        write_answer(lake, sql, "csv", io.StringIO(), None)


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("SELECT speech_seconds share FROM daily_emotions", ['at or near "share"']),
        ("SELECT emotoin FROM segments", ['"emotoin" not found', 'Candidate bindings: "emotion"']),
        ("SELECT * FROM segmnts", ['Did you mean "segments"?']),
        ("SELECT segments.labl FROM segments", ['"labl"', "Candidate bindings"]),
        ("SELECT hours(recorded_at) FROM recordings", ["hours does not exist", "Did you mean"]),
        ("SELECT *\nFROM segments\nWHERE emotion == = 'anger'", ["LINE 3: WHERE emotion"]),
        ("SELECT emotion, count(*) FROM segments", ['"emotion" must appear in the GROUP BY clause']),
        ("SELECT 'x'::INT FROM segments", ["Could not convert string 'x' to INT32"]),
        ("SELECT date + 'x' FROM segments", ["LINE 1: SELECT date + 'x'"]),
    ],
)
def test_an_error_shows_all_that_duckdb_shows(lake, sql, shown):
    with pytest.raises(QueryError) as caught:
        ask(lake.connection, sql)
    said = str(caught.value)
    assert all(text in said for text in shown)
    place = said.splitlines()
    (line,) = [number for number, text in enumerate(place) if text.startswith("LINE ")]
    assert place[line + 1].strip() == "^"


def test_an_error_keeps_secrets_back(lake):
    with pytest.raises(QueryError) as caught:
        ask(
            lake.connection,
            "SELECT nothing FROM segments WHERE uri = 'postgres://me:hunter2@db?password=hunter2'",
        )
    assert "hunter2" not in str(caught.value)
    assert "***" in str(caught.value)


def test_an_error_in_a_later_row_is_one_of_the_question_too(lake):
    question = "SELECT CASE WHEN range = 400000 THEN error('late') ELSE range END FROM range(500000)"
    with pytest.raises(QueryError, match="late"):
        write_answer(lake, question, "csv", io.StringIO(), None)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (QueryError("no:\n\nLINE 1: SELEC\x1b[31m\n        ^"), ["LINE 1: SELEC\\x1b[31m", "        ^"]),
        (EmolakeError("a key\nof two lines"), ["emolake: a key\\nof two lines"]),
    ],
)
def test_only_a_query_s_error_is_shown_in_its_own_lines(error, shown, monkeypatch, capsys):
    def fail() -> None:
        raise error

    monkeypatch.setattr("emolake.cli.app.app", fail)
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.splitlines()[-len(shown) :] == shown


def test_a_table_is_not_cut_when_it_is_piped():
    stream = io.StringIO()
    print_table(("name", "value"), [("x" * 300, 0.123456), ("[bold]", None), ("y", 12345.678)], stream)
    lines = stream.getvalue().splitlines()
    assert "x" * 300 in lines[2]
    assert "0.1235" in lines[2]
    assert "[bold]" in lines[3]
    assert "12345.7" in lines[4]


def test_dates_and_maps_in_a_table(lake):
    text = answer(lake, "SELECT date, dimensions FROM recordings", "table")
    assert str(date(2026, 11, 20)) in text
    assert "site=oslo" in text
