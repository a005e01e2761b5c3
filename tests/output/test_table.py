"""Tables: what a cell holds stays in its cell."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from emolake.output.table import markdown_table


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
