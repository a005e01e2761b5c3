"""The shell, in a real terminal and as a script."""

import csv
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from terminal import INTERRUPT, Terminal, terminal

from emolake.cli.lake_shell import LakeShell, is_whole
from emolake.errors import ConfigurationError
from emolake.lake.connect import open_lake
from emolake.lake.query import statements
from emolake.lake.questions import QueryError
from emolake.lake.schema import append
from emolake.schemas.tables import RUNS, TABLES

from made_lake import run_row

COMMAND = [sys.executable, "-c", "from emolake.cli.app import main; main()"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    (folder / "emolake.toml").write_text("")
    from emolake.settings import load_settings

    with open_lake(load_settings(folder / "emolake.toml").warehouse) as lake:
        append(lake.connection, RUNS, run_row())
    return folder


@pytest.fixture(scope="module")
def lake(site: Path):
    from emolake.settings import load_settings

    with open_lake(load_settings(site / "emolake.toml").warehouse, read_only=True) as lake:
        yield lake


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("SELECT 1;", True),
        ("SELECT 1", False),
        ("SELECT 1; ", True),
        ("SELECT 1; -- done", True),
        ("SELECT 1 -- ;", False),
        ("SELECT ';", False),
        ("SELECT ';';", True),
        ('SELECT ";', False),
        ("SELECT 'é';", True),
        ("SELECT 'é;", False),
        ("SELECT $$;", False),
        ("SELECT $$;$$;", True),
        ("SELECT 1 /* ;", False),
        ("SELECT /* ; */ 1;", True),
        ("SELECT 1; SELECT 2", False),
        ("SELECT 1; SELECT 2;", True),
        ("SELECT 1; 'a", False),
        ("-- only a comment", True),
        (";", True),
    ],
)
def test_a_statement_ends_with_a_semicolon_of_its_own(text: str, whole: bool) -> None:
    assert is_whole(text) is whole


@given(st.text(alphabet="a;'é \n-"))
def test_a_quoted_text_never_ends_a_statement(text: str) -> None:
    quoted = "SELECT '" + text.replace("'", "''")
    assert not is_whole(quoted)
    assert is_whole(quoted + "';")


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        ("SELECT 1 AS a;\nSELECT 2 AS a", ["a", "1", "a", "2"]),
        ("SELECT 1 AS a; SELECT 2 AS a;", ["a", "1", "a", "2"]),
        ("\n\nSELECT\n\n  1\n AS a\n;\n\n", ["a", "1"]),
        ("-- what\nSELECT 1 AS a; -- why\n", ["a", "1"]),
        ("SELECT 'x\n;\n.quit\ny' AS a;", ["a", '"x', ";", ".quit", 'y"']),
        ("SELECT 1 AS a;\n.quit\nSELECT nothing_of_this_kind", ["a", "1"]),
        ("FROM runs LIMIT 0", [",".join(RUNS.schema.names)]),
        ("EXPLAIN ANALYZE SELECT 1;\n.quit", None),
        ("", []),
        (";;", []),
    ],
)
def test_a_script_is_run_statement_by_statement(lake, capsys, script: str, shown: list[str] | None) -> None:
    shell = LakeShell(lake)
    shell.read([".mode csv", *script.splitlines()])
    if shown is not None:
        assert capsys.readouterr().out.splitlines() == shown


@pytest.mark.parametrize(
    "sql", ["DELETE FROM runs", "SET threads = 1", "COPY runs TO 'x.csv'", "ATTACH 'x.db'", "SELEC 1"]
)
def test_only_questions_are_answered_and_the_first_error_ends_a_script(lake, capsys, sql: str) -> None:
    with pytest.raises(QueryError):
        LakeShell(lake).read(["SELECT 1 AS before;", f"{sql};", "SELECT 2 AS after;"])
    shown = capsys.readouterr().out
    assert "before" in shown
    assert "after" not in shown


@pytest.mark.parametrize("line", [".nothing", ".mode xml", ".rows many", ".schema nowhere", ".rows -1"])
def test_a_command_that_there_is_not_is_named(lake, line: str) -> None:
    with pytest.raises(ConfigurationError):
        LakeShell(lake).read([line])


