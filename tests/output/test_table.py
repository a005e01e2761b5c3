"""Tables: what a cell holds stays in its cell."""

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from emolake.output.table import _say_records, markdown_table, print_table


def cells(text):
    """Return the cells of the only table of a Markdown text, row by row."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    assert sum(token.type == "table_open" for token in tokens) == 1
    rows: list[list[str]] = []
    for token, following in pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append("".join(child.content for child in following.children or ()))
    return rows


@pytest.mark.parametrize("text", ["a|b", "|", "a||b", r"a\|b", r"a\\|b", "ends in a bar|", "分노|怒り"])
def test_a_bar_stays_in_its_cell(text):
    found = cells(markdown_table(["name", text], [[text, "1"], ["plain", text]]))
    assert found == [["name", text], [text, "1"], ["plain", text]]


@given(st.lists(st.lists(st.text(alphabet="ab|\\\n\r\t ", max_size=6), min_size=3, max_size=3), max_size=4))
def test_whatever_is_in_the_cells_the_table_has_as_many(rows):
    found = cells(markdown_table(["x", "y", "z"], rows))
    assert [len(row) for row in found] == [3] * (1 + len(rows))


def in_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> io.StringIO:
    """A stream that passes for a terminal of that width."""
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    _say_records.cache_clear()
    return stream


@pytest.mark.parametrize(
    ("columns", "width", "is_table"),
    [(6, 80, True), (7, 80, False), (7, 100, True), (30, 100, False), (1, 20, True)],
)
def test_a_table_too_wide_for_the_terminal_becomes_records_and_says_so_once(
    monkeypatch, capsys, columns, width, is_table
):
    stream = in_terminal(monkeypatch, width)
    names = [f"column_{number:05}" for number in range(columns)]
    for _ in range(2):
        print_table(names, [["a" * 30] * columns] * 2, stream)
    shown = stream.getvalue()
    assert (f"column_00000 = {'a' * 30}\n" in shown) == (not is_table)
    assert ("━" in shown) == is_table
    said = capsys.readouterr().err
    assert said.count(f"too wide for this terminal of {width} columns") == (not is_table)


def test_a_wide_table_without_rows_and_one_that_is_piped_stay_tables(monkeypatch, capsys):
    names = [f"column_{number:05}" for number in range(30)]
    stream = in_terminal(monkeypatch, 80)
    print_table(names, [], stream)
    assert " = " not in stream.getvalue()
    piped = io.StringIO()
    print_table(names, [["x"] * 30], piped)
    assert len(piped.getvalue().splitlines()) == 3
    assert capsys.readouterr().err == ""
