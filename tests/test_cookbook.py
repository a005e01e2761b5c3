"""Every question of the cookbook has its answer below it, as the lake that it is asked of gives it."""

import re

import pytest

from tools.cookbook import PAGE, queries, shown, written
from tools.cookbook_lake import fill, plain_lake

TEXT = PAGE.read_text("utf-8")


@pytest.fixture(scope="module")
def lake():
    with plain_lake() as connection:
        fill(connection)
        yield connection


def test_there_are_24_questions_of_6_lines_at_most():
    asked = queries(TEXT)
    numbers = re.findall(r"^### (\d+)\. ", TEXT, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, 25)]
    assert len(asked) == 24
    assert {sql: len(sql.splitlines()) for sql in asked if len(sql.splitlines()) > 6} == {}


@pytest.mark.parametrize("number", range(24))
def test_the_answer_below_a_question_is_what_the_lake_gives(lake, number):
    sql = queries(TEXT)[number]
    assert f"{sql}```\n\n```text\n{shown(lake, sql)}```\n" in TEXT, "run: python -m tools.cookbook"


def test_an_answer_that_is_there_is_replaced_and_one_that_is_missing_added():
    page = "a\n\n```sql\nSELECT 1\n```\n\nb\n\n```sql\nSELECT 2\n```\n\n```text\nold\n```\n\nc\n"
    new = written(page, lambda sql: sql.replace("SELECT", "it is"))
    answered = "```sql\nSELECT {0}\n```\n\n```text\nit is {0}\n```\n"
    assert new == f"a\n\n{answered.format(1)}\nb\n\n{answered.format(2)}\nc\n"
    assert written(new, lambda sql: sql.replace("SELECT", "it is")) == new


def test_the_mean_of_daily_shares_is_wrong_and_the_weekly_view_is_right(lake):
    """What question 3 warns of, and its right side against the view."""
    ((wrong, right),) = lake.execute(queries(TEXT)[2]).fetchall()
    ((weekly,),) = lake.execute(
        "SELECT sum(speech_seconds) FILTER (emotion = 'anger') / sum(speech_seconds) FROM weekly_emotions "
        "WHERE model = 'default' AND dimension = 'role' AND value = 'customer'"
    ).fetchall()
    assert right == pytest.approx(weekly)
    assert wrong / right > 1.1