def test_tables_and_columns_are_those_of_the_dictionary(lake, capsys) -> None:
    LakeShell(lake).read([".mode csv", ".tables"])
    found = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert [row[0] for row in found[1:]][: len(TABLES)] == [table.name for table in TABLES]
    assert ["model_comparison", "view"] in [row[:2] for row in found]
    LakeShell(lake).read([".mode csv", ".schema runs"])
    columns = list(csv.reader(io.StringIO(capsys.readouterr().out)))[1:]
    assert [row[0] for row in columns] == RUNS.schema.names
    assert all(row[3] for row in columns)
    LakeShell(lake).read([".help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in (".tables", ".schema", ".mode", ".rows", ".help", ".quit", "Ctrl-C"))


def test_every_mode_shows_the_same_rows(lake, capsys) -> None:
    sql = "SELECT 'a|b' AS text, 1 AS number, NULL AS nothing;"
    shown = {}
    for mode in ("table", "line", "csv", "json", "markdown"):
        LakeShell(lake).read([f".mode {mode}", sql])
        shown[mode] = capsys.readouterr().out
    assert json.loads(shown["json"]) == [{"text": "a|b", "number": 1, "nothing": None}]
    assert shown["csv"] == "text,number,nothing\na|b,1,\n"
    assert shown["line"] == "   text = a|b\n number = 1\nnothing = \n\n"
    assert shown["markdown"].splitlines()[2] == r"| a\|b | 1 |  |"
    assert "a|b" in shown["table"]


def test_long_answers_are_cut_where_they_are_looked_at_and_whole_where_they_are_read(lake, capsys) -> None:
    LakeShell(lake, most_rows=3).read(["SELECT i FROM range(10) t(i);"])
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 5
    assert "these are the first 3 rows" in shown.err
    LakeShell(lake, most_rows=3).read([".mode csv", "SELECT i FROM range(10) t(i);"])
    assert len(capsys.readouterr().out.splitlines()) == 11
    LakeShell(lake, most_rows=3).read([".rows 0", "SELECT i FROM range(1200) t(i);"])
    assert len(capsys.readouterr().out.splitlines()) == 1202


def test_statements_are_cut_apart_as_duckdb_reads_them(lake) -> None:
    assert statements(lake, "SELECT ';' ; SELECT 2;") == ["SELECT ';'", "SELECT 2"]


def test_standard_input_and_the_option_are_scripts(site: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "shell", "--format", "csv"], input="SELECT 1 AS a;\nSELECT 2 AS b", cwd=site,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "a\n1\nb\n2\n"
    failed = subprocess.run(
        [*COMMAND, "shell", "-c", "SELECT nothing"], cwd=site, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert "nothing" in failed.stderr


def waited(shell: Terminal, text: str, *, times: int = 1, seconds: float = 60) -> None:
    """Wait until a text has been shown so many times."""
    end = time.monotonic() + seconds
    while shell.shown.count(text) < times:
        assert time.monotonic() < end, shell.shown
        assert shell.process.poll() is None or text in shell.shown, shell.shown
        time.sleep(0.02)


@pytest.mark.slow
def test_a_conversation_in_a_terminal(site: Path, tmp_path: Path, monkeypatch) -> None:
    history = tmp_path / "state" / "history"
    monkeypatch.setenv("EMOLAKE_HISTORY", str(history))
    with terminal([*COMMAND, "shell"], site) as shell:
        waited(shell, "lake> ")
        shell.type(b"SELECT 6 *\n")
        waited(shell, "  ... ")
        shell.type(b"7 AS answer;\n")
        waited(shell, "42")
        shell.type(b"SELECT nothing_like_this;\n")
        waited(shell, "Binder Error")
        for number, word in enumerate((b"quit", b"EXIT;", b"help"), start=1):
            shell.type(word + b"\n")
            waited(shell, "commands begin with a dot: ", times=number)
        assert ".quit leaves" in shell.shown
        # A line that was begun is forgotten.
        shell.type(b"SELECT 'unfinished")
        waited(shell, "unfinished")
        shell.type(INTERRUPT)
        waited(shell, "lake> ", times=7)
        # A query that would take hours.
        shell.type(
            b"SELECT count(*) FROM range(100000000000) a, range(1000) b WHERE a.range % 7 = b.range;\n"
        )
        time.sleep(1.0)
        shell.type(INTERRUPT)
        waited(shell, "cancelled")
        shell.type(b"SELECT outcome FROM runs;\n")
        waited(shell, "completed")
        shell.type(b".sch\t runs\n")
        waited(shell, "heartbeat_at")
        shell.type(b".tables\n")
        waited(shell, "model_comparison")
        shell.type(b"\x04")
        assert shell.process.wait(20) == 0
        assert "Traceback" not in shell.shown
    kept = history.read_text("utf-8")
    assert "SELECT 6 * 7 AS answer;" in kept
    assert history.stat().st_mode & 0o777 == 0o600
    with terminal([*COMMAND, "shell"], site) as shell:
        waited(shell, "lake> ")
        shell.type(b"\x1b[A")  # up: the last line of the conversation before
        waited(shell, ".tables")
        shell.type(b"\n")
        waited(shell, "model_comparison")
        shell.type(b".quit\n")
        assert shell.process.wait(20) == 0
